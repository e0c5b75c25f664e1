"""The state of disk and database, as /status and readiness tell it."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.monitoring.machine import MachineMonitor
from jupyter_mlsvc_server.monitoring.status import StatusReporter
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable
from tests.clocks import ManualClock


class Disk:
    """A disk that fails as it is told."""

    reserve_bytes = 100

    def __init__(self) -> None:
        self.free_bytes = 1000
        self.error: OSError | None = None
        self.probes = 0

    @property
    def is_short(self) -> bool:
        return self.free_bytes < self.reserve_bytes

    def probe(self) -> None:
        self.probes += 1
        if self.error is not None:
            raise self.error

    def keep_spare(self) -> None:
        """Nothing is kept."""


class Database:
    """A database that answers as it is told."""

    kind = "sqlite"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.waiting_seconds = 0.0
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self, _work: object) -> None:
        self.asked += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error


class Scoring:
    """An engine with versions whose processes keep ending."""

    is_ready = True

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    async def statistics(self) -> dict[str, Any]:
        return {"services": 2, "workers": 3, "r_workers": 0}

    async def failing(self) -> dict[str, str]:
        return self.reasons


class Machine:
    """A monitor and a reporter of parts that can be broken."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.disk, self.database, self.scoring = Disk(), Database(), Scoring()
        self.can_open = True
        self.monitor = MachineMonitor(
            database=cast("Any", self.database), disk=cast("Any", self.disk), clock=self.clock
        )
        self.reporter = StatusReporter(
            database=cast("Any", self.database),
            sessions=cast("Any", SimpleNamespace(shells=self._shells)),
            scoring=cast("Any", self.scoring),
            compute_nodes=cast("Any", SimpleNamespace(list=lambda: ["node"])),
            machine=self.monitor,
            disk=cast("Any", self.disk),
            outage_seconds=60.0,
        )

    def _shells(self, _runtime_type: str) -> dict[str, Any]:
        return {"active": 1, "limit": 10, "can_open": self.can_open}

    async def states(self) -> dict[str, str]:
        """Give the whole's state, and those of parts that are not well."""
        self.clock.advance(self.monitor.look_seconds)
        report = await self.reporter.report()
        parts = {name: part.status_code for name, part in (report.components or {}).items()}
        states: dict[str, str] = {"all": report.status_code}
        return states | {name: state for name, state in parts.items() if state != "pass"}


@pytest.fixture
async def machine() -> Machine:
    return Machine()


async def test_all_is_well_where_nothing_fails(machine: Machine) -> None:
    assert await machine.states() == {"all": "pass"}
    assert await machine.reporter.readiness() == []


async def test_little_room_is_a_warning_and_calls_go_on(machine: Machine) -> None:
    machine.disk.free_bytes = 99
    assert await machine.states() == {"all": "warn", "disk": "warn"}
    assert await machine.reporter.readiness() == ["DiskShort"]


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.ENOSPC, "DiskFull"), (errno.EROFS, "DiskFails"), (errno.EIO, "DiskFails")],
)
async def test_a_disk_that_cannot_be_written_fails_and_calls_go_on(
    machine: Machine, number: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine.disk.error = OSError(number, "what the system says")
    for _ in range(3):
        assert await machine.states() == {"all": "fail", "disk": "fail"}
    assert await machine.reporter.readiness() == [name]
    assert caplog.text.count("what the system says") == 1
    machine.disk.error = None
    assert await machine.states() == {"all": "pass"}


async def test_a_database_that_does_not_answer_fails_and_ends_readiness_in_the_end(
    machine: Machine,
) -> None:
    machine.database.error = DatabaseUnavailable()
    bad = {"all": "fail", "database": "fail", "authentication": "warn"}
    assert await machine.states() == bad
    machine.clock.advance(30)
    assert await machine.reporter.readiness() == ["DatabaseUnavailable"]
    machine.clock.advance(31)
    with pytest.raises(DatabaseUnavailable):
        await machine.reporter.readiness()
    machine.database.error = None
    assert await machine.states() == {"all": "pass"}
    assert await machine.reporter.readiness() == []


async def test_a_change_that_waits_for_long_is_a_warning(machine: Machine) -> None:
    machine.database.waiting_seconds = 6.0
    assert await machine.states() == {"all": "warn", "database": "warn"}


async def test_services_that_keep_ending_are_a_warning(machine: Machine) -> None:
    machine.scoring.reasons = {"a/1": "Its processes end."}
    assert await machine.states() == {"all": "warn", "backends": "warn", "scoring": "warn"}


async def test_a_server_is_not_ready_while_calls_would_wait_for_a_start(machine: Machine) -> None:
    machine.scoring.is_ready = False
    with pytest.raises(NotServing):
        await machine.reporter.readiness()


async def test_sessions_that_cannot_be_opened_are_a_warning(machine: Machine) -> None:
    machine.can_open = False
    assert await machine.states() == {"all": "warn", "sessions": "warn"}


async def test_many_who_ask_cause_one_look(machine: Machine) -> None:
    await asyncio.gather(*(machine.reporter.readiness() for _ in range(50)))
    for _ in range(50):
        machine.clock.advance(0.01)
        await machine.reporter.readiness()
    assert (machine.disk.probes, machine.database.asked) == (1, 1)
    machine.clock.advance(machine.monitor.look_seconds)
    await machine.reporter.readiness()
    assert (machine.disk.probes, machine.database.asked) == (2, 2)


async def test_a_database_that_hangs_is_asked_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.monitoring.machine._PATIENCE", 0.01)
    machine.database.may_answer.clear()
    for _ in range(3):
        assert (await machine.states())["database"] == "fail"
    assert machine.database.asked == 1
    machine.database.may_answer.set()
    assert (await machine.states())["all"] == "pass"
