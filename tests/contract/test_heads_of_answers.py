"""HEAD is answered wherever GET is, with the same head and without the body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from jupyter_mlsvc.wire.operations import OPERATIONS
from tests.contract.doors import Door

pytestmark = pytest.mark.kernel

GETS = {operation.id: operation for operation in OPERATIONS if operation.method == "get"}
GROWING = "getMetrics"
"""The first request of a kind adds the lines that count it."""
VARYING = {"Date", "Etag", "X-Request-Id", "Transfer-Encoding", "Content-Length"}


@pytest.fixture(scope="module")
def names(door: Door) -> Iterator[dict[str, Any]]:
    """What may stand in paths: a session, a snapshot, a service and the like."""
    session = door.post("/sessions", json={"runtimeType": "Python"}).json()["sessionId"]
    path = f"/sessions/{session}"
    door.post(f"{path}/execute", json={"code": "x = 1\nopen('a.txt', 'w').write('abc')"})
    (execution,) = door.get(f"{path}/executions").json()
    snapshot = door.post(f"{path}/snapshot", json={}).json()["snapshotId"]
    door.post("/services/headed/V1", json={"code": "y = 1", "runtimeType": "Python"})
    door.post("/api/headed/V1", json={})
    (call,) = door.get("/services/headed/V1/calls").json()
    yield {
        "session": session,
        "snapshot": snapshot,
        "name": "headed",
        "version": "V1",
        "fileName": "a.txt",
        "objectName": "x",
        "executionId": execution["executionId"],
        "callId": call["id"],
    }
    door.delete("/services/headed/V1")
    door.delete(f"/snapshots/{snapshot}")
    door.delete(path)


@pytest.mark.parametrize("operation", GETS.values(), ids=GETS)
def test_a_head_is_that_of_the_whole_answer(
    door: Door, names: dict[str, Any], operation: Any
) -> None:
    kind = "snapshot" if operation.path.startswith("/snapshots") else "session"
    path = operation.path.format(id=names[kind], **names)
    with requests.Session() as kept:
        kept.headers["Authorization"] = f"Bearer {door.token}"
        whole = kept.get(door.url + path, timeout=60)
        head = kept.head(door.url + path, timeout=60)
        assert head.status_code == whole.status_code == operation.status
        assert head.content == b""
        same = {name for name in whole.headers if name.title() not in VARYING}
        assert {name: head.headers[name] for name in same} == {
            name: whole.headers[name] for name in same
        }
        if "Content-Length" in whole.headers and operation.id != GROWING:
            # Of what changes from one look to the next, only the number of digits may differ.
            difference = int(head.headers["Content-Length"]) - len(whole.content)
            assert abs(difference) <= 64
        # The connection is as good as before.
        assert kept.get(f"{door.url}/health/live", timeout=60).json() == {"status": "alive"}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_is_answered_without_a_token(door: Door, path: str) -> None:
    answer = door.with_token(None).call("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_other_paths_have_no_head_either(door: Door) -> None:
    assert door.call("HEAD", "/nowhere").status_code == 404
    assert door.call("HEAD", "/login").status_code == 405
    assert door.with_token(None).call("HEAD", "/services").status_code == 401


def test_the_size_of_a_snapshot_is_that_of_its_download(door: Door, names: dict[str, Any]) -> None:
    path = f"/sessions/{names['session']}"
    code = "import numpy\nbig = numpy.arange(300_000)\nopen('é.bin', 'wb').write(bytes(5000))"
    door.post(f"{path}/execute", json={"code": code})
    snapshot = door.post(f"{path}/snapshot", json={}).json()["snapshotId"]
    (row,) = [each for each in door.get("/snapshots").json() if each["id"] == snapshot]
    head = door.call("HEAD", f"/snapshots/{snapshot}")
    whole = door.get(f"/snapshots/{snapshot}").content
    assert row["contentSize"] == len(whole) == int(head.headers["Content-Length"])
    assert door.get(f"/snapshots/{snapshot}/contents").json()["contentSize"] == len(whole)
    door.delete(f"/snapshots/{snapshot}")
