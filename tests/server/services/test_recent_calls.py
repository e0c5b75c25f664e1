"""The newest calls and the log of a version, as its publisher reads them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.errors import Forbidden, NotFound
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.recent_calls import BatchCaller, RecentCall
from jupyter_mlsvc_server.scoring.service_log import LogEntry
from jupyter_mlsvc_server.services.logs import ServiceLogReader
from jupyter_mlsvc_server.services.recent_calls import RecentCallReader
from jupyter_mlsvc_server.services.record import ServiceRecord

ANN = Principal("1", "ann", Role.CONTRIBUTOR)
BEN = Principal("2", "ben", Role.CONTRIBUTOR)
NOON = 1_700_049_600.0
CREATED = "2023-11-15T12:00:00.0000000"
CALLS = (
    RecentCall(3, NOON + 2, None, BatchCaller("ann", "b1"), 7, 1, 0, 503, success=False),
    RecentCall(2, NOON + 1, 0.5, ANN, 255, 1, 2, request=b"\xff", answer=b"{}", entry_id=9),
    RecentCall(1, NOON - 1, 0.5, BEN, "of before", 1, 2, request=b"secret"),
)


class Engine:
    """Has calls and log entries of a version, one of each from before it was published."""

    async def calls(self, *_of: str, limit: int, only_failed: bool) -> list[RecentCall]:
        return [each for each in CALLS if not (only_failed and each.success)][:limit]

    async def call(self, _name: str, _version: str, number: int) -> RecentCall | None:
        return next((each for each in CALLS if each.number == number), None)

    async def logs(self, *_of: str, after: int | None, limit: int) -> list[LogEntry]:
        entries = [LogEntry(number, NOON + number - 9, "info", "printed", "") for number in (8, 9)]
        return [each for each in entries if after is None or each.id > after][:limit]


def parts(*, keep_bodies: bool = True) -> dict[str, Any]:
    spec = ServiceSpec(
        name=ServiceName("Iris"),
        version=Version("V1"),
        revision_id="r1",
        code="y = 1",
        keep_bodies=keep_bodies,
    )
    record = ServiceRecord(spec=spec, owner=Owner("1", "ann"), created_at=CREATED)

    async def find(*_of: str) -> ServiceRecord:
        return record

    return {"services": SimpleNamespace(record=find), "scoring": cast("Any", Engine())}


def reader(**options: Any) -> RecentCallReader:
    return RecentCallReader(request_id=lambda number: f"id-{number:x}", **parts(**options))


async def test_calls_of_one_that_was_published_before_are_nobodys_business() -> None:
    calls = reader()
    found = await calls.list(ANN, "Iris", "V1")
    assert [each.id for each in found] == [3, 2]
    with pytest.raises(NotFound):
        await calls.get(ANN, "Iris", "V1", 1)
    entries = await ServiceLogReader(**parts()).read(ANN, "Iris", "V1")
    assert [each.id for each in entries] == [9]


async def test_ids_of_requests_are_those_that_callers_got() -> None:
    by_batch, by_ann = await reader().list(ANN, "Iris", "V1")
    assert (by_batch.request_id, by_batch.caller_kind, by_batch.milliseconds) == (
        *("b1/7", "batch", None),
    )
    assert (by_ann.request_id, by_ann.caller_kind, by_ann.milliseconds) == (
        *("id-ff", "person", 500.0),
    )
    (failed,) = await reader().list(ANN, "Iris", "V1", only_errors=True)
    assert failed == by_batch


@pytest.mark.parametrize("keep_bodies", [True, False])
async def test_bodies_are_shown_while_the_version_keeps_them(keep_bodies: bool) -> None:
    call = await reader(keep_bodies=keep_bodies).get(ANN, "Iris", "V1", 2)
    assert call.text == "printed"
    assert ((call.request, call.answer) == ("\ufffd", "{}")) is keep_bodies


async def test_others_read_no_calls() -> None:
    with pytest.raises(Forbidden):
        await reader().list(BEN, "Iris", "V1")
    with pytest.raises(Forbidden):
        await reader().get(BEN, "Iris", "V1", 2)
