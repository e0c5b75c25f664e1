"""The OpenAPI 3.1 document of a service version, our addition to the Swagger 2.0 one.

It is made from the same description of the service, and says what the older format can't: what may
be null, which inputs a call needs, and each status that it may have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE as ARROW
from jupyter_mlsvc.wire.model_input import ModelInput
from jupyter_mlsvc.wire.operations import BYTES, ERROR_BODY, JSON, OPERATIONS, Operation, query
from jupyter_mlsvc.wire.swagger import (
    SERVICE_TYPES,
    Json,
    consume_id,
    openapi_schemas,
    operation_openapi,
)
from jupyter_mlsvc.wire.value_schema import examples_of, model_schema, parameter_schema

_SCALAR: Final[Json] = {"type": ["number", "string", "boolean", "null"]}
_TYPES: Final[dict[str, Json]] = SERVICE_TYPES | {
    "vector": {"type": ["array", "null"], "items": _SCALAR},
    "matrix": {"type": ["array", "null"], "items": {"type": "array", "items": _SCALAR}},
    "data.frame": {
        "type": ["object", "null"],
        "additionalProperties": {"type": "array"},
    },
    # Any JSON, as the wire has it.
    "string": {},
}
_CALL_ERRORS: Final = (400, 401, 403, 404, 413, 415, 500, 503, 504)
_BATCH_ERRORS: Final = (401, 403, 404)
_PUBLIC: Final = "Authentication APIs"


class InputParameters(msgspec.Struct):
    """Values of the inputs, by name."""


class OutputParameters(msgspec.Struct):
    """Values of the outputs, by name; there are none where the code raised."""


class WebServiceResult(models.WebServiceResult, frozen=True, kw_only=True):
    """What the code did."""

    output_parameters: OutputParameters  # type: ignore[assignment]  # of this service


class BatchItemResult(WebServiceResult, frozen=True, kw_only=True, omit_defaults=True):
    """Result of a record; ``finished`` is false for one that has none yet."""

    finished: bool = True


class BatchWebServiceResult(models.BatchWebServiceResult, frozen=True, kw_only=True):
    """How far a batch is."""

    batch_execution_results: list[BatchItemResult] = []  # type: ignore[assignment]  # noqa: RUF012 - msgspec copies it


def service_openapi(
    service: models.WebService, model: ModelInput | None = None, *, has_arrow: bool = False
) -> Json:
    """Describe one service version as OpenAPI 3.1.

    Parameters
    ----------
    service
        As ``getWebServiceVersion`` gives it.
    model
        What columns its model takes, for a realtime service.
    has_arrow
        Whether the server takes and gives streams of Arrow.
    """
    rows = list(_operations(service))
    paths: Json = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = operation_openapi(row)
    for methods in paths.values():
        for described in methods.values():
            _number_records(described["parameters"])
    _show_examples(service, paths[_address(service)]["post"])
    _show_streams(service, paths[_address(service)]["post"])
    if has_arrow and service.runtime_type != "R":
        _show_arrow(service, paths)
    info: Json = {
        "title": service.name,
        "version": service.version,
        "description": service.description,
    }
    if service.tags:
        info["x-tags"] = service.tags
    return {
        "openapi": "3.1.0",
        "info": info,
        "tags": [{"name": service.name, "description": service.description}],
        "paths": paths,
        "components": {
            "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(service, rows, model),
        },
    }


def _address(service: models.WebService) -> str:
    return f"/api/{quote(service.name)}/{quote(service.version)}"


def _show_examples(service: models.WebService, call: Json) -> None:
    """Add whole calls to the description of a call."""
    shown = examples_of(service)
    if not shown:
        return
    names = [each.name or f"Example {number}" for number, each in enumerate(shown, 1)]
    call["requestBody"]["content"][JSON]["examples"] = {
        name: {"value": each.inputs} for name, each in zip(names, shown, strict=True)
    }
    answers = {
        name: {"value": _answer(each)}
        for name, each in zip(names, shown, strict=True)
        if each.outputs
    }
    if answers:
        call["responses"]["200"]["content"][JSON]["examples"] = answers


def _show_streams(service: models.WebService, call: Json) -> None:
    """Add to the description of a call how its answer comes item by item."""
    names = [each.name for each in service.output_parameter_definitions if each.streams]
    if not names:
        return
    item = {
        "type": "object",
        "properties": {"output": {"enum": names}, "value": {}},
        "required": ["output", "value"],
        "description": "An item of an output, sent as it comes.",
    }
    result = {"$ref": "#/components/schemas/WebServiceResult"}
    error = {"$ref": "#/components/schemas/Error"}
    content = call["responses"]["200"]["content"]
    content["text/event-stream"] = {
        "schema": {
            "type": "string",
            "description": "Events 'item' with an output and a value, then one event 'result' with "
            "a WebServiceResult without these outputs, or 'error' with an Error.",
        }
    }
    content["application/x-ndjson"] = {
        "schema": {"anyOf": [item, result, error], "description": "Of each line."}
    }


def _show_arrow(service: models.WebService, paths: Json) -> None:
    """Add to the description of calls that tables and vectors may come as streams of Arrow."""
    address = _address(service)
    call = paths[address]["post"]
    if _has_columns(service.input_parameter_definitions):
        for described in (call, paths[f"{address}/batch"]["post"]):
            described["requestBody"]["content"][ARROW] = {}
    if _has_columns(service.output_parameter_definitions):
        call["responses"]["200"]["content"][ARROW] = {}


def _has_columns(definitions: Iterable[models.ParameterDefinition]) -> bool:
    return any(each.type in {"data.frame", "vector"} for each in definitions)


def _answer(example: models.ServiceExample) -> Json:
    result = models.WebServiceResult(
        success=True,
        error_message="",
        output_parameters=example.outputs,
        output_files={},
        console_output="",
        changed_files=[],
    )
    answer: Json = msgspec.to_builtins(result)
    return answer


def _operations(service: models.WebService) -> Iterable[Operation]:
    for operation in OPERATIONS:
        if operation.tag == _PUBLIC:
            yield replace(operation, tag="User")
    base = _address(service)
    one = f"{base}/batch/{{executionId}}"
    files = f"{one}/{{index}}/files"
    yield Operation(
        id=consume_id(service),
        method="post",
        path=base,
        tag=service.name,
        summary=f"Consume the {service.name} web service.",
        body=InputParameters,
        answer=WebServiceResult,
        errors=_CALL_ERRORS,
    )
    yield Operation(
        id="StartBatchExecution",
        method="post",
        path=f"{base}/batch",
        tag=service.name,
        summary=f"Consume the {service.name} web service with many records.",
        body=list[InputParameters],
        parameters=(
            query(
                "parallelCount",
                "Records that may run at a time; 10 where left out.",
                kind="integer",
            ),
        ),
        answer=models.StartBatchExecutionResponse,
        status=202,
        errors=(400, 401, 403, 404, 413, 415),
    )
    yield Operation(
        id="GetBatchExecutions",
        method="get",
        path=f"{base}/batch",
        tag=service.name,
        summary="List your batches, oldest first.",
        answer=list[str],
        errors=_BATCH_ERRORS,
    )
    yield Operation(
        id="GetBatchExecutionStatus",
        method="get",
        path=one,
        tag=service.name,
        summary="State and results of a batch.",
        parameters=(
            query("showPartialResults", "Give the results that are there so far.", kind="boolean"),
            query("first", "Number of the first result wanted.", kind="integer"),
            query("count", "How many results are wanted.", kind="integer"),
        ),
        answer=BatchWebServiceResult,
        errors=(400, *_BATCH_ERRORS),
    )
    yield Operation(
        id="CancelAndDeleteBatchExecution",
        method="delete",
        path=one,
        tag=service.name,
        summary="Stop and delete a batch.",
        answer=list[str],
        errors=_BATCH_ERRORS,
    )
    yield Operation(
        id="CancelBatchExecution",
        method="post",
        path=f"{one}/cancel",
        tag=service.name,
        summary="Stop a batch and keep the results it has.",
        answer=str,
        errors=_BATCH_ERRORS,
    )
    yield Operation(
        id="GetBatchExecutionFiles",
        method="get",
        path=files,
        tag=service.name,
        summary="List the files that the code wrote for a record.",
        answer=list[str],
        errors=_BATCH_ERRORS,
    )
    yield Operation(
        id="GetBatchExecutionFile",
        method="get",
        path=f"{files}/{{fileName}}",
        tag=service.name,
        summary="Download a file of a record.",
        answer=bytes,
        errors=_BATCH_ERRORS,
        produces=BYTES,
    )


def _number_records(parameters: Iterable[Json]) -> None:
    for parameter in parameters:
        if parameter["name"] == "index":
            parameter["schema"] = {"type": "integer", "minimum": 0}


def _schemas(
    service: models.WebService, rows: Iterable[Operation], model: ModelInput | None
) -> Json:
    kinds = [kind for row in rows for kind in (row.body, row.answer)]
    schemas = openapi_schemas([kind for kind in kinds if kind not in {None, bytes}] + [ERROR_BODY])
    inputs = service.input_parameter_definitions
    schemas["InputParameters"] |= _members(inputs)
    if required := [each.name for each in inputs if each.default is UNSET]:
        schemas["InputParameters"]["required"] = required
    if model is not None and not any(each.columns for each in inputs):
        for schema in schemas["InputParameters"]["properties"].values():
            schema.update(model_schema(model, _SCALAR, may_be_null=True))
    schemas["OutputParameters"] |= _members(service.output_parameter_definitions)
    if service.output_file_names:
        for name in ("WebServiceResult", "BatchItemResult"):
            schemas[name]["properties"]["outputFiles"] |= _files(service.output_file_names)
    return schemas


def _members(definitions: Iterable[models.ParameterDefinition]) -> Json:
    return {
        "properties": {
            definition.name: parameter_schema(
                definition, _nullable(_TYPES[definition.type]), may_be_null=True
            )
            for definition in definitions
        }
    }


def _nullable(schema: Json) -> Json:
    kind = schema.get("type")
    return schema | {"type": [kind, "null"]} if isinstance(kind, str) else schema


def _files(names: Iterable[str]) -> Json:
    content = {
        "type": ["string", "null"],
        "contentEncoding": "base64",
        "description": "Content of the file; null where the code did not write it.",
    }
    return {"properties": dict.fromkeys(names, content)}
