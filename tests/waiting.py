"""Polling of conditions, with a limit that no machine is too slow for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

LIMIT: Final = 60
"""Seconds after which something is taken for something that never happens."""


async def until(condition: Callable[[], object], what: str = "it did not happen") -> None:
    """Let the event loop run until a condition holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], what: str = "it did not happen") -> None:
    """Wait in a thread until a condition holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
