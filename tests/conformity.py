"""Check that answers are what the contract says: their status, and the shape of their body.

Compared with three descriptions: the core document that the server serves, the wire's types for
what only a service's own document describes, and Microsoft's document where it lies beside the
project.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from jsonschema import Draft4Validator, Draft202012Validator
from jsonschema.exceptions import best_match

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc.wire.swagger import core_openapi
from tests.reference import SWAGGER

JSON = "application/json"
ANYWHERE = {401, 403, 404, 405, 410, 413, 415, 429, 500, 503, 504, 507}
"""Refusals that any call may meet; the documents leave them to their ``default``."""

OF_SERVICES: dict[str, dict[str, dict[int, Any]]] = {
    "/api/{name}/{version}": {"post": {200: models.WebServiceResult}},
    "/api/{name}/{version}/batch": {
        "post": {202: models.StartBatchExecutionResponse},
        "get": {200: list[str]},
    },
    "/api/{name}/{version}/batch/{executionId}": {
        "get": {200: models.BatchWebServiceResult},
        "delete": {200: list[str]},
    },
    "/api/{name}/{version}/batch/{executionId}/cancel": {"post": {200: str}},
    "/api/{name}/{version}/batch/{executionId}/{index}/files": {"get": {200: list[str]}},
    "/api/{name}/{version}/batch/{executionId}/{index}/files/{fileName}": {"get": {200: None}},
}
"""Calls that the core document leaves to the documents of services; None has a free body."""

_LOOSENED: dict[tuple[str, str], dict[str, Any]] = {
    # Microsoft's example is a number, and so is what its server sent.
    ("AccessTokenResponse", "expires_on"): {"type": "integer"},
    # Its example has numbers and texts in it.
    ("StatusResponse", "details"): {"type": "object"},
    # Its text says "any JSON".
    ("WorkspaceObject", "value"): {},
    # Microsoft's own examples publish an output of the type 'string'.
    ("ParameterDefinition", "type"): {"type": "string"},
}
"""Where Microsoft's document is stricter than what its examples and clients show."""


class Unexpected(AssertionError):
    """An answer that the contract does not have."""


@dataclass(frozen=True)
class Answer:
    """What came back, from whatever client; the body is None where it was not looked at."""

    method: str
    url: str
    status: int
    content_type: str
    body: bytes | None = field(repr=False)


def check_answer(answer: Answer) -> None:
    """Compare an answer with all descriptions.

    Raises
    ------
    Unexpected
        It differs from one; the message says how.
    """
    what = f"{answer.method} {urlsplit(answer.url).path} answered {answer.status}"
    if answer.status >= 400:
        _check_body(answer, _of_type(Problem), f"{what}, which is no Error body")
    found = _find(answer)
    if found is None:
        return
    template, method = found
    described = _statuses(template, method)
    if str(answer.status) not in described and answer.status not in ANYWHERE:
        raise Unexpected(f"{what}, which is not in the document: {answer.body!r:.300}")
    _check_body(answer, _ours(template, method, answer.status), f"{what}, unlike our document")
    _check_body(answer, _theirs(template, method, answer.status), f"{what}, unlike Microsoft's")


def _check_body(answer: Answer, validator: Any, what: str) -> None:
    if validator is None or answer.body is None or answer.method == "HEAD":
        return
    if not answer.content_type.startswith(JSON):
        raise Unexpected(f"{what}: the content type is {answer.content_type!r}")
    try:
        body = json.loads(answer.body)
    except ValueError:
        raise Unexpected(f"{what}: the body is no JSON: {answer.body!r:.300}") from None
    error = best_match(validator.iter_errors(body))
    if error is not None:
        raise Unexpected(f"{what}: {error.message:.300} at {error.json_path}")


# --- which call it was -----------------------------------------------------------------------


def _find(answer: Answer) -> tuple[str, str] | None:
    method = answer.method.lower()
    path = urlsplit(answer.url).path
    # Under a prefix that ends with mlsvc, or under none.
    _, prefix, rest = path.rpartition("/mlsvc/")
    for candidate in (f"/{rest}" if prefix else path, path):
        for pattern, template in _patterns():
            if pattern.fullmatch(_unquoted(candidate)) and _statuses(template, method):
                return template, method
    return None


def _unquoted(path: str) -> str:
    """Unquote the parts of a path, each on its own."""
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    paths = {operation.path for operation in OPERATIONS} | set(OF_SERVICES)
    templates = sorted(paths, key=lambda path: (path.count("{"), path))
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "/?"), path)
        for path in templates
    ]


@cache
def _statuses(template: str, method: str) -> frozenset[str]:
    if method in OF_SERVICES.get(template, {}):
        return frozenset({str(status) for status in OF_SERVICES[template][method]} | {"400"})
    operation = _document()["paths"].get(template, {}).get(method)
    return frozenset() if operation is None else frozenset(operation["responses"])


# --- what it should have been ----------------------------------------------------------------


@cache
def _ours(template: str, method: str, status: int) -> Any:
    if method in OF_SERVICES.get(template, {}):
        kind = OF_SERVICES[template][method].get(status)
        return None if kind is None else _of_type(kind)
    if template == "/api/{name}/{version}/swagger.json" and status == 200:
        return Draft4Validator(swagger_2_schema())
    responses = _document()["paths"][template][method]["responses"]
    content = responses.get(str(status), responses["default"]).get("content", {})
    if "schema" not in content.get(JSON, {}):
        return None
    schema = content[JSON]["schema"] | {"components": _document()["components"]}
    return Draft202012Validator(schema)


@cache
def _theirs(template: str, method: str, status: int) -> Any:
    operation = _original().get("paths", {}).get(template, {}).get(method)
    if operation is None:
        return None
    responses = operation["responses"]
    schema = responses.get(str(status), responses["default"]).get("schema")
    if schema is None or schema.get("type") == "file":
        return None
    return Draft202012Validator(schema | {"definitions": _original()["definitions"]})


def swagger_2_schema() -> dict[str, Any]:
    """The official schema of Swagger 2.0 documents."""
    file = files("openapi_spec_validator") / "resources/schemas/v2.0/schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _of_type(kind: Any) -> Any:
    return Draft202012Validator(msgspec.json.schema(kind))


@cache
def _document() -> dict[str, Any]:
    return core_openapi()


@cache
def _original() -> dict[str, Any]:
    """Microsoft's document; members may be null there, as its clients take it."""
    if not SWAGGER.exists():
        return {}
    original: dict[str, Any] = json.loads(SWAGGER.read_text(encoding="utf-8"))
    # Its one line says that every member of a Swagger document is an object.
    original["definitions"]["SwaggerJsonResponse"] = {"type": "object"}
    for name, definition in original["definitions"].items():
        properties = definition.get("properties", {})
        for member, schema in properties.items():
            properties[member] = {
                "anyOf": [_LOOSENED.get((name, member), schema), {"type": "null"}]
            }
    return original
