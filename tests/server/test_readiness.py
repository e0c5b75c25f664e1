"""When the server says that it is ready, and to whom."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.status import StatusRoutes
from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.hosting import notify_service_manager


async def probed(stage: Stage) -> str:
    """Ask as a load balancer does: why not, or nothing where the server is ready."""

    async def readiness() -> list[str]:
        return []

    status: Any = SimpleNamespace(readiness=readiness)
    request: Any = None  # is not read
    try:
        answer = await StatusRoutes(status=status, lifecycle=Lifecycle(stage)).ready(request)
    except NotServing as refusal:
        return refusal.message
    assert answer.status_code == 200
    return ""


async def test_a_server_is_ready_while_new_clients_are_welcome() -> None:
    assert not await probed(Stage.SERVING)
    assert "is starting" in await probed(Stage.STARTING)
    assert "is stopping" in await probed(Stage.DRAINING)
    assert "is stopping" in await probed(Stage.STOPPING)


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
