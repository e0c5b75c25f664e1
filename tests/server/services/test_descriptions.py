"""What a service says about itself: strictly checked, bounded, and shown to those it is for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jupyter_mlsvc.wire.models import (
    ColumnDefinition,
    ParameterDefinition,
    PublishCheck,
    PublishCheckRequest,
    PublishWebServiceRequest,
)
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.realtime import RUNTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.services import realtime
from jupyter_mlsvc_server.services.bodies import RuntimeRule, first_spec, next_spec
from jupyter_mlsvc_server.services.descriptions import shown_parameters, with_example
from jupyter_mlsvc_server.services.publish_check import runs_alike
from jupyter_mlsvc_server.services.realtime import RealtimeRequest
from jupyter_mlsvc_server.services.record import ServiceKey

KEY = ServiceKey(ServiceName("Loans"), Version("1.0"))

BODY: dict[str, Any] = {
    "code": "risk = 1",
    "tags": [" credit ", "risk"],
    "inputParameterDefinitions": [
        {
            "name": "applicant",
            "type": "data.frame",
            "description": "Who asks.",
            "example": {"age": [40], "income": [None]},
            "columns": [
                {"name": "age", "type": "number", "minimum": 18, "description": "In years."},
                {"name": "income", "type": "float64", "nullable": True},
            ],
        },
        {"name": "weights", "type": "vector", "items": {"type": "number"}, "shape": [2]},
        {"name": "scale", "type": "numeric", "default": 1},
    ],
    "outputParameterDefinitions": [{"name": "risk", "type": "vector", "example": [0.5]}],
    "examples": [
        {
            "name": "usual",
            "inputs": {"applicant": [{"age": 40, "income": 1}], "weights": [1, 2]},
            "outputs": {"risk": [0.5]},
        }
    ],
}


def spec_of(**members: Any) -> ServiceSpec:
    request = msgspec.convert(BODY | members, PublishWebServiceRequest)
    return first_spec(KEY, request, RuntimeRule())


def patched(spec: ServiceSpec, **members: Any) -> ServiceSpec:
    return next_spec(spec, msgspec.convert(members, PublishWebServiceRequest))


def with_input(**members: Any) -> dict[str, Any]:
    return {"examples": [], "inputParameterDefinitions": [{"name": "x", **members}]}


def frame(**column: Any) -> dict[str, Any]:
    return with_input(type="data.frame", columns=[{"name": "a", **column}])


def test_what_is_said_is_kept_and_can_be_changed() -> None:
    spec = spec_of()
    assert spec.tags == ("credit", "risk")
    assert spec.examples[0].name == "usual"
    assert spec.inputs[0].description == "Who asks."
    changed = patched(spec, tags=["old"], examples=[])
    assert (changed.tags, changed.examples, changed.inputs) == (("old",), (), spec.inputs)
    assert runs_alike(spec, changed)
    quiet = [{"name": each.name, "type": each.type} for each in spec.inputs]
    assert not runs_alike(spec, patched(spec, inputParameterDefinitions=quiet, examples=[]))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (with_input(type="vector", columns=[{"name": "a"}]), "only a data.frame has columns"),
        (with_input(type="numeric", items={"type": "number"}), "only a vector or a matrix"),
        (with_input(type="vector", items={"type": "int64"}), "unknown type 'int64'"),
        (with_input(type="vector", shape=[1, 2]), "whose shape has 1 length"),
        (with_input(type="matrix", shape=[-1, 2]), "negative length"),
        (with_input(type="numeric", description="x" * 2001), "2,001 characters"),
        (with_input(type="numeric", example="text"), "the example of x must be a number"),
        (with_input(type="character", example="x" * 70_000), "bytes of JSON"),
        (frame(minimum=2, maximum=1), "the minimum 2 and the smaller maximum 1"),
        (frame(type="string", minimum=2), "only numbers have limits"),
        (frame(categories=list(range(1001))), "lists 1,001 values"),
        (frame(categories=[[1]]), "neither text nor number"),
        (frame(description="x" * 2001), "the column 'a' has a description"),
        ({"tags": ["a", "A"]}, "tags: one is there twice"),
        ({"tags": [" "]}, "is no tag"),
        ({"tags": [f"t{number}" for number in range(21)]}, "there are 21"),
        ({"examples": [{"inputs": {"aplicant": []}}]}, "no input 'aplicant'. Did you mean"),
        ({"examples": [{"inputs": {"weights": [1, 2]}}]}, "the input 'applicant' is missing"),
        ({"inputParameterDefinitions": []}, "examples[0]: there is no input 'applicant'"),
        (
            {"examples": [{"inputs": {"applicant": [{"age": 1, "incom": 1}], "weights": [1, 2]}}]},
            "lacks the column 'income' (did you mean it by 'incom'?)",
        ),
    ],
)
def test_what_can_not_be_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        spec_of(**members)
    assert words in str(caught.value)


def test_a_list_of_values_is_shown_to_those_it_is_for() -> None:
    column = ColumnDefinition(
        name="region", type="category", categories=["north"], hide_categories=True
    )
    definition = ParameterDefinition(name="x", type="data.frame", columns=[column])
    assert shown_parameters([definition], to_publisher=True) == [definition]
    (shown,) = shown_parameters([definition], to_publisher=False)
    assert shown.columns == [ColumnDefinition(name="region", type="category")]


def test_the_call_of_the_check_becomes_an_example_where_its_publisher_says_so() -> None:
    inputs = {"applicant": [{"age": 30, "income": None}], "weights": [1, 2]}
    found = PublishCheck(called=True, success=True, output_parameters={"risk": [0.1]}, notes=[])
    request = PublishCheckRequest(inputs=inputs)
    assert len(with_example(spec_of(), request, found).examples) == 1
    shown = msgspec.structs.replace(request, as_example=True)
    first = with_example(spec_of(), shown, found)
    assert [each.outputs for each in first.examples] == [{"risk": [0.5]}, {"risk": [0.1]}]
    assert len(with_example(first, shown, found).examples) == 2
    large = msgspec.structs.replace(found, output_parameters={"risk": [0.123456789] * 10_000})
    assert len(with_example(spec_of(), shown, large).examples) == 1
    assert "not shown as an example" in large.notes[0]


def test_of_a_model_only_descriptions_can_be_given() -> None:
    known = ParameterDefinition(
        name="inputData", type="data.frame", columns=[ColumnDefinition(name="age", type="number")]
    )
    spec = ServiceSpec(
        name=KEY.name, version=KEY.version, revision_id="1", runtime_type=RUNTIME, inputs=(known,)
    )

    def described(**column: Any) -> ServiceSpec:
        row = {"name": "inputData", "description": "Rows.", "columns": [column]}
        return realtime.next_spec(
            spec, RealtimeRequest(inputs=[msgspec.convert(row, ParameterDefinition)], tags=["a"])
        )

    (made,) = described(name="age", description="In years.").inputs
    assert made.description == "Rows."
    assert made.columns == [ColumnDefinition(name="age", type="number", description="In years.")]
    with pytest.raises(BadRequest, match="only the description"):
        described(name="age", minimum=1)
    with pytest.raises(BadRequest, match=r"'agee'\. Did you mean 'age'"):
        described(name="agee")
