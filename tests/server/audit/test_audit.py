"""The audit log: what is written, for whom, and how it is shown."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.audit.cli import AuditCommand, as_text, earliest_of
from jupyter_mlsvc_server.audit.log import AuditLog, files
from jupyter_mlsvc_server.audit.record import AuditRecord
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.audited import AuditObserver
from jupyter_mlsvc_server.storage.cli import Misuse
from tests.clocks import ManualClock


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in files(folder) for line in path.read_text().splitlines()]


class Kept(AuditLog):
    """Keeps records instead of writing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(data_dir=Path("/nowhere"), config=Config({"AuditLog": settings}))
        self.records: list[AuditRecord] = []

    def note(self, record: AuditRecord) -> None:
        self.records.append(record)


def request(method: str, route: str, status: int, **more: Any) -> AnsweredRequest:
    return AnsweredRequest("id", method, route, route, status, 0.1, **more)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    made = AuditLog(data_dir=tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_record_is_one_line_that_only_the_account_can_read(log: AuditLog, tmp_path: Path) -> None:
    log.note(AuditRecord(operation="login", result="refused", object="a\nb\u202e", status=401))
    log.stop()
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (line,) = path.read_text("ascii").splitlines()
    event = json.loads(line)
    assert (event["object"], event["status"], event["who"]) == ("a\nb\u202e", 401, "")
    assert datetime.fromisoformat(event["__timestamp__"].removesuffix("Z")).tzinfo is not None


def test_files_are_rotated_and_a_command_may_write_between(tmp_path: Path) -> None:
    small = Config({"AuditLog": {"max_bytes": 2**12, "files": 2}})
    log = AuditLog(data_dir=tmp_path, config=small)
    log.start()
    for number in range(40):
        log.note(AuditRecord(operation="op", result="done", object=f"{number:0100}"))
        if number == 20:
            log.stop()
            AuditLog(data_dir=tmp_path, config=small).write(
                AuditRecord(operation="user add", result="done")
            )
            log.start()
    log.stop()
    assert len(files(tmp_path)) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)} == {0o600}
    numbers = [int(event["object"]) for event in written(tmp_path) if event["object"]]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 39


def test_a_log_that_cannot_be_written_is_told_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "audit").touch()
    logger = logging.getLogger("of this test alone")  # others configure logging and silence those
    logger.addHandler(caplog.handler)
    log = AuditLog(data_dir=tmp_path, log=logger)
    log.start()
    log.note(AuditRecord(operation="op", result="done"))
    log.stop()
    logger.removeHandler(caplog.handler)
    assert "the audit log ends: it cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("answered", "operation", "result"),
    [
        (request("POST", "/login", 200, user="ann", credential="password"), "login", "done"),
        (request("POST", "/login", 401, subject="ann"), "login", "refused"),
        (
            request("POST", "/services/{name}/{version}", 201, user="ann"),
            "publishWebServiceVersion",
            "done",
        ),
        (request("DELETE", "/sessions/{session_id}", 404, user="ann"), "closeSession", "refused"),
        (request("POST", "/sessions", 503, user="ann"), "createSession", "failed"),
        (request("POST", "/sessions", 499, user="ann"), "createSession", "failed"),
        (request("GET", "/snapshots/{snapshot_id}", 403, user="ann"), None, "refused"),
        (request("POST", "/api/{name}/{version}", 403, user="ann"), "consume", "refused"),
        (request("POST", "/host/token", 200, user="ann"), "POST /host/token", "done"),
    ],
)
def test_changes_and_what_was_not_allowed_are_noted(
    answered: AnsweredRequest, operation: str | None, result: str
) -> None:
    log = Kept()
    AuditObserver(log).note(answered)
    (record,) = log.records
    assert record.result == result
    assert operation is None or record.operation == operation
    assert (record.who, record.by, record.object) == (
        answered.user,
        answered.credential,
        answered.subject,
    )


