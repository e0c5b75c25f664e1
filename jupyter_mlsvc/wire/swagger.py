"""Documents made from the contract's types: the core API's and each service's own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cache
from http.client import responses as reasons
from typing import Any, Final
from urllib.parse import quote

import msgspec

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.model_input import ModelInput
from jupyter_mlsvc.wire.operations import ERROR_BODY, FORM, JSON, OPERATIONS, TAGS, Operation
from jupyter_mlsvc.wire.value_schema import examples_of, model_schema, parameter_schema

Json = dict[str, Any]

TITLE: Final = "MRSServer"
"""Generators name the client class after the title, and scripts know it by this one."""

API_VERSION: Final = "9.3.0"

BATCH_STATES: Final = ("Pending", "InProgress", "Complete", "Failed", "Cancelled")

_REF_2: Final = "#/definitions/{name}"
_REF_3: Final = "#/components/schemas/{name}"
_RENAMED: Final = {"Problem": "Error"}

_PARAMETER_TYPES: Final = [
    "logical",
    "numeric",
    "integer",
    "character",
    "vector",
    "matrix",
    "data.frame",
    "string",
    "json",
]
_RUNTIMES: Final = {
    "type": "string",
    "enum": ["R", "Python"],
    "x-ms-enum": {"name": "RuntimeType", "modelAsString": False},
}
_PATCHES: Final[dict[tuple[str, str], Json]] = {
    # Where the wire is stricter or looser than the Python type says.
    ("ParameterDefinition", "type"): {
        "type": "string",
        "enum": _PARAMETER_TYPES,
        "x-ms-enum": {"name": "type", "modelAsString": True},
    },
    # Without a type: models that are made from "object" refuse numbers, lists and strings.
    ("WorkspaceObject", "value"): {"description": "Any JSON value."},
    ("CreateSessionRequest", "runtimeType"): _RUNTIMES,
    ("PublishWebServiceRequest", "runtimeType"): _RUNTIMES,
    ("Session", "runtimeType"): _RUNTIMES,
    ("WebService", "runtimeType"): {
        "type": "string",
        "enum": ["R", "Python", "Realtime"],
        "x-ms-enum": {"name": "WebServiceRuntimeType", "modelAsString": False},
    },
    # Declared a string by the original and sent as a number; declared here as it is sent.
    ("AccessTokenResponse", "expires_on"): {"type": "integer", "format": "int64"},
    ("StatusResponse", "details"): {"type": "object"},
}

SERVICE_TYPES: Final[dict[str, Json]] = {
    "logical": {"type": "boolean"},
    "numeric": {"type": "number"},
    "integer": {"type": "integer"},
    "character": {"type": "string"},
    "string": {"type": "string"},
    "json": {},
    "vector": {"type": "array", "items": {}},
    "matrix": {"type": "array", "items": {"type": "array", "items": {}}},
    "data.frame": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {}},
    },
}

_TAKEN: Final = {
    *("login", "renewToken", "revokeRefreshToken"),
    *("StartBatchExecution", "GetBatchExecutions", "GetBatchExecutionStatus"),
    *("CancelAndDeleteBatchExecution", "CancelBatchExecution"),
    *("GetBatchExecutionFiles", "GetBatchExecutionFile"),
}
"""Operations of every service's document; no two of a document may have one name."""


# --- the core API ----------------------------------------------------------------------------


def core_swagger(default_runtime: str = "Python") -> Json:
    """Describe the core API as Swagger 2.0, as clients of the original are generated from it."""
    definitions = _core_definitions(_REF_2, swagger2=True)
    return {
        "swagger": "2.0",
        "info": _core_info(default_runtime),
        "schemes": ["http", "https"],
        "consumes": [JSON],
        "produces": [JSON],
        # No securityDefinitions, like the original: generators would change the client's
        # constructor, and callers pass the header themselves.
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(_operation_2),
        "definitions": definitions,
    }


