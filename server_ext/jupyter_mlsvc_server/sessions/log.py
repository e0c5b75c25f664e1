"""The record of one execution: events that can be followed while they come and replayed later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from jupyter_mlsvc.wire.json_text import encode_json
from jupyter_mlsvc_server.formats.json_pieces import json_pieces
from jupyter_mlsvc_server.formats.request_bodies import LARGE_BYTES
from jupyter_mlsvc_server.sessions.oversize import shortened

# What an event costs besides its text, so that a million empty ones are not free.
_OVERHEAD: Final = 100
# A reader gets at most about this much at once.
_BATCH_BYTES: Final = 256 * 2**10
_MAX_BEGINNING: Final = 64 * 2**10


class EventLog:
    """Events as lines of JSON, numbered from 0, within a limit of bytes.

    Once the limit is reached one event of type ``truncated`` says so and further output is left
    out; the error and the result of the execution are always kept.

    Parameters
    ----------
    limit
        Bytes that output may take.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: list[bytes] = []
        self._followers: list[asyncio.Future[None]] = []
        self._large: dict[str, Any] | None = None
        """The last event, where it is not written as a line at once."""
        self.size = 0
        self.is_truncated = False
        self.is_finished = False

    def add(self, event: dict[str, Any]) -> None:
        """Append an event of output, or leave it out when the log is full."""
        if self.is_truncated or self.is_finished:
            return
        line = self._encode(event)
        room = self._limit - self.size - _OVERHEAD
        if len(line) <= room:
            self._append(line)
            return
        size = len(line)
        # The beginning of a text says more than that there is one.
        cut = shortened(event, min(room, _MAX_BEGINNING))
        if cut is not None:
            self._append(self._encode(cut))
            size -= len(self._lines[-1])
        self.truncate(size)

    def truncate(self, size: int) -> None:
        """Note that output is left out from here on.

        Parameters
        ----------
        size
            Bytes of the first output that is left out.
        """
        if self.is_truncated or self.is_finished:
            return
        self.is_truncated = True
        message = (
            f"Output is left out from here on: {size:,} more bytes go over the limit of "
            f"{self._limit:,} bytes that are kept for one execution."
        )
        self._append(self._encode({"type": "truncated", "message": message}))

    def add_always(self, event: dict[str, Any]) -> None:
        """Append an event that must not be missing, such as the error."""
        if not self.is_finished:
            self._append(self._encode(event))

    def finish(self, event: dict[str, Any], *, size: int = 0) -> None:
        """Append the last event.

        Parameters
        ----------
        event
            May be large, as :func:`json_pieces` says.
        size
            Bytes of what is large in it.
        """
        if self.is_finished:
            return
        self.is_finished = True
        if size > LARGE_BYTES:
            self._large = {"seq": len(self._lines), **event}
            self.size += size
            self._wake()
        else:
            self._append(self._encode(event))

    async def follow(self, since: int = 0) -> AsyncIterator[bytes]:
        """Yield lines from event number ``since`` on, until the last has come.

        Several come at once, and a large one in pieces.
        """
        position = max(since, 0)
        while True:
            while position < len(self._lines):
                batch, position = self._batch(position)
                yield batch
            if self.is_finished:
                if self._large is not None and position == len(self._lines):
                    for piece in json_pieces(self._large):
                        yield piece
                        # Whoever takes them may not wait for anything else.
                        await asyncio.sleep(0)
                    yield b"\n"
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._followers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._followers:
                    self._followers.remove(waiter)

    def _batch(self, position: int) -> tuple[bytes, int]:
        lines, size = [], 0
        while position < len(self._lines) and size < _BATCH_BYTES:
            lines.append(self._lines[position])
            size += len(self._lines[position])
            position += 1
        return b"".join(lines), position

    def _encode(self, event: dict[str, Any]) -> bytes:
        return encode_json({"seq": len(self._lines), **event}) + b"\n"

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self.size += len(line) + _OVERHEAD
        self._wake()

    def _wake(self) -> None:
        followers, self._followers = self._followers, []
        for follower in followers:
            if not follower.done():
                follower.set_result(None)


class ConsoleText:
    """Text of the console, within a limit of characters."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._parts: list[str] = []
        self._displays: dict[str, int] = {}
        self._cut_at: int | None = None
        self._cut = 0

    def add(self, text: str, *, always: bool = False, display_id: str | None = None) -> None:
        """Append text; what goes over the limit is cut off, with a line that says how much.

        Parameters
        ----------
        always
            Whether it must not be missing, such as a traceback.
        display_id
            The id under which it may be updated.
        """
        if always:
            self._parts.append(text)
            return
        if self._cut_at is not None:
            self._cut += len(text)
            return
        if display_id is not None:
            self._displays[display_id] = len(self._parts)
        self._parts.append(text[: self._left])
        if len(text) > self._left:
            self._cut_at = len(self._parts)
            self._parts.append("")
            self._cut = len(text) - self._left
            self._left = 0
        else:
            self._left -= len(text)

    def update(self, display_id: str | None, text: str) -> None:
        """Put another text in the place of a displayed one, where there is room."""
        at = None if display_id is None else self._displays.get(display_id)
        if at is not None and len(text) - len(self._parts[at]) <= self._left:
            self._left -= len(text) - len(self._parts[at])
            self._parts[at] = text

    def __str__(self) -> str:
        if self._cut_at is not None:
            self._parts[self._cut_at] = (
                f"\n[the rest of the output was left out: {self._cut:,} characters]\n"
            )
        text = "".join(self._parts)
        if not self._displays and self._cut_at is None:
            self._parts = [text]
        return text
