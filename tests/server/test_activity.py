"""What hosts are told of the use of the server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from jupyter_mlsvc_server.monitoring.activity import ActivityReporter


def a_reporter(
    *, active: int = 0, used: float | None = None, call: float | None = None, batches: int = 0
) -> ActivityReporter:
    async def statistics() -> dict[str, float | None]:
        return {"last_call": call}

    parts: Any = {
        "sessions": SimpleNamespace(statistics=lambda: {"active": active, "last_used": used}),
        "scoring": SimpleNamespace(statistics=statistics),
        "batches": SimpleNamespace(running=batches),
    }
    return ActivityReporter(**parts)


async def test_a_server_that_only_waits_may_be_ended() -> None:
    reporter = a_reporter()
    assert reporter.current() == {}
    assert await reporter.last() is None


def test_open_sessions_and_running_batches_keep_a_server_as_kernels_do() -> None:
    assert a_reporter(active=2, batches=1).current() == {"sessions": 2, "batches": 1}
    assert a_reporter(batches=1).current() == {"batches": 1}


async def test_the_last_use_is_that_of_whatever_was_used_last() -> None:
    assert await a_reporter(used=100.0, call=200.0).last() == datetime.fromtimestamp(200, UTC)
    assert await a_reporter(used=300.0, call=200.0).last() == datetime.fromtimestamp(300, UTC)
    running = await a_reporter(used=300.0, batches=1).last()
    assert running is not None
    assert running.timestamp() > time.time() - 5
