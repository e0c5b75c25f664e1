"""A client's connection to the Jupyter door that answers by itself what it has been shown.

Clients that keep a connection open send the same head over and over, but for the length of the
body. What tornado made of such a head once, byte by byte the same, needs no second look.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

from tornado.iostream import IOStream, StreamClosedError

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer

Outcome = ScoringAnswer | MlsvcServerError

_HEADS_END: Final = b"\r?\n\r?\n"
"""What tornado asks for as it waits for a request."""
_BLANK_LINE: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 4096
"""Bytes; longer ones are not known."""
_ALL: Final = 2**30
_LONGEST_RUN: Final = 600.0


class Submitted(Protocol):
    """A request that is being answered."""

    def abandon(self) -> None:
        """Forget about the caller, who left; nothing happens where it is over."""


class KnownRequest(Protocol):
    """What is known of a request by its head."""

    @property
    def length(self) -> int:
        """Bytes of its body."""

    def submit(self, body: bytes, ended: Callable[[Outcome], None]) -> Submitted:
        """Have it answered through a callback, which may come at once."""

    def answer(self, body: bytes) -> bytes:
        """Write the answer with a head."""

    def note(self, seconds: float) -> None:
        """Note that it was answered, and how long that took."""


Find = Callable[[bytes], KnownRequest | None]
"""Finds what is known of a request by its head; None leaves it to tornado."""


class AnsweringStream(IOStream):
    """A connection whose reader sees only those requests that are not known.

    Parameters
    ----------
    connected
        The client's socket.
    find
        Knows requests.
    longest_run
        Seconds until the reader gets a request again, which closes what it gets nothing from.
    options
        As of ``IOStream``.
    """

    def __init__(
        self,
        connected: socket.socket,
        find: Find,
        *,
        longest_run: float = _LONGEST_RUN,
        **options: Any,
    ) -> None:
        super().__init__(connected, **options)
        self._longest_run = longest_run
        self.head = b""
        """Of the request that the reader got last; empty where it had not come at once."""
        self.failed: tuple[KnownRequest, Outcome, float] | None = None
        """A request that did not end well, which the reader gets next, and when it began."""
        self._find = find
        # Pieces, so that neither end of a long backlog is ever copied to get at the other.
        self._unread: deque[memoryview] = deque()
        self._held_bytes = 0
        self._reader: asyncio.Future[bytes] | None = None
        self._max_head_bytes: int | None = None
        self._waits_since = 0.0
        self._known: KnownRequest | None = None
        self._known_head = b""
        self._body = b""
        self._missing = 0
        self._began = 0.0
        self._submitted: Submitted | None = None
        self._is_prompt = False

    # --- what tornado asks for ---------------------------------------------------------------

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read the head of the next request that is not known."""
        if regex != _HEADS_END:
            return super().read_until_regex(regex, max_bytes)
        self._reader = asyncio.get_running_loop().create_future()
        self._max_head_bytes = max_bytes
        self._waits_since = time.time()
        self._read(self._take, _ALL, partial=True)
        return self._reader

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read what was put back, then what comes."""
        if self._reader is not None and not self.reading():
            # Somebody looks whether the client is still there. Nothing may get ahead of what will
            # be put back.
            size = super().read_from_fd(buf)
            if not size:
                return size
            self._unread.append(memoryview(bytes(buf[:size])))
            self._held_bytes += size
            if self._held_bytes > self.max_buffer_size:
                self.close()
            return None
        if self._missing:
            buf = memoryview(buf)[: self._missing]
        if self._unread:
            size = self._read_again(buf)
        else:
            self._held_bytes = 0
            size = super().read_from_fd(buf)
        if self._missing:
            self._missing -= size or 0
        return size

    def _read_again(self, buf: bytearray | memoryview) -> int:
        piece = self._unread.popleft()
        size = min(len(buf), len(piece))
        buf[:size] = piece[:size]
        if size < len(piece):
            self._unread.appendleft(piece[size:])
        return size

    # --- requests ----------------------------------------------------------------------------

    def _read(self, take: Callable[[bytes], None], size: int, *, partial: bool) -> None:
        def read(future: asyncio.Future[bytes]) -> None:
            try:
                data = future.result()
            except StreamClosedError as error:
                self._end(error)
            else:
                take(data)

        try:
            asyncio.ensure_future(self.read_bytes(size, partial)).add_done_callback(read)
        except StreamClosedError as error:
            self._end(error)

    def _take(self, data: bytes) -> None:
        """Begin with a request, of which all or the beginning has come."""
        end = data.find(_BLANK_LINE) + len(_BLANK_LINE)
        head = data[:end] if len(_BLANK_LINE) <= end <= _LONGEST_HEAD else b""
        self._began = time.time()
        is_seen = self._began - self._waits_since < self._longest_run
        known = self._find(head) if is_seen else None
        if known is None or known.length > self.max_buffer_size:
            self._hand_on(memoryview(data), head)
            return
        whole = end + known.length
        self._known, self._known_head, self._body = known, head, data[end:whole]
        self._missing = max(whole - len(data), 0)
        if self._missing:
            self._read(self._take_rest, self._missing, partial=False)
            return
        if whole < len(data):
            self._put_back(memoryview(data)[whole:])
        self._submit(known)

    def _take_rest(self, rest: bytes) -> None:
        self._body += rest
        if self._known is not None:
            self._submit(self._known)

    def _submit(self, known: KnownRequest) -> None:
        self.set_close_callback(self._leave)
        self._submitted = known.submit(self._body, self._ended)

    def _ended(self, outcome: Outcome) -> None:
        known, request = self._known, self._known_head + self._body
        self._known, self._known_head, self._body = None, b"", b""
        self._submitted = None
        if known is None or self.closed():
            self._end(StreamClosedError(real_error=self.error))
            return
        self.set_close_callback(None)
        if not isinstance(outcome, ScoringAnswer) or outcome.status != HTTPStatus.OK:
            self.failed = known, outcome, self._began
            self._hand_on(memoryview(request), b"")
            return
        if not self._is_prompt:
            self.set_nodelay(True)
            self._is_prompt = True
        written = asyncio.ensure_future(self.write(known.answer(outcome.body)))
        known.note(time.time() - self._began)
        if written.done():
            self._read(self._take, _ALL, partial=True)
        else:
            written.add_done_callback(lambda _: self._read(self._take, _ALL, partial=True))

    def _leave(self) -> None:
        """Forget the request of a client that has left."""
        submitted, self._submitted = self._submitted, None
        if submitted is not None:
            submitted.abandon()
        self._end(StreamClosedError(real_error=self.error))

    # --- giving to the reader ----------------------------------------------------------------

    def _hand_on(self, data: memoryview, head: bytes) -> None:
        """Let the reader have a request."""
        self.head = head
        self._is_prompt = False
        self._put_back(data)
        reader, self._reader = self._reader, None
        if reader is None or reader.done():
            return

        def read(future: asyncio.Future[bytes]) -> None:
            if reader.done():
                return
            try:
                reader.set_result(future.result())
            except Exception as error:  # noqa: BLE001  # it is the reader's
                reader.set_exception(error)

        try:
            found = super().read_until_regex(_HEADS_END, self._max_head_bytes)
        except StreamClosedError as error:
            reader.set_exception(error)
        else:
            asyncio.ensure_future(found).add_done_callback(read)

    def _put_back(self, data: memoryview) -> None:
        self._unread.appendleft(data)

    def _end(self, error: StreamClosedError) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_exception(error)
