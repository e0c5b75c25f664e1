"""Write a client package from a Swagger document, in the shape that generators of 2017 gave it.

Model constructors take their members by position in the order of the document, operations take
path and body parameters by position and then a dictionary of headers, names are snake_case, and a
status that the document does not list raises. Today's generators shape clients differently, and
scripts of that time are written against this shape.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RUNTIME = """
import json
import requests


class Model:
    MEMBERS = {}

    def __init__(self, *values, **named):
        given = dict(zip(self.MEMBERS, values)) | named
        unknown = set(given) - set(self.MEMBERS)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {sorted(unknown)}")
        for name in self.MEMBERS:
            setattr(self, name, given.get(name))

    def __repr__(self):
        return f"{type(self).__name__}({vars(self)})"


class ErrorException(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer.status_code}: {answer.text}")


def plain(value):
    if isinstance(value, Model):
        pairs = ((wire, plain(getattr(value, name))) for name, (wire, _) in value.MEMBERS.items())
        return {wire: item for wire, item in pairs if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def read(value, schema, models):
    if value is None or not schema:
        return value
    if "$ref" in schema:
        kind = getattr(models, schema["$ref"].rpartition("/")[2])
        if not kind.MEMBERS:
            return value  # a map of anything stays one
        known = {name: read(value.get(wire), inner, models)
                 for name, (wire, inner) in kind.MEMBERS.items()}
        return kind(**known)
    if schema.get("type") == "string" and isinstance(value, int):
        return str(value)  # expires_on, which is declared a string and sent as a number
    wanted = {"array": list, "string": str, "boolean": bool, "integer": int}.get(schema.get("type"))
    if wanted and not isinstance(value, wanted):
        raise TypeError(f"expected {schema['type']}, got {value!r}")
    if schema.get("type") == "array":
        return [read(item, schema.get("items"), models) for item in value]
    if schema.get("enum") and not schema.get("x-ms-enum", {}).get("modelAsString"):
        if value not in schema["enum"]:
            raise ValueError(f"{value!r} is none of {schema['enum']}")
    return value


class Service:
    def __init__(self, base_url):
        self.base_url = base_url

    def _call(self, models, operation, values, headers):
        method, path, places, responses = operation
        query, body = {}, None
        for (name, place), value in zip(places, values, strict=True):
            if place == "path":
                path = path.replace("{%s}" % name, requests.utils.quote(value, safe=""))
            elif place == "query":
                query[name] = value
            else:
                body = json.dumps(plain(value))
        sent = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
        answer = requests.request(method, self.base_url + path, params=query, data=body,
                                  headers=sent | (headers or {}), timeout=60)
        if str(answer.status_code) not in responses:
            raise ErrorException(answer)
        schema = responses[str(answer.status_code)]
        return read(answer.json(), schema, models) if schema else None
"""


def write_client(document: dict[str, Any], folder: Path) -> Path:
    """Write the package ``deployrclient`` for a core document; gives its folder."""
    package = folder / "deployrclient"
    package.mkdir(parents=True)
    (package / "_runtime.py").write_text(RUNTIME)
    (package / "models.py").write_text(_models(document["definitions"]))
    (package / "__init__.py").write_text(
        "from . import models\nfrom ._runtime import Service\n\n\nclass DeployRClient(Service):\n"
        + "\n".join(_operations(document["paths"]))
    )
    return package


def _models(definitions: dict[str, Any]) -> str:
    lines = ["from ._runtime import Model\n"]
    for name, schema in definitions.items():
        members = {_snake(p): (p, s) for p, s in schema.get("properties", {}).items()}
        lines.append(f"class {name}(Model):\n    MEMBERS = {members!r}\n")
    return "\n".join(lines)


def _operations(paths: dict[str, Any]) -> list[str]:
    lines = []
    for path, methods in paths.items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            if any(parameter["in"] == "formData" for parameter in parameters):
                continue
            names = ", ".join(_snake(parameter["name"]) for parameter in parameters)
            responses = {
                status: answer.get("schema")
                for status, answer in operation["responses"].items()
                if status.startswith("2")
            }
            places = [(parameter["name"], parameter["in"]) for parameter in parameters]
            lines.append(
                f"    def {_snake(operation['operationId'])}"
                f"(self, {names + ', ' if names else ''}custom_headers=None):\n"
                f"        return self._call(models, {(method, path, places, responses)!r}, "
                f"[{names}], custom_headers)\n"
            )
    return lines


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def load(path: Path) -> dict[str, Any]:
    """Read a Swagger document."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
