"""Work that is done again and again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.storage.repeated import Repeated


async def test_what_goes_wrong_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()
    outcomes = iter([MlsvcServerError("the database is away"), ValueError("a mistake"), None])

    async def work() -> None:
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome
        done.set()

    caplog.set_level(logging.DEBUG, logger=__name__)
    log = logging.getLogger(__name__)
    repeated = Repeated(work, seconds=0.001, failure="nobody could look", log=log)
    repeated.start()
    repeated.start()
    await done.wait()
    await repeated.stop()
    await repeated.stop()
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("DEBUG", "nobody could look: the database is away"),
        ("ERROR", "nobody could look"),
    ]


async def test_what_is_wanted_soon_is_done_without_the_wait() -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    log = logging.getLogger(__name__)
    repeated = Repeated(work, seconds=3600, failure="nobody could look", log=log)
    repeated.start()
    for _ in range(2):
        repeated.soon()
        await done.wait()
        done.clear()
    await repeated.stop()
