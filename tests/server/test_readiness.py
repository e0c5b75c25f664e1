"""When the server says that it is ready, and to whom."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.status import StatusRoutes
from jupyter_mlsvc_server.errors import Busy
from jupyter_mlsvc_server.hosting import notify_service_manager
from jupyter_mlsvc_server.monitoring import status
from jupyter_mlsvc_server.monitoring.status import StatusReporter
from jupyter_mlsvc_server.storage.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path)
    await opened.start()
    yield opened
    await opened.stop()


async def probed(database: Any, stage: Stage = Stage.SERVING, *, is_warm: bool = True) -> str:
    """Ask as a load balancer does: why not, or nothing where the server is ready."""
    others: Any = {"sessions": None, "compute_nodes": None}
    scoring: Any = SimpleNamespace(is_ready=is_warm)
    reporter = StatusReporter(database=database, scoring=scoring, **others)
    routes = StatusRoutes(status=reporter, lifecycle=Lifecycle(stage))
    request: Any = None  # is not read
    try:
        answer = await routes.ready(request)
    except Busy as refusal:
        return refusal.message
    assert answer.status_code == 200
    return ""


async def test_a_server_is_ready_once_calls_can_be_answered(database: Database) -> None:
    assert not await probed(database)
    assert "is starting" in await probed(database, Stage.STARTING)
    assert "is starting" in await probed(database, is_warm=False)
    assert "is stopping" in await probed(database, Stage.DRAINING)


async def test_a_server_without_its_database_is_not_ready(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.stop()
    assert "database does not answer" in await probed(database)
    monkeypatch.setattr(status, "_PATIENCE", 0.0)
    never: Any = SimpleNamespace(kind="sqlite", read=lambda _work: asyncio.Event().wait())
    assert "database does not answer" in await probed(never)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_service_manager("READY=1")  # nobody wants to know
    name = f"{tmp_path}/notices" if kind == "path" else f"@{tmp_path.name}/notices"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify_service_manager("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify_service_manager("STOPPING=1")  # systemd is gone
