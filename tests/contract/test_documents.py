"""The documents say what the server does, and the server does what the documents say."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from jupyter_mlsvc.wire.models import (
    ColumnDefinition,
    ItemsDefinition,
    ParameterDefinition,
    ServiceExample,
    WebService,
)
from jupyter_mlsvc.wire.operations import OPERATIONS, Operation
from jupyter_mlsvc.wire.service_openapi import service_openapi
from jupyter_mlsvc.wire.swagger import core_openapi, core_swagger, service_document
from jupyter_mlsvc_server.api.routing import Router
from tests.conformity import swagger_2_schema
from tests.docs.tables import DOCS
from tests.reference import ABSENT, SWAGGER
from tests.serving import tables_of_all_nouns

EVERY_TYPE = [
    ParameterDefinition(name=kind.replace(".", "_"), type=kind)
    for kind in (
        *("logical", "numeric", "integer", "character"),
        *("vector", "matrix", "data.frame", "string"),
    )
]


def a_service(**changes: object) -> WebService:
    members = {
        "name": "Iris",
        "version": "V1.0",
        "version_published_by": "ana",
        "creation_time": "2017-10-05T22:49:33.7832679",
        "snapshot_id": None,
        "runtime_type": "Python",
        "description": "",
        "operation_id": None,
        "input_parameter_definitions": EVERY_TYPE,
        "output_parameter_definitions": [],
        "output_file_names": [],
        "my_permission_on_service": "read/write",
    }
    return WebService(**members | changes)  # type: ignore[arg-type]


def test_the_core_document_is_valid_swagger_2() -> None:
    jsonschema.validate(core_swagger(), swagger_2_schema(), jsonschema.Draft4Validator)


def test_swagger_2_says_what_every_array_is_of() -> None:
    """A schema need not, but generators refuse the document that does not."""

    def check(schema: Any) -> None:
        if isinstance(schema, dict):
            assert schema.get("type") != "array" or "items" in schema, schema
        for each in schema.values() if isinstance(schema, dict) else schema:
            if isinstance(each, dict | list):
                check(each)

    check(core_swagger())


def test_the_form_of_realtime_services_is_whole_in_the_core_document() -> None:
    paths = core_swagger()["paths"]
    operation = paths["/realtime-services/{name}/{version}"]["post"]
    form = {each["name"]: each for each in operation["parameters"] if each["in"] == "formData"}
    assert set(form) == {
        *("description", "operationId", "model", "check", "replace", "group"),
        *("tags", "examples", "inputParameterDefinitions"),
        *("network", "readOnly", "keepBodies"),
    }
    assert form["replace"]["type"] == "boolean"


def test_the_core_document_is_valid_openapi_3_1() -> None:
    validate(core_openapi())


TABLE = [ParameterDefinition(name="inputData", type="data.frame")]
SERVICES = {
    "every type both ways": a_service(output_parameter_definitions=EVERY_TYPE),
    "nothing in or out": a_service(input_parameter_definitions=[]),
    "files": a_service(output_file_names=["plot 1.png", "bericht-ü.csv"]),
    "realtime": a_service(runtime_type="Realtime", input_parameter_definitions=TABLE),
    "an odd name": a_service(name="A-b.c_d e", version="1.0 rc-1"),
    "names like paths": a_service(name="swagger.json", version="batch"),
    "an alias": a_service(operation_id="classify"),
    "an alias that is taken": a_service(operation_id="login"),
    "a description of several lines": a_service(description="Größe\n# of 'flowers'\t\"✓\""),
}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_services_document_is_valid_swagger_2(service: WebService) -> None:
    document = service_document(service)
    jsonschema.validate(document, swagger_2_schema(), jsonschema.Draft4Validator)
    # What the schema can't say: references lead somewhere, names of operations are unique. This
    # validator does not know the type of a download, which the schema has.
    validate(json.loads(json.dumps(document).replace('{"type": "file"}', '{"type": "string"}')))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_services_document_is_valid_openapi_3_1(service: WebService) -> None:
    document = service_openapi(service)
    assert document["openapi"].startswith("3.1")
    validate(document)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_both_documents_of_a_service_describe_the_same_calls(service: WebService) -> None:
    older, newer = service_document(service), service_openapi(service)
    theirs = _calls(older)
    added = {"CancelBatchExecution"}
    assert theirs == {name: call for name, call in _calls(newer).items() if name not in added}
    for side in ("InputParameters", "OutputParameters"):
        members = older["definitions"][side]["properties"]
        assert list(members) == list(newer["components"]["schemas"][side]["properties"])


def _calls(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        operation["operationId"]: (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_newer_document_says_what_may_be_null_and_what_is_needed() -> None:
    service = a_service(output_file_names=["plot.png"], operation_id="classify")
    document = service_openapi(service)
    schemas = document["components"]["schemas"]
    inputs = schemas["InputParameters"]
    assert inputs["required"] == [each.name for each in service.input_parameter_definitions]
    assert inputs["properties"]["integer"]["type"] == ["integer", "null"]
    files = schemas["WebServiceResult"]["properties"]["outputFiles"]["properties"]
    assert files["plot.png"]["type"] == ["string", "null"]
    call = document["paths"]["/api/Iris/V1.0"]["post"]
    assert call["security"] == [{"Bearer": []}]
    assert document["components"]["securitySchemes"]["Bearer"] == {
        "type": "http",
        "scheme": "bearer",
    }
    assert {"200", "400", "401", "404", "503", "504"} <= set(call["responses"])
    assert "security" not in document["paths"]["/login"]["post"]


def test_a_services_document_has_the_order_and_the_types_of_the_contract() -> None:
    document = service_document(a_service())
    assert list(document) == [
        *("swagger", "info", "schemes", "securityDefinitions", "tags"),
        *("consumes", "produces", "paths", "definitions"),
    ]
    inputs = document["definitions"]["InputParameters"]["properties"]
    assert {name: schema["type"] for name, schema in inputs.items()} == {
        "logical": "boolean",
        "numeric": "number",
        "integer": "integer",
        "character": "string",
        "vector": "array",
        "matrix": "array",
        "data_frame": "object",
        "string": "string",
    }
    assert document["paths"]["/api/Iris/V1.0"]["post"]["operationId"] == "ConsumeWebService"
    assert "outputFiles" not in document["definitions"]["WebServiceResult"]["properties"]


def test_an_alias_names_the_operation_and_files_are_declared() -> None:
    document = service_document(a_service(operation_id="classify", output_file_names=["a.png"]))
    assert document["paths"]["/api/Iris/V1.0"]["post"]["operationId"] == "classify"
    assert "outputFiles" in document["definitions"]["WebServiceResult"]["properties"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_operation_is_routed(operation: Operation) -> None:
    import re

    path = re.sub(r"\{(\w+)\}", r"\1", operation.path)
    found = Router(tables_of_all_nouns()).find(path)
    assert found is not None
    assert operation.method.upper() in found.route.operations


def test_every_operation_of_the_original_is_there_under_its_name() -> None:
    if not SWAGGER.exists():
        pytest.skip(ABSENT)
    original = json.loads(SWAGGER.read_text(encoding="utf-8"))
    wanted = {
        (operation["operationId"], method, path)
        for path, methods in original["paths"].items()
        for method, operation in methods.items()
    }
    ours = {(operation.id, operation.method, operation.path) for operation in OPERATIONS}
    assert wanted <= ours
    theirs = original["definitions"]
    for name, schema in core_swagger()["definitions"].items():
        if name in theirs:
            assert set(theirs[name]["properties"]) <= set(schema["properties"]), name


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_operation_succeeds_with_the_status_of_the_original(operation: Operation) -> None:
    if not SWAGGER.exists():
        pytest.skip(ABSENT)
    if operation.addition:
        return
    original = json.loads(SWAGGER.read_text(encoding="utf-8"))
    assert str(operation.status) in original["paths"][operation.path][operation.method]["responses"]


def test_documents_say_what_columns_there_are_and_what_may_be_left_out() -> None:
    columns = [
        ColumnDefinition(name="age", type="int64"),
        ColumnDefinition(name="day", type="datetime64[us, UTC]"),
        ColumnDefinition(name="size", type="category", categories=["S", "L"], ordered=True),
        ColumnDefinition(name="any"),
    ]
    definitions = [
        ParameterDefinition(name="df", type="data.frame", columns=columns),
        ParameterDefinition(name="factor", type="numeric", default=2),
    ]
    service = a_service(input_parameter_definitions=definitions)
    old: Any = service_document(service)
    new: Any = service_openapi(service)
    jsonschema.validate(old, swagger_2_schema(), jsonschema.Draft4Validator)
    validate(new)
    for inputs in (old["definitions"], new["components"]["schemas"]):
        frame = inputs["InputParameters"]["properties"]["df"]
        assert frame["required"] == list(frame["properties"]) == ["age", "day", "size", "any"]
        assert frame["properties"]["day"]["items"]["format"] == "date-time"
        assert frame["properties"]["size"]["items"]["enum"][:2] == ["S", "L"]
        assert inputs["InputParameters"]["properties"]["factor"]["default"] == 2
    assert new["components"]["schemas"]["InputParameters"]["required"] == ["df"]
    assert new["components"]["schemas"]["InputParameters"]["properties"]["df"]["properties"]["age"][
        "items"
    ]["type"] == ["number", "null"]


def test_documents_say_what_a_service_says_of_itself() -> None:
    frame = ParameterDefinition(
        name="df",
        type="data.frame",
        description="Who asks.",
        example=[{"age": 40}],
        columns=[
            ColumnDefinition(name="age", type="integer", minimum=18, nullable=False),
            ColumnDefinition(name="gap", type="float64", nullable=True, description="A gap."),
        ],
    )
    matrix = ParameterDefinition(
        name="m", type="matrix", shape=[None, 2], items=ItemsDefinition(type="number", maximum=9)
    )
    example = ServiceExample(
        name="usual", inputs={"df": [{"age": 41}], "m": []}, outputs={"total": 41}
    )
    service = a_service(
        input_parameter_definitions=[frame, matrix], examples=[example], tags=["credit"]
    )
    old: Any = service_document(service)
    new: Any = service_openapi(service)
    jsonschema.validate(old, swagger_2_schema(), jsonschema.Draft4Validator)
    validate(new)
    before = old["definitions"]["InputParameters"]
    after = new["components"]["schemas"]["InputParameters"]
    for inputs in (before, after):
        assert inputs["properties"]["df"]["description"] == "Who asks. (data.frame)"
        columns = inputs["properties"]["df"]["properties"]
        assert columns["age"]["items"] == {"type": "integer", "minimum": 18}
        assert columns["gap"]["items"]["description"] == "A gap. (float64)"
        rows = inputs["properties"]["m"]["items"]
        assert (rows["minItems"], rows["maxItems"], rows["items"]["maximum"]) == (2, 2, 9)
    assert before["properties"]["df"]["example"] == [{"age": 40}]
    assert before["example"] == example.inputs
    assert before["properties"]["df"]["properties"]["gap"]["items"]["x-nullable"] is True
    assert after["properties"]["df"]["examples"] == [[{"age": 40}]]
    assert new["info"]["x-tags"] == ["credit"]
    call = new["paths"][f"/api/{service.name}/{service.version}"]["post"]
    (content,) = call["requestBody"]["content"].values()
    assert content["examples"] == {"usual": {"value": example.inputs}}
    (content,) = call["responses"]["200"]["content"].values()
    assert content["examples"]["usual"]["value"]["outputParameters"] == {"total": 41}


def test_the_lines_in_csharp_name_members_that_there_are() -> None:
    page = (DOCS / "how-to/call-from-csharp.md").read_text()
    members = service_document(a_service())["definitions"]["WebServiceResult"]["properties"]
    assert {*re.findall(r'GetProperty\("(\w+)"\)', page)} - {*members} == {"risk"}
