"""Check that an answer is what the served document says: its status, and the shape of its body."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import requests

from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc.wire.swagger import core_openapi

JSON = "application/json"
ANYWHERE = {401, 403, 404, 405, 410, 413, 429, 503}
"""Refusals that any call may meet; the document leaves them to its ``default``."""


def check_answer(answer: requests.Response, prefix: str) -> None:
    """Compare an answer with the core document; calls that are not in it pass.

    Parameters
    ----------
    answer
        What came back.
    prefix
        Address of the door, which the document's paths come after.
    """
    path = urlsplit(str(answer.request.url)).path.removeprefix(urlsplit(prefix).path)
    described = _describe(str(answer.request.method).lower(), path)
    if described is None:
        return
    status = str(answer.status_code)
    what = f"{answer.request.method} {path} answered {status}"
    assert status in described or answer.status_code in ANYWHERE, f"{what}: {answer.text[:300]}"
    schema = described.get(status, described["default"]).get("content", {}).get(JSON, {})
    if "schema" in schema:
        assert answer.headers["Content-Type"].startswith(JSON), what
        jsonschema.validate(answer.json(), _whole(schema["schema"]))


def _describe(method: str, path: str) -> dict[str, Any] | None:
    for pattern, template in _patterns():
        if pattern.fullmatch(path):
            operation = _document()["paths"][template].get(method)
            return None if operation is None else dict(operation["responses"])
    return None


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"components": _document()["components"]}


@cache
def _document() -> dict[str, Any]:
    return core_openapi()


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    templates = sorted({operation.path for operation in OPERATIONS}, key=lambda path: "{" in path)
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "/?"), path) for path in templates]
