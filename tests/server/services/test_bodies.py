"""Declared names, as a spec has them."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_mlsvc.wire.models import ParameterDefinition, PublishWebServiceRequest
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.services.bodies import RuntimeRule, first_spec, next_spec
from jupyter_mlsvc_server.services.record import ServiceKey

KEY = ServiceKey(ServiceName("Iris"), Version("1.0"))

MICRO, MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"


def request_of(*names: str, runtime_type: str = "Python") -> PublishWebServiceRequest:
    declared = [ParameterDefinition(name=name, type="numeric") for name in names]
    return PublishWebServiceRequest(
        code="1",
        input_parameter_definitions=declared,
        output_parameter_definitions=declared,
        runtime_type=runtime_type,
    )


def names_of(spec: ServiceSpec) -> tuple[list[str], list[str]]:
    return [each.name for each in spec.inputs], [each.name for each in spec.outputs]


def test_declared_names_are_those_of_python() -> None:
    first = first_spec(KEY, request_of(MICRO), RuntimeRule())
    assert names_of(first) == ([MU], [MU])
    assert names_of(next_spec(first, request_of(MICRO, "b"))) == ([MU, "b"], [MU, "b"])


def test_declared_names_of_r_stay() -> None:
    first = first_spec(KEY, request_of(MICRO, MU, runtime_type="R"), RuntimeRule())
    assert names_of(first) == ([MICRO, MU], [MICRO, MU])


def test_one_name_in_two_spellings_is_declared_twice() -> None:
    with pytest.raises(BadRequest, match="twice"):
        first_spec(KEY, request_of(MICRO, MU), RuntimeRule())


AWAITS = "y = await fetch(x)"


@pytest.mark.parametrize(
    ("parts", "concurrency"),
    [
        ({"code": "y = x"}, 1),
        ({"code": "async def f(): await g()"}, 1),
        ({"code": AWAITS}, 100),
        ({"code": "y = x", "init_code": AWAITS}, 100),
        ({"code": "y = x", "setup_code": AWAITS}, 1),
        ({"code": "y = [z async for z in x]"}, 100),
        ({"code": "y = (z async for z in x)"}, 1),
        ({"code": "await x\nyield 1"}, 100),
        ({"code": AWAITS, "concurrency": 7}, 7),
        ({"code": AWAITS, "concurrency": 0}, 100),
        ({"code": "y = x", "concurrency": 3}, 3),
        ({"code": "y <- x", "runtime_type": "R"}, 1),
        ({"code": "await y = "}, 1),
    ],
)
def test_a_worker_runs_as_many_calls_as_the_code_is_good_for(
    parts: dict[str, Any], concurrency: int
) -> None:
    spec = first_spec(KEY, PublishWebServiceRequest(**parts), RuntimeRule())
    assert spec.concurrency == concurrency


def test_a_change_of_the_code_changes_a_number_that_nobody_has_said() -> None:
    plain = first_spec(KEY, PublishWebServiceRequest(code="y = x"), RuntimeRule())
    awaits = next_spec(plain, PublishWebServiceRequest(code=AWAITS))
    assert awaits.concurrency == 100
    said = next_spec(awaits, PublishWebServiceRequest(concurrency=8, deadline_seconds=2.5))
    assert (said.concurrency, said.deadline_seconds) == (8, 2.5)
    kept = next_spec(said, PublishWebServiceRequest(code="y = x"))
    assert (kept.concurrency, kept.deadline_seconds) == (8, 2.5)
    back = next_spec(kept, PublishWebServiceRequest(concurrency=0, deadline_seconds=0))
    assert (back.concurrency, back.deadline_seconds) == (1, 0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"concurrency": 1001}, "concurrency is 1001; it has to be from 1 to 1000"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"concurrency": 2, "runtime_type": "R"}, "'concurrency' can only be 1"),
        ({"concurrency": 2, "isolation": "call"}, "'isolation' can't be 'call'"),
        ({"code": AWAITS, "concurrency": 1, "isolation": "call"}, "'isolation' can't be 'call'"),
        ({"code": AWAITS, "output_file_names": ["a.txt"]}, "outputFileNames: calls run at the"),
        ({"setup_code": AWAITS, "output_file_names": ["a.txt"]}, "outputFileNames: calls run"),
        ({"deadline_seconds": -1.0}, "deadlineSeconds is -1"),
    ],
)
def test_what_calls_at_a_time_cannot_have_is_refused(parts: dict[str, Any], message: str) -> None:
    request = PublishWebServiceRequest(**{"code": "y = 1", **parts})
    with pytest.raises(BadRequest, match=message):
        first_spec(KEY, request, RuntimeRule())
