"""Whatever a service's inputs and outputs are called, the client reaches them."""

from __future__ import annotations

import importlib
import inspect
import keyword
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jupyter_mlsvc
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.parameters import definitions
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.wire.models import WebServiceResult
from jupyter_mlsvc.wire.names import python_name

from .fake import FakeTransport, answer, sent
from .test_services import RESULT, ROW

MICRO, MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"

BATCH = {"name": "Iris", "version": "V1.0", "BatchExecutionId": "b1", "batchExecutionId": "b1"}
OWN_KEYWORDS = {"__init__", "_set", "update"}
"""Functions whose keywords are names of the project's own."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(jupyter_mlsvc.__path__, "jupyter_mlsvc."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for module in modules():
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = value
            elif inspect.isclass(value) and value.__module__ == module.__name__:
                methods = {
                    f"{module.__name__}.{name}.{key}": each
                    for key, each in vars(value).items()
                    if inspect.isfunction(each)
                }
                found |= methods
    return found


def test_methods_that_take_inputs_by_name_have_no_names_of_their_own() -> None:
    taking = {
        where: inspect.signature(function)
        for where, function in functions().items()
        if where.startswith(("jupyter_mlsvc.client", "jupyter_mlsvc.widgets"))
        and where.rpartition(".")[2] not in OWN_KEYWORDS
        and "**_" not in str(inspect.signature(function))
    }
    taking = {
        where: signature
        for where, signature in taking.items()
        if any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    }
    assert len(taking) >= 4
    for where, signature in taking.items():
        own = [
            each.name
            for each in signature.parameters.values()
            if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
        ]
        assert not own, f"{where} can't be given an input {own[0]!r}"


PARAMETERS = sorted(
    {name for each in functions().values() for name in inspect.signature(each).parameters}
    | {"self", "cls", "values", "inputs", "name", "version", "timeout", "args", "kwargs"}
)
NAMES = st.lists(
    (st.sampled_from(PARAMETERS) | st.from_regex(r"[^\W\d]\w{0,5}", fullmatch=True))
    .map(python_name)
    .filter(lambda name: name.isidentifier() and not keyword.iskeyword(name)),
    min_size=1,
    max_size=5,
    unique=True,
)


def service_of(client: Client, transport: FakeTransport, names: list[str]) -> Service:
    inputs = [{"name": name, "type": "numeric"} for name in names]
    transport.answers = [answer([ROW | {"inputParameterDefinitions": inputs}])]
    found = client.service("Iris", "V1.0")
    transport.requests.clear()
    return found


@given(names=NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inputs_may_have_any_name(
    client: Client, transport: FakeTransport, names: list[str]
) -> None:
    service = service_of(client, transport, names)
    values = {name: float(number) for number, name in enumerate(names)}
    calls: list[Callable[[], object]] = [
        lambda: service(**values),
        lambda: service(*values.values()),
        lambda: service.consume(**values),
        lambda: service.call(values),
        lambda: client.services.consume("Iris", "V1.0", values),
    ]
    for call in calls:
        transport.requests.clear()
        transport.answers = [answer(RESULT)]
        call()
        assert sent(transport.requests[0]) == values
    assert jupyter_mlsvc.form(service, **values).inputs == values


@given(names=NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inputs_of_sessions_and_batches_may_have_any_name(
    client: Client, transport: FakeTransport, names: list[str]
) -> None:
    values = {name: float(number) for number, name in enumerate(names)}
    transport.requests.clear()
    transport.answers = [
        answer(
            {
                "success": True,
                "errorMessage": "",
                "outputParameters": [],
                "consoleOutput": "",
                "changedFiles": [],
            }
        )
    ]
    client.sessions.with_id("s1").execute("1", values)
    given = {each["name"]: each["value"] for each in sent(transport.requests[0])["inputParameters"]}
    assert given == values

    service = service_of(client, transport, names)
    transport.requests.clear()
    row = ROW | {
        "inputParameterDefinitions": [
            {"name": item.name, "type": item.type} for item in service.inputs
        ]
    }
    transport.answers = [answer([row]), answer(BATCH)]
    client.batches.start("Iris", "V1.0", pandas.DataFrame({name: [1.0] for name in names}))
    assert sent(transport.requests[-1]) == [dict.fromkeys(names, 1.0)]


MEMBERS = sorted({*dir(ServiceResult), "success", "outputs", "error_message", "console_output"})


@pytest.mark.parametrize("name", [name for name in MEMBERS if not name.startswith("__")])
def test_output_named_like_a_member_is_reached_by_item(name: str) -> None:
    result = ServiceResult(
        "Iris",
        WebServiceResult(
            success=True,
            error_message="",
            output_parameters={name: 3.5},
            output_files={},
            console_output="",
            changed_files=[],
        ),
    )
    assert result[name] == result.output(name) == result.outputs[name] == dict(result)[name] == 3.5
    assert repr(result)
    assert result.success is True or name == "success"


def test_keywords_are_as_python_has_them(client: Client, transport: FakeTransport) -> None:
    service = service_of(client, transport, [MU, "b"])
    transport.answers = [answer(RESULT)]
    eval(f"service({MICRO}=1.5, b=2)", {"service": service})
    assert sent(transport.requests[0]) == {MU: 1.5, "b": 2}
    with pytest.raises(TypeError, match="two values"):
        service(1.5, **{MICRO: 2})
    assert jupyter_mlsvc.form(service, **{MICRO: 2.5, "b": 1}).inputs == {MU: 2.5, "b": 1}


def test_outputs_are_found_in_either_spelling() -> None:
    for there in (MU, MICRO):
        result = ServiceResult(
            "Iris",
            WebServiceResult(
                success=True,
                error_message="",
                output_parameters={there: 3.5},
                output_files={},
                console_output="",
                changed_files=[],
            ),
        )
        assert result[MICRO] == result[MU] == 3.5
        assert eval(f"result.{MICRO}", {"result": result}) == 3.5


def test_columns_of_a_batch_are_found_in_either_spelling(
    client: Client, transport: FakeTransport
) -> None:
    row = ROW | {"inputParameterDefinitions": [{"name": MU, "type": "numeric"}]}
    transport.answers = [answer([row]), answer(BATCH)]
    client.batches.start("Iris", "V1.0", pandas.DataFrame({MICRO: [1.0, 2.0]}))
    assert sent(transport.requests[-1]) == [{MU: 1.0}, {MU: 2.0}]


def test_declarations_are_normalised_for_python_only() -> None:
    assert [each.name for each in definitions([f"{MICRO}:numeric"], "Python")] == [MU]
    assert [each.name for each in definitions([f"{MICRO}:numeric"], "R")] == [MICRO]
    with pytest.raises(InvalidInput, match="twice"):
        definitions([MICRO, MU], "Python")
    assert len(definitions([MICRO, MU], "R")) == 2
