"""Declared names, as a spec has them."""

from __future__ import annotations

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