@pytest.mark.parametrize(
    "answered",
    [
        request("GET", "/services", 200, user="ann"),
        request("GET", "/services/{name}", 404, user="ann"),
        request("POST", "/api/{name}/{version}", 200, user="ann"),
        request("POST", "/api/{name}/{version}", 429, user="ann"),
        request("POST", "", 404, user="ann"),
        request("OPTIONS", "/services", 204),
    ],
)
def test_what_only_reads_or_calls_is_not_noted(answered: AnsweredRequest) -> None:
    log = Kept()
    AuditObserver(log).note(answered)
    assert log.records == []


def test_calls_are_noted_where_that_is_set() -> None:
    log = Kept(calls=True)
    AuditObserver(log).note(request("POST", "/api/{name}/{version}", 200, user="ann"))
    assert [record.operation for record in log.records] == ["consume"]


def test_nobody_pushes_out_the_records_of_others() -> None:
    log, clock = Kept(), ManualClock()
    observer = AuditObserver(log, clock=clock)
    for _ in range(1000):
        observer.note(request("GET", "/services", 401))
    observer.note(request("DELETE", "/services/{name}/{version}", 200, user="ann"))
    assert len(log.records) == 31
    clock.advance(10)
    observer.note(request("GET", "/services", 401))
    assert log.records[-2].object == "970 requests"


def test_a_record_is_short_whatever_a_caller_wrote() -> None:
    log = Kept()
    observer = AuditObserver(log)
    observer.note(request("POST", "/login", 401, subject="n" * 8000))
    observer.note(request("GET", "", 401)._replace(path=f"/{'p' * 8000}"))
    assert max(len(each.object) + len(each.operation) for each in log.records) < 300


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("30m", "2026-03-01T11:30:00+00:00"),
        ("2d", "2026-02-27T12:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T12:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00+02:00", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_times_are_given_as_people_say_them(since: str, expected: str) -> None:
    assert earliest_of(since, NOW) == expected


@pytest.mark.parametrize("since", ["yesterday", "5", "-1d", "2026-13-01"])
def test_what_is_no_time_is_refused(since: str) -> None:
    with pytest.raises(Misuse, match="--since is 30m"):
        earliest_of(since, NOW)


def show(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    command = AuditCommand()
    command.initialize([f"--data-dir={folder}", *options])
    command.start()
    return capsys.readouterr().out.splitlines()


def test_the_command_shows_what_is_asked_for(
    log: AuditLog,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    log.note(AuditRecord(operation="login", result="done", who="ann", by="password", status=200))
    log.note(AuditRecord(operation="login", result="refused", object="bob\x1b[2J", status=401))
    log.note(
        AuditRecord(operation="publishWebServiceVersion", result="done", who="ann", request="e1")
    )
    log.stop()
    with (tmp_path / "audit" / "audit.jsonl").open("a") as file:
        file.write('{"half')
    assert len(show(tmp_path, capsys)) == 3
    assert len(show(tmp_path, capsys, "--who", "an*", "--what=LOGIN")) == 1
    assert len(show(tmp_path, capsys, "--since=1h", "--result=refused")) == 1
    assert show(tmp_path, capsys, "--since=9999-01-01") == []
    (refused,) = show(tmp_path, capsys, "--object=bob*")
    assert r"refused 401 login bob\x1b[2J nobody known" in refused
    assert len(show(tmp_path, capsys, "--request=e1")) == 1
    (line,) = show(tmp_path, capsys, "--what=publish*", "--json")
    assert json.loads(line)["who"] == "ann"


def test_an_event_is_one_line_for_people() -> None:
    event = {
        "__timestamp__": "2026-03-01T12:00:00.123+00:00Z",
        "operation": "deleteWebServiceVersion",
        "object": "Iris/V1",
        "who": "ann",
        "by": "token",
        "address": "10.0.0.7",
        "result": "refused",
        "status": 403,
        "request": "abc",
    }
    assert as_text(event) == (
        "2026-03-01T12:00:00 refused 403 deleteWebServiceVersion Iris/V1 ann by token "
        "from 10.0.0.7 (request abc)"
    )
    assert os.linesep not in as_text(event)
