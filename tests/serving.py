"""The API in the process of a test: some of its routes, served on a port."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from jupyter_mlsvc_server.api.app import ApiApp
from jupyter_mlsvc_server.api.authentication import Authentication
from jupyter_mlsvc_server.api.batches import BatchRoutes
from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.compute_nodes import ComputeNodeRoutes
from jupyter_mlsvc_server.api.events import EventRoutes
from jupyter_mlsvc_server.api.http_server import HttpServer
from jupyter_mlsvc_server.api.keys import KeyRoutes
from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.listening import listen_on_port
from jupyter_mlsvc_server.api.login import LoginRoutes
from jupyter_mlsvc_server.api.metrics import MetricsRoutes
from jupyter_mlsvc_server.api.pages import Pages
from jupyter_mlsvc_server.api.protocol import Limits
from jupyter_mlsvc_server.api.request import ApiSettings
from jupyter_mlsvc_server.api.routing import Router, Routes
from jupyter_mlsvc_server.api.score import ScoreEntry
from jupyter_mlsvc_server.api.services import (
    CallRoutes,
    ContentRoutes,
    LogRoutes,
    PoolRoutes,
    ServiceRoutes,
    StatisticsRoutes,
)
from jupyter_mlsvc_server.api.sessions import SessionRoutes, WorkspaceRoutes
from jupyter_mlsvc_server.api.snapshots import SnapshotRoutes
from jupyter_mlsvc_server.api.status import DocumentRoutes, StatusRoutes
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.monitoring.answered import Observer

NOUNS: Sequence[Any] = (
    LoginRoutes,
    ServiceRoutes,
    PoolRoutes,
    StatisticsRoutes,
    LogRoutes,
    ContentRoutes,
    CallRoutes,
    KeyRoutes,
    BatchRoutes,
    SessionRoutes,
    WorkspaceRoutes,
    SnapshotRoutes,
    EventRoutes,
    ComputeNodeRoutes,
    StatusRoutes,
    DocumentRoutes,
    MetricsRoutes,
)


def tables_of_all_nouns() -> list[Routes]:
    """The routes that there are, of managers that are not there."""
    return [noun(**dict.fromkeys(inspect.signature(noun).parameters)).table() for noun in NOUNS]


def tokens_of(name: str, role: Role = Role.CONTRIBUTOR) -> Any:
    """A verifier of tokens for whom all tokens are one person's."""

    async def principal_of(_token: str) -> Principal:
        return Principal(name, name, role)

    return SimpleNamespace(principal_of=principal_of, recall=lambda _token: None)


@contextlib.asynccontextmanager
async def served(
    *tables: Routes,
    tokens: Any,
    max_bytes: int = 10_000,
    max_held_bytes: int = 2**20,
    log: logging.Logger | None = None,
    observers: Sequence[Observer] = (),
    pages: Pages | None = None,
    docs_public: bool = False,
) -> AsyncIterator[int]:
    """Serve routes, and give the port."""
    memory = BodyMemory(max_held_bytes, largest=max_bytes)
    app = ApiApp(
        router=Router(tables),
        authentication=Authentication(tokens),
        lifecycle=Lifecycle(Stage.SERVING),
        settings=ApiSettings(
            max_body_bytes=max_bytes,
            max_upload_bytes=max_bytes,
            memory=memory,
            docs_public=docs_public,
        ),
        observers=observers,
        pages=pages,
    )
    score = ScoreEntry(
        tokens=tokens,
        engine=cast("Any", SimpleNamespace(submit=None)),
        max_body_bytes=max_bytes,
        memory=memory,
    )
    server = HttpServer(
        app=app,
        score=score,
        limits=Limits(),
        log=log or logging.getLogger("jupyter_mlsvc_server"),
    )
    (listening,) = listen_on_port("127.0.0.1", 0)
    await server.open(listening)
    try:
        yield listening.getsockname()[1]
    finally:
        await server.close()
