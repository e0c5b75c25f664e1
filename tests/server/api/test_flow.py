"""Connections whose clients do not read hold up only themselves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from jupyter_mlsvc_server.api.flow import Flow


async def test_who_writes_waits_for_as_long_as_its_own_client_does_not_read() -> None:
    protocol: Any = SimpleNamespace(transport=None)
    slow, quick = Flow(protocol), Flow(protocol)
    for _ in range(2):
        slow.pause_writing()
        waiting, going = (asyncio.create_task(flow.drain()) for flow in (slow, quick))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (waiting.done(), going.done()) == (False, True)
        slow.resume_writing()
        await waiting
        await slow.drain()