def core_openapi(default_runtime: str = "Python") -> Json:
    """Describe the core API as OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": _core_info(default_runtime),
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(operation_openapi),
        "components": {
            "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _core_definitions(_REF_3, swagger2=False),
        },
    }


def _core_info(default_runtime: str) -> Json:
    return {
        "title": TITLE,
        "version": API_VERSION,
        "description": (
            "Sessions, snapshots and services on this server. Every call but signing in needs the "
            "header 'Authorization: Bearer <access_token>'. Where runtimeType is left out, "
            f"{default_runtime} is meant."
        ),
        "x-implementation": f"jupyter-mlsvc {__version__}",
    }


def _paths(describe: Any) -> Json:
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = describe(operation)
    return paths


def _operation_head(operation: Operation) -> Json:
    return {"tags": [operation.tag], "operationId": operation.id, "summary": operation.summary}


def _operation_2(operation: Operation) -> Json:
    described = _operation_head(operation) | {"parameters": list(_parameters_2(operation))}
    if any(parameter.place == "formData" for parameter in operation.parameters):
        described["consumes"] = [FORM]
    elif operation.body is bytes:
        described["consumes"] = ["application/octet-stream"]
    if operation.produces != JSON:
        described["produces"] = [operation.produces]
    success: Json = {"description": reasons[operation.status]}
    if operation.answer is bytes:
        success["schema"] = {"type": "file"}
    elif operation.answer is not None:
        success["schema"] = _schema(operation.answer, _REF_2, swagger2=True)
    described["responses"] = {str(operation.status): success} | {
        str(status): {"description": reasons[status], "schema": {"$ref": "#/definitions/Error"}}
        for status in operation.errors
    }
    described["responses"]["default"] = {
        "description": "Any other error.",
        "schema": {"$ref": "#/definitions/Error"},
    }
    return described


def _parameters_2(operation: Operation) -> Iterable[Json]:
    for name in _path_names(operation.path):
        yield {"name": name, "in": "path", "required": True, "type": "string"}
    for parameter in operation.parameters:
        yield {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            **parameter.schema,
            "description": parameter.description,
        }
    if operation.body is not None:
        binary = {"type": "string", "format": "binary"}
        schema = (
            binary if operation.body is bytes else _schema(operation.body, _REF_2, swagger2=True)
        )
        yield {"name": operation.body_name, "in": "body", "required": True, "schema": schema}


def operation_openapi(operation: Operation) -> Json:
    """Describe a row of the table as OpenAPI 3.1."""
    described = _operation_head(operation)
    if not operation.public:
        described["security"] = [{"Bearer": []}]
    described["parameters"] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _path_names(operation.path)
    ] + [
        {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for parameter in operation.parameters
        if parameter.place == "query"
    ]
    body = _body_3(operation)
    if body is not None:
        described["requestBody"] = {"required": True, "content": body}
    success: Json = {"description": reasons[operation.status]}
    if operation.answer is bytes:
        success["content"] = {operation.produces: {}}
    elif operation.answer is not None:
        schema = _schema(operation.answer, _REF_3, swagger2=False)
        success["content"] = {JSON: {"schema": schema}}
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    described["responses"] = {str(operation.status): success} | {
        str(status): {"description": reasons[status], "content": error}
        for status in operation.errors
    }
    described["responses"]["default"] = {"description": "Any other error.", "content": error}
    return described


def _body_3(operation: Operation) -> Json | None:
    form = [parameter for parameter in operation.parameters if parameter.place == "formData"]
    if form:
        properties = {
            parameter.name: {"type": "string", "contentMediaType": "application/octet-stream"}
            if parameter.kind == "file"
            else {"type": parameter.kind}
            for parameter in form
        }
        required = [parameter.name for parameter in form if parameter.required]
        return {
            FORM: {"schema": {"type": "object", "properties": properties, "required": required}}
        }
    if operation.body is bytes:
        return {"application/octet-stream": {}}
    if operation.body is not None:
        return {JSON: {"schema": _schema(operation.body, _REF_3, swagger2=False)}}
    return None


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


# --- schemas ---------------------------------------------------------------------------------


def _types() -> list[Any]:
    used = [kind for operation in OPERATIONS for kind in (operation.body, operation.answer)]
    return [kind for kind in used if kind not in {None, bytes}] + [ERROR_BODY]


def openapi_schemas(kinds: Iterable[Any]) -> Json:
    """Describe types, and those that they refer to, as OpenAPI 3.1 schemas by name.

    The caller may change what it gets.
    """
    return copy.deepcopy(_openapi_schemas(tuple(kinds)))


@cache
def _openapi_schemas(kinds: tuple[Any, ...]) -> Json:
    # Types do not change, and each service's document has the same few.
    return _definitions(_REF_3, kinds, swagger2=False)


def _core_definitions(template: str, *, swagger2: bool) -> Json:
    return _definitions(template, _types(), swagger2=swagger2)


def _definitions(template: str, kinds: Iterable[Any], *, swagger2: bool) -> Json:
    _, components = msgspec.json.schema_components(kinds, ref_template=template)
    return {
        _RENAMED.get(name, name): _tidy_definition(name, schema, swagger2=swagger2)
        for name, schema in sorted(components.items())
    }


def _schema(kind: Any, template: str, *, swagger2: bool) -> Json:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=template)
    tidy: Json = _tidy(schema, swagger2=swagger2)
    return tidy


def _tidy_definition(name: str, schema: Json, *, swagger2: bool) -> Json:
    tidy: Json = _tidy(schema, swagger2=swagger2)
    tidy.pop("title", None)
    for member in tidy.get("properties", {}):
        patch = _PATCHES.get((name, member))
        if patch is None:
            continue
        if swagger2:
            tidy["properties"][member] = patch
        elif "enum" in patch and tidy["properties"][member].get("type") == "string":
            tidy["properties"][member] = {"type": "string", "enum": patch["enum"]}
    if "description" in tidy:
        tidy["description"] = " ".join(tidy["description"].split())
    if not tidy.get("required"):
        tidy.pop("required", None)
    return tidy


def _tidy(schema: Any, *, swagger2: bool) -> Any:
    if isinstance(schema, list):
        return [_tidy(item, swagger2=swagger2) for item in schema]
    if not isinstance(schema, dict):
        return _renamed(schema)
    tidy = {key: _tidy(value, swagger2=swagger2) for key, value in schema.items()}
    if not swagger2:
        return tidy
    tidy.pop("default", None)
    if tidy.get("additionalProperties") == {}:
        tidy["additionalProperties"] = {"type": "object"}
    if tidy.get("type") == "array":
        # Swagger 2.0 wants to be told that they may be anything.
        tidy.setdefault("items", {})
    options = tidy.pop("anyOf", None)
    if options is not None:
        # Swagger 2.0 has no unions: a member that may be null is told by an extension.
        kept = [option for option in options if option.get("type") != "null"]
        tidy |= kept[0]
        if len(kept) < len(options):
            tidy |= {} if "$ref" in kept[0] else {"x-nullable": True}
    return tidy


def _renamed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("#/"):
        head, _, name = value.rpartition("/")
        return f"{head}/{_RENAMED.get(name, name)}"
    return value


# --- a service's own document ----------------------------------------------------------------


def service_document(
    service: models.WebService,
    model: ModelInput | None = None,
    states: Sequence[str] = BATCH_STATES,
) -> Json:
    """Describe one service version as Swagger 2.0 (contract: ``GetWebServiceSwagger``).

    Parameters
    ----------
    service
        As ``getWebServiceVersion`` gives it.
    model
        What columns its model takes, for a realtime service.
    states
        States of batches, as this server spells them.
    """
    name, version = service.name, service.version
    path = f"/api/{quote(name)}/{quote(version)}"
    return {
        "swagger": "2.0",
        "info": {"description": service.description, "title": name, "version": version},
        "schemes": ["http", "https"],
        "securityDefinitions": {
            "Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}
        },
        "tags": [{"name": name, "description": service.description}],
        "consumes": [JSON],
        "produces": [JSON],
        "paths": _login_paths() | {path: {"post": _consume(service)}} | _batch_paths(service, path),
        "definitions": _service_definitions(service, model, states),
    }


@cache
def _login_paths() -> Json:
    paths: Json = {}
    for operation in OPERATIONS:
        if operation.tag == "Authentication APIs":
            described = _operation_2(operation) | {"tags": ["User"]}
            responses = described["responses"]
            kept = {code: responses[code] for code in (str(operation.status), "default")}
            paths.setdefault(operation.path, {})[operation.method] = described | {"responses": kept}
    return paths


def consume_id(service: models.WebService) -> str:
    """Name of the call in documents: the alias, unless another operation there is called so."""
    alias = service.operation_id
    return "ConsumeWebService" if alias is None or alias in _TAKEN else alias


def _consume(service: models.WebService) -> Json:
    return {
        "tags": [service.name],
        "description": f"Consume the {service.name} web service.",
        "operationId": consume_id(service),
        "security": [{"Bearer": []}],
        "parameters": [
            {
                "name": "WebServiceParameters",
                "in": "body",
                "required": True,
                "description": "Values of the inputs.",
                "schema": {"$ref": "#/definitions/InputParameters"},
            }
        ],
        "responses": {
            "200": {"description": "OK", "schema": {"$ref": "#/definitions/WebServiceResult"}},
            "400": {"description": "Bad Request."},
            "500": {"description": "Internal Server Error."},
            "default": {"description": "Error", "schema": {"$ref": "#/definitions/Error"}},
        },
    }


_SERVICE_ERROR: Final = {"description": "Error", "schema": {"$ref": "#/definitions/Error"}}
_NOT_FOUND: Final = {
    "description": "Service or execution not found.",
    "schema": {"$ref": "#/definitions/Error"},
}


def _batch_paths(service: models.WebService, path: str) -> Json:
    one = f"{path}/batch/{{executionId}}"
    files = f"{one}/{{index}}/files"
    execution = _in_path("executionId", "string", "Id of the batch execution.")
    index = _in_path("index", "integer", "Number of the record, counted from 0.")
    file_name = _in_path("fileName", "string", "Name of the file.")
    partial = {
        "name": "showPartialResults",
        "in": "query",
        "required": False,
        "type": "boolean",
        "description": "Give the results that are there before all are.",
    }
    names: Json = {"type": "array", "items": {"type": "string"}}
    status: Json = {"$ref": "#/definitions/BatchWebServiceResult"}
    file: Json = {"type": "file"}
    return {
        f"{path}/batch": {
            "post": _start_batch(service),
            "get": _batch_call(service, "GetBatchExecutions", "List your batches.", names),
        },
        one: {
            "get": _batch_call(
                *(service, "GetBatchExecutionStatus", "State and results of a batch.", status),
                *(execution, partial),
            ),
            "delete": _batch_call(
                *(service, "CancelAndDeleteBatchExecution", "Stop and delete a batch.", names),
                execution,
            ),
        },
        files: {
            "get": _batch_call(
                *(service, "GetBatchExecutionFiles", "List the files of a record.", names),
                *(execution, index),
            )
        },
        f"{files}/{{fileName}}": {
            "get": _batch_call(
                *(service, "GetBatchExecutionFile", "Download a file of a record.", file),
                *(execution, index, file_name),
            )
        },
    }


def _in_path(name: str, kind: str, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "type": kind, "description": description}


def _start_batch(service: models.WebService) -> Json:
    return {
        "tags": [service.name],
        "description": f"Consume the {service.name} web service with many records.",
        "operationId": "StartBatchExecution",
        "security": [{"Bearer": []}],
        "parameters": [
            {
                "name": "BatchWebServiceParameters",
                "in": "body",
                "required": True,
                "description": "Values of the inputs, for each record.",
                "schema": {"type": "array", "items": {"$ref": "#/definitions/InputParameters"}},
            },
            {
                "name": "parallelCount",
                "in": "query",
                "required": False,
                "type": "integer",
                "format": "int32",
                "description": "Records that may run at a time; 10 where it is left out.",
            },
        ],
        "responses": {
            "202": {
                "description": "Accepted",
                "schema": {"$ref": "#/definitions/StartBatchExecutionResponse"},
            },
            "400": {"description": "Bad Request."},
            "500": {"description": "Internal Server Error."},
            "default": _SERVICE_ERROR,
        },
    }


def _batch_call(
    service: models.WebService, identifier: str, description: str, schema: Json, *parameters: Json
) -> Json:
    return {
        "tags": [service.name],
        "description": description,
        "operationId": identifier,
        "security": [{"Bearer": []}],
        "consumes": [JSON],
        "produces": [JSON],
        "parameters": list(parameters),
        "responses": {
            "200": {"description": "OK", "schema": schema},
            "404": _NOT_FOUND,
            "default": _SERVICE_ERROR,
        },
    }


@cache
def _login_definitions() -> Json:
    kinds = (models.LoginRequest, models.RenewTokenRequest, models.AccessTokenResponse)
    found = _definitions(_REF_2, kinds, swagger2=True)
    return {kind.__name__: found[kind.__name__] for kind in kinds}


def _batch_definitions(states: Sequence[str]) -> Json:
    count = {"type": "integer", "format": "int32"}
    return {
        "StartBatchExecutionResponse": {
            "type": "object",
            "properties": {"batchExecutionId": {"type": "string"}},
        },
        "BatchWebServiceResult": {
            "type": "object",
            "properties": {
                "state": {
                    "type": "string",
                    # Spelt as they are sent: strict clients refuse any other.
                    "enum": [*states],
                    "x-ms-enum": {"name": "BatchState", "modelAsString": True},
                },
                "completedItemCount": count,
                "totalItemCount": count,
                "parallelCount": count | {"description": "Records that may run at a time."},
                "batchExecutionResults": {
                    "type": "array",
                    "items": {"$ref": "#/definitions/WebServiceResult"},
                },
            },
        },
    }


def _service_definitions(
    service: models.WebService, model: ModelInput | None, states: Sequence[str]
) -> Json:
    result: Json = {
        "success": {"type": "boolean"},
        "errorMessage": {"type": "string"},
        "consoleOutput": {"type": "string"},
        "changedFiles": {"type": "array", "items": {"type": "string"}},
    }
    if service.output_file_names:
        result["outputFiles"] = {
            "type": "object",
            "additionalProperties": {"type": "string", "format": "byte"},
        }
    result["outputParameters"] = {"$ref": "#/definitions/OutputParameters"}
    example = next(iter(examples_of(service)), None)
    own: Json = {
        "InputParameters": _parameters(
            service.input_parameter_definitions, None if example is None else example.inputs
        ),
        "OutputParameters": _parameters(
            service.output_parameter_definitions, None if example is None else example.outputs
        ),
        "Error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer", "format": "int32"},
                "message": {"type": "string"},
                "fields": {"type": "string"},
            },
        },
        "WebServiceResult": {"type": "object", "properties": result},
    }
    if model is not None and not any(each.columns for each in service.input_parameter_definitions):
        for schema in own["InputParameters"]["properties"].values():
            schema.update(model_schema(model, {}))
    return own | _batch_definitions(states) | _login_definitions()


def _parameters(definitions: Iterable[models.ParameterDefinition], example: Json | None) -> Json:
    properties = {
        definition.name: parameter_schema(definition, SERVICE_TYPES.get(definition.type, {}))
        for definition in definitions
    }
    return {"type": "object", "properties": properties} | ({"example": example} if example else {})
