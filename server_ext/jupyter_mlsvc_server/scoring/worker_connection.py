"""The server's end of the connection to a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

from jupyter_mlsvc_server.formats.protocol import ANSWER, REQUEST, Kind
from jupyter_mlsvc_server.scoring.forkserver_client import NotStarted
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler import Worker

_PIECE: Final = 2**16
_KINDS: Final = tuple(Kind)


class WorkerConnection(asyncio.Protocol):
    """Sends a worker requests and takes its answers, which come in the same order.

    Of requests that it answers together some may have no answer, because another worker has to
    run them.

    Parameters
    ----------
    pid
        The worker's process id.
    on_answer
        Called with the number of the request, the kind and body of its answer, and the time.
    on_lost
        Called once when the worker has ended, or will not answer any more.
    """

    def __init__(
        self,
        pid: int,
        on_answer: Callable[[WorkerConnection, int, Kind, bytes, float], None],
        on_lost: Callable[[WorkerConnection], None],
    ) -> None:
        self.pid = pid
        self.worker = Worker()
        self.is_dirty = False
        """Whether a request changed what can't be put back; those behind it have not run."""
        self.last_words = ""
        """Why it ended, where it has said so: what a request changed, or how its setup failed."""
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._piece = bytearray()
        """The beginning of an answer."""
        self._wanted = 0
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when it can take requests; fails with :class:`NotStarted`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: PendingRequest) -> None:
        """Send the worker a request that it has been given."""
        # What comes at the same time goes with one write.
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += REQUEST.pack(len(request.body), request.number), request.body

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self.worker.is_lost:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    @property
    def may_have_run(self) -> bool:
        """Whether requests have been sent that are not answered."""
        return 2 * len(self.worker.requests) > len(self._unsent)

    def close(self) -> None:
        """Let the worker end when it has answered what it got."""
        self.worker.is_leaving = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the link now."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the answers that are whole."""
        if self._piece:
            self._piece += data
            if len(self._piece) < self._wanted:
                return
            data = bytes(self._piece)
            self._piece.clear()
        at, size = 0, len(data)
        while size - at >= ANSWER.size:
            length, number, kind = ANSWER.unpack_from(data, at)
            if kind >= Kind.WORN:
                if not self._has_started(data[at : at + ANSWER.size + length]):
                    return
                at += ANSWER.size
                continue
            if not self._is_expected(number):
                # The user's code has written to the link. Nothing on it can be trusted now.
                self.abort()
                return
            begin, at = at, at + ANSWER.size + length
            if size < at:
                self._keep(data[begin:], at - begin)
                return
            self._on_answer(self, number, _KINDS[kind], data[begin + ANSWER.size : at], monotonic())
        if at < size:
            self._keep(data[at:], ANSWER.size)

    def _is_expected(self, number: int) -> bool:
        """Whether an answer to this request may come now."""
        requests = self.worker.requests
        if requests and requests[0].number == number:
            return True
        # Of those that it answers together others may have to make way.
        return self.worker.batch_size > 1 and any(one.number == number for one in requests)

    def _keep(self, piece: bytes, wanted: int) -> None:
        """Keep the beginning of an answer until so many bytes are here."""
        self._piece += piece
        self._wanted = wanted

    def _has_started(self, message: bytes) -> bool:
        """Take word that the worker has started; any other than that one is its last."""
        length, most, kind = ANSWER.unpack_from(message)
        if len(message) < ANSWER.size + length:
            self._keep(message, ANSWER.size + length)
            return False
        if kind == Kind.READY and not self.started.done():
            self.worker.batch_size = max(most, 1)
            self.started.set_result(None)
            return True
        if kind == Kind.WORN:
            self.worker.is_leaving = self.is_dirty = True
        self.last_words = message[ANSWER.size :].decode("utf-8", "replace")
        self.abort()
        return False

    def _read_last(self) -> None:
        """Take what the worker answered before it ended: a failed write comes before that."""
        assert self._transport is not None
        descriptor = self._transport.get_extra_info("socket").fileno()
        with contextlib.suppress(OSError):
            while descriptor >= 0 and (data := os.read(descriptor, _PIECE)):
                self.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the worker is gone."""
        self.worker.is_lost = True
        if error is not None:
            self._read_last()
        if self.started.done():
            self._on_lost(self)
        else:
            self.started.set_exception(NotStarted(self.last_words))
