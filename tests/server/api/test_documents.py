"""Documents of the core API, which take a while to be made."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_mlsvc_server.api import status
from jupyter_mlsvc_server.api.status import DocumentRoutes


@pytest.mark.parametrize("kind", ["swagger", "openapi"])
async def test_others_are_answered_while_a_document_is_made(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    makers: list[int] = []

    def make(runtime: str) -> dict[str, str]:
        makers.append(threading.get_ident())
        return {"runtime": runtime}

    monkeypatch.setattr(status, f"core_{kind}", make)
    services: Any = SimpleNamespace(default_runtime="Python")
    routes: Any = DocumentRoutes(services=services)
    for _ in range(2):
        answer = await getattr(routes, kind)(None)
        assert json.loads(answer.body) == {"runtime": "Python"}
    (maker,) = makers
    assert maker != threading.get_ident()
