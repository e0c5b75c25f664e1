"""Batches by their manager, with an engine that does as it is told."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from traitlets.config import Config

from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.batches.errors import (
    BatchDamaged,
    BatchesTooLarge,
    BatchNotFound,
    InvalidRecords,
    TooManyBatches,
    TooManyRecords,
)
from jupyter_mlsvc_server.batches.files import INDEX, RECORDS, RESULTS, FolderLock, Results
from jupyter_mlsvc_server.batches.manager import BatchManager
from jupyter_mlsvc_server.batches.record import BatchState
from jupyter_mlsvc_server.batches.store import BatchStore
from jupyter_mlsvc_server.errors import MlsvcServerError, NotFound
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import QueueFull, RunTooLong, WaitTooLong, WorkerEnded
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.record import ServiceRecord
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable, DiskFull

ANN = Principal("ann", "ann", Role.CONTRIBUTOR)
KEY = DefinitionKey("echo", "1")


@dataclass
class Engine:
    """Answers with the record; raises first what it was given for it."""

    usual_size: PoolSize = field(default_factory=lambda: PoolSize(0, 2))
    seconds: float = 0.0
    troubles: dict[int, list[Exception]] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def failing(self) -> dict[DefinitionKey, str]:
        return {}

    async def consume_many(
        self, key: DefinitionKey, bodies: Sequence[bytes], at_a_time: int, **_of: object
    ) -> list[Outcome]:
        free = asyncio.Semaphore(at_a_time)

        async def consume(body: bytes) -> ScoringAnswer:
            async with free:
                return await self.consume(*key, body)

        found = await asyncio.gather(*map(consume, bodies), return_exceptions=True)
        return [
            outcome for outcome in found if isinstance(outcome, ScoringAnswer | MlsvcServerError)
        ]

    async def consume(self, name: str, version: str, body: bytes) -> ScoringAnswer:
        number = msgspec.json.decode(body)["n"]
        self.calls.append(number)
        if self.troubles.get(number):
            raise self.troubles[number].pop(0)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        result = {
            "success": True,
            "errorMessage": "",
            "outputParameters": {"n": number},
            "outputFiles": {},
            "consoleOutput": "",
            "changedFiles": [],
        }
        return ScoringAnswer(200, msgspec.json.encode(result), True)


@dataclass
class Bench:
    """A manager with what it needs."""

    batches: BatchManager
    folder: Path

    async def start(self, body: bytes | int, parallel_count: int = 10) -> str:
        """Start a batch of a body, or of so many records."""
        if isinstance(body, int):
            body = msgspec.json.encode([{"n": number} for number in range(body)])
        upload = await self.batches.receive()
        try:
            await upload.write(body)
            answer = await self.batches.begin(ANN, *KEY, upload, parallel_count)
        finally:
            upload.discard()
        return answer.batch_execution_id

    async def status(self, batch_id: str, **query: Any) -> dict[str, Any]:
        record = await self.batches.get(ANN, *KEY, batch_id)
        pieces = self.batches.results.status(record, **{"partial": True, **query})
        body: dict[str, Any] = msgspec.json.decode(b"".join([piece async for piece in pieces]))
        return body

    async def until(self, batch_id: str, is_there: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_there(await self.status(batch_id)):  # noqa: ASYNC110 - as callers do
                await asyncio.sleep(0.02)

    async def reached(self, batch_id: str, count: int) -> None:
        await self.until(batch_id, lambda status: status["completedItemCount"] >= count)

    async def finished(self, batch_id: str) -> dict[str, Any]:
        await self.until(batch_id, lambda status: status["state"] not in {"Pending", "InProgress"})
        return await self.status(batch_id)

    def folders(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "batches").iterdir())


MakeBench = Callable[..., Awaitable[Bench]]


@pytest_asyncio.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """Start managers on one data folder; an earlier one may have ended by then, or not."""
    database = Database(data_dir=tmp_path)
    await database.start()
    store = ServiceStore(database=database)
    spec = ServiceSpec(name=ServiceName("echo"), version=Version("1"), revision_id="r")
    await store.insert(
        ServiceRecord(spec=spec, owner=Owner("ann", "ann"), created_at=now_text()),
        may_use=lambda _: True,
    )
    benches: list[Bench] = []

    async def make(engine: Engine, concurrency: int = 1, **settings: Any) -> Bench:
        if concurrency > 1:
            changed = msgspec.structs.replace(spec, revision_id="r2", concurrency=concurrency)
            record = ServiceRecord(spec=changed, owner=Owner("ann", "ann"), created_at=now_text())
            await store.replace(record, group=None)
        services = ServiceManager(store=store, snapshots=None, scoring=engine)  # type: ignore[arg-type]
        batches = BatchManager(
            database=database,
            services=services,
            scoring=engine,  # type: ignore[arg-type]
            data_dir=tmp_path,
            config=Config({"BatchManager": settings}),
        )
        await batches.start()
        benches.append(Bench(batches, tmp_path))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.batches.stop()
    await database.stop()


def numbers(status: dict[str, Any]) -> list[int | None]:
    return [result["outputParameters"].get("n") for result in status["batchExecutionResults"]]


async def test_no_more_records_run_than_asked_for_and_than_leave_room(
    make_bench: MakeBench,
) -> None:
    for workers, parallel_count, most in [(2, 10, 4), (2, 3, 3), (8, 10, 10)]:
        engine = Engine(usual_size=PoolSize(0, workers), seconds=0.05)
        bench = await make_bench(engine)
        ids = [await bench.start(40, parallel_count)]
        if parallel_count == 10 and workers == 2:
            ids.append(await bench.start(40, parallel_count))
        for batch_id in ids:
            assert numbers(await bench.finished(batch_id)) == list(range(40))
        assert engine.most_running == most


async def test_records_that_are_quick_are_on_their_way_in_numbers(make_bench: MakeBench) -> None:
    engine = Engine(seconds=0.002)
    bench = await make_bench(engine)
    assert numbers(await bench.finished(await bench.start(1000, 40))) == list(range(1000))
    assert 4 < engine.most_running <= 40


async def test_files_that_cannot_be_written_end_the_batch(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    bench = await make_bench(Engine(seconds=0.01))
    batch_id = await bench.start(1000)
    monkeypatch.setattr(Results, "append", fail)
    status = await bench.finished(batch_id)
    assert status["state"] == "Failed"
    assert status["completedItemCount"] < 1000


async def test_a_busy_service_is_waited_for(make_bench: MakeBench) -> None:
    engine = Engine(troubles={1: [QueueFull(KEY, 3, 1), WaitTooLong(KEY, 30)]})
    bench = await make_bench(engine)
    status = await bench.finished(await bench.start(3))
    assert (status["state"], status["failedItemCount"]) == ("Complete", 0)
    assert engine.calls.count(1) == 3


async def test_an_engine_that_ended_in_the_middle_is_asked_again(
    make_bench: MakeBench,
) -> None:
    class Ending(Engine):
        endings = 1

        async def consume_many(
            self, key: DefinitionKey, bodies: Sequence[bytes], at_a_time: int, **of: object
        ) -> list[Outcome]:
            if self.endings:
                self.endings -= 1
                raise MlsvcServerError("It ended.")
            return await super().consume_many(key, bodies, at_a_time, **of)

    bench = await make_bench(Ending())
    status = await bench.finished(await bench.start(20))
    assert (status["state"], status["failedItemCount"]) == ("Complete", 0)
    assert numbers(status) == list(range(20))


async def test_what_a_record_does_to_its_worker_fails_that_record(make_bench: MakeBench) -> None:
    troubles: dict[int, list[Exception]] = {0: [WorkerEnded(KEY, -9)], 2: [RunTooLong(KEY, 30)]}
    bench = await make_bench(Engine(troubles=troubles))
    status = await bench.finished(await bench.start(4))
    assert status["state"] == "Complete"
    assert status["failedItemCount"] == 2
    assert numbers(status) == [None, 1, None, 3]
    messages = [result["errorMessage"] for result in status["batchExecutionResults"]]
    assert "SIGKILL" in messages[0]
    assert "30 s" in messages[2]


async def test_a_service_that_is_gone_ends_the_batch(make_bench: MakeBench) -> None:
    engine = Engine(seconds=0.01, troubles={20: [NotFound("It is gone.")]})
    bench = await make_bench(engine)
    status = await bench.finished(await bench.start(1000))
    assert (status["state"], status["errorMessage"]) == ("Failed", "It is gone.")
    assert bench.batches.ended == {"Failed": 1}
    assert 15 <= status["completedItemCount"] < 40
    assert numbers(status)[:15] == list(range(15))


async def test_a_damaged_result_is_made_again(make_bench: MakeBench) -> None:
    first = Engine(seconds=0.02)
    bench = await make_bench(first)
    batch_id = await bench.start(60, 1)
    await bench.reached(batch_id, 10)
    await bench.batches.stop()
    results = bench.folder / "batches" / batch_id / "results"
    with results.open("r+b") as file:
        file.write(b"*")
    done = len(set(first.calls))
    second = Engine()
    bench = await make_bench(second)
    assert numbers(await bench.finished(batch_id)) == list(range(60))
    assert second.calls[0] == 0
    assert len(second.calls) <= 60 - done + 3


async def test_two_servers_do_not_run_the_same_batch(make_bench: MakeBench) -> None:
    first, second = Engine(seconds=0.02), Engine()
    bench = await make_bench(first)
    batch_id = await bench.start(30)
    other = await make_bench(second)
    await other.reached(batch_id, 5)
    await bench.finished(batch_id)
    assert not second.calls
    assert numbers(await other.status(batch_id)) == list(range(30))


async def test_another_server_goes_on_with_what_one_left(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(seconds=0.02))
    other = await make_bench(Engine(), sweep_interval=1)
    batch_id = await bench.start(100)
    await bench.reached(batch_id, 2)
    await bench.batches.stop()
    assert numbers(await other.finished(batch_id)) == list(range(100))


async def test_more_batches_than_may_run_wait_for_their_turn(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(seconds=0.02), max_running=1)
    first, second = await bench.start(50), await bench.start(1)
    assert (await bench.status(second))["state"] == "Pending"
    assert (await bench.finished(second))["state"] == "Complete"
    assert (await bench.status(first))["state"] == "Complete"


async def test_batches_are_kept_for_so_long(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(), keep_seconds=3600)
    batch_id = await bench.start(2)
    await bench.finished(batch_id)
    await bench.batches.sweep()
    assert bench.folders() == [batch_id]
    bench.batches.keep_seconds = 0.001
    async with asyncio.timeout(60):
        while bench.folders():
            await bench.batches.sweep()
    with pytest.raises(BatchNotFound):
        await bench.status(batch_id)


async def test_folders_without_a_row_are_put_away_unless_somebody_works_on_them(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(Engine())
    for name in ("stray", "becoming"):
        (bench.folder / "batches" / name).mkdir()
    lock = FolderLock.take(bench.folder / "batches" / "becoming")
    assert lock is not None
    await bench.batches.sweep()
    trash = bench.folder / "batches" / "trash"
    assert bench.folders() == ["becoming", "trash"]
    assert (trash / "stray").is_dir()
    os.utime(trash / "stray", (0, 0))
    bench.batches.trash_seconds = 3600
    await bench.batches.sweep()
    assert list(trash.iterdir()) == []
    lock.release()


async def test_a_batch_whose_row_comes_back_is_taken_out_of_the_trash(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(Engine())
    ended = await bench.start(2)
    await bench.finished(ended)
    root = bench.folder / "batches"
    (root / "trash" / "unknown").mkdir(parents=True)
    (root / ended).rename(root / "trash" / ended)
    await bench.batches.sweep()
    assert bench.folders() == sorted([ended, "trash"])
    assert (await bench.status(ended))["completedItemCount"] == 2


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


async def test_a_damaged_record_is_not_run_and_has_a_result_that_says_so(
    make_bench: MakeBench,
) -> None:
    engine = Engine(seconds=60)
    bench = await make_bench(engine)
    batch_id = await bench.start(9)
    await bench.batches.stop()
    flip(bench.folder / "batches" / batch_id / RECORDS, 7 * 4 + 5)  # "{"n":4}" becomes "{"n":5}"
    bench = await make_bench(Engine())
    status = await bench.finished(batch_id)
    assert (status["state"], status["completedItemCount"], status["failedItemCount"]) == (
        "Complete",
        9,
        1,
    )
    assert numbers(status) == [0, 1, 2, 3, None, 5, 6, 7, 8]
    assert "The stored record is damaged" in status["batchExecutionResults"][4]["errorMessage"]


async def test_a_damaged_result_of_a_batch_that_has_ended_is_an_error(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(Engine())
    batch_id = await bench.start(3)
    await bench.finished(batch_id)
    folder = bench.folder / "batches" / batch_id
    flip(folder / RESULTS, 5)
    status = await bench.status(batch_id)
    assert numbers(status) == [None, 1, 2]
    assert (
        "The stored result of this record is damaged"
        in (status["batchExecutionResults"][0]["errorMessage"])
    )
    record = await bench.batches.get(ANN, *KEY, batch_id)
    with pytest.raises(BatchDamaged, match="The result of record 0"):
        await bench.batches.results.file_names(record, "0")
    for name in (INDEX, RESULTS):
        (folder / name).unlink()
        with pytest.raises(BatchDamaged, match="What is stored of batch"):
            await bench.status(batch_id)


async def test_results_of_a_batch_that_is_deleted_while_it_is_read_have_no_end(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.batches.results._PIECE_RESULTS", 2)
    bench = await make_bench(Engine())
    batch_id = await bench.start(5)
    await bench.finished(batch_id)
    record = await bench.batches.get(ANN, *KEY, batch_id)
    pieces = bench.batches.results.status(record, partial=True)
    await anext(pieces)
    await anext(pieces)
    await bench.batches.delete(record)
    with pytest.raises(BatchNotFound):
        await anext(pieces)


async def test_a_batch_without_its_records_fails(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(seconds=1))
    batch_id = await bench.start(2)
    await bench.batches.stop()
    folder = bench.folder / "batches" / batch_id
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    bench = await make_bench(Engine())
    status = await bench.status(batch_id)
    assert (status["state"], status["errorMessage"]) == ("Failed", "Its records are gone.")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[1, 2]", InvalidRecords),
        (b'[{"n": 1}] x', InvalidRecords),
        (b"[" + b",".join([b"{}"] * 11) + b"]", TooManyRecords),
        (b"{" * 1000, TooManyRecords),
    ],
    ids=["no objects", "more than JSON", "too many", "far too many"],
)
async def test_what_is_refused_leaves_nothing(
    make_bench: MakeBench, body: bytes, problem: type[Exception]
) -> None:
    bench = await make_bench(Engine(), max_records=10)
    with pytest.raises(problem):
        await bench.start(body)
    assert bench.folders() == []
    assert not [path for path in (bench.folder / "staging").rglob("*") if path.name == "body"]


async def test_a_person_may_have_so_many_batches(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(), max_batches_per_user=1)
    first = await bench.start(1)
    with pytest.raises(TooManyBatches, match="You have 1 batches"):
        await bench.start(1)
    assert bench.folders() == [first]
    await bench.batches.delete(await bench.batches.get(ANN, *KEY, first))
    await bench.start(1)


async def test_a_persons_batches_may_take_so_many_bytes(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine())
    first = await bench.start(1)
    await bench.finished(first)
    bench.batches.max_bytes_per_user = 1000
    with pytest.raises(BatchesTooLarge, match="1,000 is the limit"):
        await bench.start(1)
    assert bench.folders() == [first]
    bench.batches.max_bytes_per_user = 10**6
    await bench.start(1)


async def test_pieces_of_any_size_make_the_same_records(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine())
    records = [{"n": number, "text": '[{]}\\"é' * 3} for number in range(5)]
    body = msgspec.json.format(msgspec.json.encode(records), indent=2)
    upload = await bench.batches.receive()
    for at in range(0, len(body), 7):
        await upload.write(body[at : at + 7])
    answer = await bench.batches.begin(ANN, *KEY, upload, 2)
    assert numbers(await bench.finished(answer.batch_execution_id)) == list(range(5))


async def test_cancelling_counts_what_was_finished(make_bench: MakeBench) -> None:
    bench = await make_bench(Engine(seconds=0.01))
    batch_id = await bench.start(10_000)
    await bench.reached(batch_id, 20)
    record = await bench.batches.get(ANN, *KEY, batch_id)
    assert await bench.batches.cancel(record)
    status = await bench.status(batch_id)
    assert status["state"] == BatchState.CANCELLED
    assert 0 < status["completedItemCount"] < 10_000
    assert sum(number is not None for number in numbers(status)) == status["completedItemCount"]
    assert not await bench.batches.cancel(record)
    assert bench.batches.ended == {"Cancelled": 1}


def test_one_at_a_time_has_the_lock_of_a_folder(tmp_path: Path) -> None:
    lock = FolderLock.take(tmp_path)
    assert lock is not None
    assert FolderLock.take(tmp_path) is None
    lock.release()
    again = FolderLock.take(tmp_path)
    assert again is not None
    again.release()
    assert FolderLock.take(tmp_path / "nothing") is None


async def test_a_larger_parallel_count_is_taken_as_the_largest(make_bench: MakeBench) -> None:
    engine = Engine(usual_size=PoolSize(0, 8), seconds=0.01)
    bench = await make_bench(engine, max_parallel_count=3)
    status = await bench.finished(await bench.start(20, parallel_count=10))
    assert (status["parallelCount"], engine.most_running) == (3, 3)


async def test_all_batches_together_give_no_more_records_than_may_be_in_flight(
    make_bench: MakeBench,
) -> None:
    engine = Engine(usual_size=PoolSize(0, 8), seconds=0.01)
    bench = await make_bench(engine, max_in_flight=2)
    for batch_id in [await bench.start(10), await bench.start(10)]:
        await bench.finished(batch_id)
    assert engine.most_running == 2


async def test_workers_that_run_several_records_at_a_time_have_them(make_bench: MakeBench) -> None:
    engine = Engine(usual_size=PoolSize(0, 1), seconds=0.1)
    bench = await make_bench(engine, concurrency=20)
    await bench.finished(await bench.start(30, parallel_count=10))
    assert engine.most_running == 10


@pytest.mark.parametrize("spelling", ["Complete", "complete"])
async def test_states_are_spelled_as_set(make_bench: MakeBench, spelling: str) -> None:
    bench = await make_bench(Engine(), state_spelling=spelling)
    batch_id = await bench.start(1)
    await bench.until(batch_id, lambda status: status["completedItemCount"] == 1)
    await bench.until(batch_id, lambda status: status["state"] == spelling)


async def test_a_batch_waits_for_a_full_disk_and_goes_on_where_it_was(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.batches.manager._PAUSE_SECONDS", 0.01)
    is_full = False
    append = Results.append

    def append_or_fail(results: Results, kept: Any) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(results, kept)

    def require_room() -> None:
        if is_full:
            raise DiskFull

    monkeypatch.setattr(Results, "append", append_or_fail)
    engine = Engine()
    bench = await make_bench(engine)
    bench.batches._require_room = require_room
    batch_id = await bench.start(20)
    is_full = True
    async with asyncio.timeout(60):
        while caplog.text.count("it can't go on") < 5:  # noqa: ASYNC110 - as callers do
            await asyncio.sleep(0.02)
    assert (await bench.status(batch_id))["state"] in {"Pending", "InProgress"}
    # It is not tried over and over: each time the code of the service would run.
    assert len(engine.calls) == 20
    is_full = False
    status = await bench.finished(batch_id)
    assert (status["state"], status["completedItemCount"]) == ("Complete", 20)
    assert len(engine.calls) == 40


async def test_a_batch_waits_for_a_database_that_does_not_answer(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.batches.manager._PAUSE_SECONDS", 0.01)
    for name in ("begin", "finish"):
        monkeypatch.setattr(BatchStore, name, FailsTwice(getattr(BatchStore, name)))
    bench = await make_bench(Engine())
    assert (await bench.finished(await bench.start(3)))["state"] == "Complete"


class FailsTwice:
    """A method of a store that fails twice first."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self._method = method
        self._times = 2

    def __get__(self, store: object, _kind: type) -> Callable[..., Awaitable[Any]]:
        return partial(self._call, store)

    async def _call(self, store: object, *arguments: Any) -> Any:
        if self._times:
            self._times -= 1
            raise DatabaseUnavailable
        return await self._method(store, *arguments)
