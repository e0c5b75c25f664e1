"""When a connection is read from and written to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.flow_control import FlowControl

if TYPE_CHECKING:
    from jupyter_mlsvc_server.api.protocol import Protocol

# One of its own takes 0.7 kB, a seventh of what an idle connection does. It is never cleared.
_WRITABLE: Final = asyncio.Event()
_WRITABLE.set()


class Flow(FlowControl):
    """Lets nothing in while requests wait, or answers wait to be read."""

    def __init__(self, protocol: Protocol) -> None:
        # Not by the base class, which makes an event for each connection.
        self._transport = protocol.transport
        self._protocol = protocol
        self.read_paused = self.write_paused = False
        self._is_writable_event = _WRITABLE

    def resume_reading(self) -> None:
        """Read on, unless something still waits."""
        protocol = self._protocol
        if self.read_paused and not (
            self.write_paused or protocol.pipeline or protocol.transport.is_closing()
        ):
            protocol.hear()
            super().resume_reading()

    def pause_writing(self) -> None:
        """Have whoever writes wait from now on."""
        if not self.write_paused:
            self._is_writable_event = asyncio.Event()
            super().pause_writing()

    def resume_writing(self) -> None:
        """Let them go on."""
        super().resume_writing()
        self._is_writable_event = _WRITABLE
