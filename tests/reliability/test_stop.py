"""A server that is told to end lets what runs end, and breaks no request off."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.reliability.callers import Line, in_thread
from tests.reliability.conftest import definition
from tests.server.api.conftest import Answer
from tests.server.scoring.serving import UNTIL_OPEN
from tests.waiting import until, wait_until

pytestmark = pytest.mark.kernel

SERVICE = "/api/waits/1.0"
CODE = f"open(door + '.runs', 'w').close()\n{UNTIL_OPEN}"
"""Tells by a file that it runs, and runs until there is another one."""


@pytest.fixture
def server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server that is not started yet."""
    return ServerProcess(
        data_dir=tmp_path_factory.mktemp("data"),
        admin_password="a password",
        options=[
            "--MlsvcApp.stop_seconds=600",
            "--KernelFactory.preload_at_start=false",
            "--LocalEngine.preload=[]",
            "--LocalEngine.deadline_seconds=0",
            f"--Confinement.writable_paths={tmp_path}",
        ],
    )


async def publish(server: ServerProcess) -> None:
    """Publish a service of that code."""
    door = sign_in(server.public_url, "admin", server.admin_password)
    body = definition(CODE, inputs="door:string")
    assert (await in_thread(door.post, "/services/waits/1.0", json=body)).status_code == 201


async def asked(line: Line, path: str, body: object = b"", method: str = "POST") -> Answer:
    """Ask a server that stops; it says to each that this is the last answer here."""
    line.send(line.request(path, body, method))
    answer = await line.receive()
    assert answer.headers["connection"] == "close"
    return answer


async def test_what_runs_when_the_server_is_told_to_end_ends_by_itself(
    server: ServerProcess, tmp_path: Path
) -> None:
    doors = [tmp_path / "call", tmp_path / "session"]
    with server:
        assert server.process is not None
        await publish(server)
        door = sign_in(server.public_url, "admin", server.admin_password)
        session = door.post("/sessions", json={}).json()["sessionId"]
        async with Line(door) as calls, Line(door) as polls, Line(door) as idle, Line(door) as runs:
            calls.send(calls.request(SERVICE, {"door": str(doors[0])}))
            code = f"door = {str(doors[1])!r}\n{CODE}"
            runs.send(runs.request(f"/sessions/{session}/execute", {"code": code}))
            for each in doors:
                await until(each.with_suffix(".runs").exists)
            polls.send(polls.request("/events", method="GET"))
            now = (await polls.receive()).json()
            newer = f"/events?run={now['run']}&after={now['last']}&wait=55"
            polls.send(polls.request(newer, method="GET"))
            idle.send(idle.request("/health/ready", method="GET"))
            assert (await idle.receive()).status == 200

            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(
                wait_until, lambda: door.get("/health/ready").status_code == 503
            )
            assert (await polls.receive()).json()["events"] == []
            for path, method in (("/health/ready", "GET"), (SERVICE, "POST")):
                async with Line(door) as late:
                    refused = await asked(late, path, {"door": "/"}, method)
                assert (refused.status, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["message"] == "The server is stopping."
            assert (await asked(idle, SERVICE, {"door": "/"})).status == 503
            assert server.process.poll() is None

            for each in doors:
                each.touch()
            for line in (calls, runs):
                answer = await line.receive()
                assert (answer.status, answer.json()["success"]) == (200, True)
                assert answer.headers["connection"] == "close"
        assert await asyncio.to_thread(server.process.wait, 60) == 0


async def test_a_second_signal_answers_what_still_runs(
    server: ServerProcess, tmp_path: Path
) -> None:
    with server:
        assert server.process is not None
        await publish(server)
        door = sign_in(server.public_url, "admin", server.admin_password)
        async with Line(door) as calls:
            calls.send(calls.request(SERVICE, {"door": str(tmp_path / "call")}))
            await until((tmp_path / "call.runs").exists)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(
                wait_until, lambda: door.get("/health/ready").status_code == 503
            )
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            cut = await calls.receive()
            assert (cut.status, cut.headers["retry-after"]) == (503, "1")
            assert cut.headers["connection"] == "close"
        assert await asyncio.to_thread(server.process.wait, 60) == 0
