"""The newest calls of versions: what is kept, in what order, and within what bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.errors import QueueFull, ServiceUnavailable
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.recent_calls import RecentCall, RecentCalls, RecentCallStore
from jupyter_mlsvc_server.scoring.request import PendingRequest

ONE, OTHER = DefinitionKey("Iris", "V1.0"), DefinitionKey("Iris", "V2.0")
ANN = Principal("1", "ann", Role.READER)


def call(number: int, **others: Any) -> RecentCall:
    return RecentCall(number, float(number), 0.001, ANN, number, 10, 20, **others)


def numbers(calls: RecentCalls, *, limit: int = 1000, only_failed: bool = False) -> list[int]:
    return [each.number for each in calls.list(limit=limit, only_failed=only_failed)]


def test_newest_calls_come_first_and_failed_ones_are_not_pushed_out() -> None:
    calls = RecentCallStore(3, 2**20).of(ONE)
    calls.add(call(1))
    calls.add_other(call(2, success=False, problem="ValueError: 1"))
    for number in range(3, 9):
        calls.add((number, float(number), 0.001, ANN, number, 10, 20))
    assert numbers(calls) == [8, 7, 6, 2]
    assert numbers(calls, limit=2) == [8, 7]
    assert numbers(calls, only_failed=True) == [2]
    assert (calls.find(2) or call(0)).problem == "ValueError: 1"
    assert calls.find(8) == call(8)
    assert calls.find(3) is None


def test_unanswered_call_has_the_status_and_words_of_its_error() -> None:
    calls = RecentCallStore(3, 2**20).of(ONE)
    request = PendingRequest(ONE, b"{}", lambda _: None, None, ANN, "id")
    calls.add_unanswered(7, 5.0, request, QueueFull(ONE, 1000, 1))
    (found,) = calls.list(limit=1)
    assert (found.number, found.time, found.seconds) == (7, 5.0, None)
    assert (found.status, found.success, found.request_bytes) == (503, False, 2)
    assert found.problem.startswith("All workers")
    assert (found.caller, found.request_id) == (ANN, "id")


def test_bodies_of_a_version_take_an_eighth_of_the_memory() -> None:
    store = RecentCallStore(100, 80_000)
    calls = store.of(ONE)
    for number in range(100):
        calls.add_other(call(number, request=b"x" * 3000, answer=b"y" * 1000))
    assert calls.size <= 10_000
    assert numbers(calls) == [99, 98]
    calls.add_other(call(100, success=False, text="x" * 20_000))
    assert numbers(calls) == [100]


def test_versions_quiet_for_longest_forget_first() -> None:
    store = RecentCallStore(100, 4000)
    for key, first in ((ONE, 0), (OTHER, 100)):
        for number in range(first, first + 10):
            store.of(key).add(call(number))
    store.make_room()
    assert (len(store.of(ONE)), len(store.of(OTHER))) == (0, 10)


def test_failed_calls_make_room_without_a_sweep() -> None:
    store = RecentCallStore(100, 4000)
    for number in range(10):
        store.of(ONE).add(call(number))
    for number in range(10, 20):
        store.of(OTHER).add_other(call(number, success=False))
    assert len(store.of(ONE)) == 0
    assert 0 < len(store.of(OTHER)) <= 10


def test_version_that_keeps_bodies_no_more_forgets_them() -> None:
    calls = RecentCallStore(3, 2**20).of(ONE)
    calls.add_other(call(1, request=b"secret", answer=b"secret"))
    calls.add_other(call(2, success=False, request=b"secret"))
    calls.forget_bodies()
    assert numbers(calls) == [2, 1]
    assert [(each.request, each.answer) for each in calls.list(limit=9)] == [(None, None)] * 2


def test_nothing_is_kept_where_the_operator_wants_none() -> None:
    calls = RecentCallStore(0, 2**20).of(ONE)
    calls.add(call(1))
    calls.add_other(call(2, success=False, request=b"x"))
    assert numbers(calls) == []


def test_calls_of_a_version_go_with_it() -> None:
    store = RecentCallStore(3, 2**20)
    store.of(ONE).add(call(1))
    store.drop(ONE)
    assert numbers(store.of(ONE)) == []


async def test_engine_keeps_calls_within_its_settings(tmp_path: Path) -> None:
    engine = LocalEngine(data_dir=tmp_path, recent_calls=2, recent_call_bytes=700)

    async def fail(key: DefinitionKey, request_id: str) -> None:
        with pytest.raises(ServiceUnavailable):
            await engine.consume(*key, b"{}", ANN, request_id)

    for request_id in ("a", "b", "c"):
        await fail(ONE, request_id)
    found = await engine.calls(*ONE, limit=9)
    assert [(each.request_id, each.status) for each in found] == [("c", 503), ("b", 503)]
    assert await engine.call(*ONE, found[0].number) == found[0]
    await fail(OTHER, "d")
    assert await engine.calls(*ONE, limit=9) == []
    assert len(await engine.calls(*OTHER, limit=9)) == 1
