"""Another process holds the database's write lock: changes are refused, all else goes on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.reliability.conftest import definition

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery"


@pytest.fixture
def impatient_server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        data_dir=tmp_path / "data",
        admin_password=PASSWORD,
        options=["--KernelFactory.preload_at_start=false", "--Database.lock_timeout=2"],
    ) as server:
        yield server


@contextlib.contextmanager
def write_lock(server: ServerProcess) -> Iterator[None]:
    database = sqlite3.connect(server.data_dir / "mlsvc.db", isolation_level=None, timeout=60)
    with contextlib.closing(database):
        database.execute("BEGIN IMMEDIATE")
        yield


def is_refused(answer: requests.Response) -> bool:
    return (answer.status_code, answer.json()["errorCode"]) == (503, "DatabaseBusy") and bool(
        int(answer.headers["Retry-After"])
    )


def test_a_write_lock_held_elsewhere_stops_changes_only(impatient_server: ServerProcess) -> None:
    door = sign_in(impatient_server.public_url, "admin", PASSWORD)
    for name in ("hot", "cold"):
        answer = door.post(f"/services/{name}/1.0", json=definition("y = str(n + 1)"))
        assert answer.status_code == 201, answer.text
    assert output(door, "hot", 1) == "2"

    def log_in(_: int) -> requests.Response:
        body = {"username": "admin", "password": PASSWORD}
        return requests.post(f"{impatient_server.public_url}/login", json=body, timeout=60)

    def publish(number: int) -> requests.Response:
        return door.post(f"/services/late-{number}/1.0", json=definition("y = '1'"))

    with write_lock(impatient_server), ThreadPoolExecutor() as callers:
        changes = [callers.submit(change, n) for n in range(4) for change in (publish, log_in)]
        for number in range(50):
            assert output(door, "hot", number) == str(number + 1)
            assert door.get("/services").status_code == 200
            assert door.get("/status").status_code == 200
        assert output(door, "cold", 5) == "6"
        answers = [change.result() for change in changes]
    assert all(map(is_refused, answers)), [answer.text for answer in answers]
    assert log_in(0).ok
    assert publish(0).status_code == 201


def output(door: Door, name: str, number: int) -> str:
    answer = door.post(f"/api/{name}/1.0", json={"n": number})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["outputParameters"]["y"]
    return found
