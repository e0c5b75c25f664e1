"""Logs of service versions: bounds of what is kept, and what is given of it."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.service_log import MAX_ENTRIES, ServiceLog, ServiceLogs
from tests.clocks import ManualClock

ONE, OTHER = DefinitionKey("Iris", "1.0"), DefinitionKey("Iris", "2.0")


def texts(log: ServiceLog, after: int | None = None, limit: int = MAX_ENTRIES) -> list[str]:
    return [entry.text for entry in log.entries(after=after, limit=limit)]


def test_log_gives_the_newest_or_those_after_an_entry() -> None:
    log = ServiceLogs(2**20).of(ONE)
    ids = [entry.id for text in "abcd" if (entry := log.add("info", text)) is not None]
    assert ids == sorted(ids)
    assert texts(log) == ["a", "b", "c", "d"]
    assert texts(log, limit=2) == ["c", "d"]
    assert texts(log, limit=0) == []
    assert texts(log, after=ids[0], limit=2) == ["b", "c"]
    assert texts(log, after=ids[3]) == []


def test_ids_go_on_after_a_restart() -> None:
    clock = ManualClock(1000.0)
    before = ServiceLogs(2**20, clock).of(ONE).add("info", "a")
    clock.advance(1)
    after = ServiceLogs(2**20, clock).of(ONE).add("info", "b")
    assert before is not None
    assert after is not None
    assert before.id < after.id


def test_log_keeps_so_many_entries() -> None:
    log = ServiceLogs(2**30).of(ONE)
    for number in range(MAX_ENTRIES + 5):
        log.add("info", str(number))
    assert texts(log)[0] == "5"
    assert len(log) == MAX_ENTRIES


def test_a_version_has_a_share_of_the_memory_and_its_newest_entry_always() -> None:
    logs = ServiceLogs(80_000)
    log = logs.of(ONE)
    for number in range(40):
        log.add("info", f"{number} " + "x" * 1000)
    assert 5 <= len(log) <= 10
    assert logs.size == log.size <= 10_000
    log.add("error", "y" * 20_000)
    assert texts(log) == ["y" * 20_000]


def test_what_was_quiet_for_longest_is_forgotten_first() -> None:
    logs = ServiceLogs(80_000)
    keys = [DefinitionKey("Iris", str(number)) for number in range(12)]
    for key in keys:
        logs.of(key).add("info", "x" * 9_000)
    assert logs.size <= 80_000
    assert [len(logs.of(key)) for key in keys] == [0] * 4 + [1] * 8


def test_log_of_a_version_that_is_gone_takes_nothing() -> None:
    logs = ServiceLogs(2**20)
    log = logs.of(ONE)
    log.add("info", "a")
    logs.of(OTHER).add("info", "b")
    left = logs.of(OTHER).size
    logs.drop(ONE)
    assert log.add("info", "c") is None
    assert logs.size == left
    assert texts(logs.of(ONE)) == []


async def test_engine_keeps_as_much_as_it_is_told(tmp_path: Path) -> None:
    for limit, kept in ((0, 0), (2**20, 1)):
        engine = LocalEngine(data_dir=tmp_path, log_bytes=limit)
        engine._logs.of(ONE).add("info", "a")
        found = await engine.logs(*ONE, after=None, limit=10)
        assert len(found) == kept
