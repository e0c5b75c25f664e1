"""The server's end of the connection to a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, cast

from jupyter_mlsvc_server.formats.pieces import LARGE, Body, Pieces, pieces_of
from jupyter_mlsvc_server.formats.protocol import ANSWER, REQUEST, Flush, Kind
from jupyter_mlsvc_server.formats.reply_buffer import ReplyBufferReader
from jupyter_mlsvc_server.scoring.decisions import Worker
from jupyter_mlsvc_server.scoring.forkserver_client import NotStarted
from jupyter_mlsvc_server.scoring.request import PendingRequest

_PIECE: Final = 2**16
_LOOK_SECONDS: Final = 0.005
"""Seconds between two looks for answers that a worker keeps."""

_KINDS: Final = tuple(Kind)
# Looking up a member of an enumeration takes longer than all else that is done with it here.
_FIRST_OF_LAST_WORDS: Final = int(Kind.RETIRED)
_STARTED: Final = (Kind.READY, Kind.READY_CONCURRENT)
_FLUSH_NOW: Final = Flush.NOW
_ITEM: Final = int(Kind.ITEM)
_HEAD_BYTES: Final = ANSWER.size


class WorkerConnection(asyncio.Protocol):
    """Sends a worker requests and takes its answers, which come in the same order.

    Of requests that it answers together some may have no answer, because another worker has to
    run them. One that runs several at a time answers them in any order.

    Parameters
    ----------
    pid
        The worker's process id.
    reply_buffer
        The file of its answers that are not sent yet.
    on_answer
        Called with the number of the request, the kind and body of its answer, and the time.
    on_lost
        Called once when the worker has ended, or will not answer any more.
    """

    def __init__(
        self,
        pid: int,
        reply_buffer: Path,
        on_answer: Callable[[WorkerConnection, int, Kind, Body, float], None],
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
        self._large: _LargeAnswer | None = None
        """What has come of a large answer."""
        self._reply_buffer = reply_buffer
        self._reader: ReplyBufferReader | None = None
        self._seen = b""
        self._taken = 0
        """Number of the last answer that was taken from the reply buffer."""
        self._looking: asyncio.TimerHandle | None = None
        self._unsent: list[Body] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when it can take requests; fails with :class:`NotStarted`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: PendingRequest, *, more_wait: bool = False) -> None:
        """Send the worker a request that it has been given.

        Parameters
        ----------
        request
            The request.
        more_wait
            Whether others wait for room in a worker.
        """
        if self._looking is None and len(self.worker.requests) > 1 and self._reader is not None:
            self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)
        # What comes at the same time goes with one write.
        if not self._unsent:
            self._loop.call_soon(self._flush)
        flush = _FLUSH_NOW
        if more_wait:
            flush = Flush.SOON if request.group is None else Flush.BULK
        if request.stream is not None:
            flush = Flush.STREAM
        self._unsent += REQUEST.pack(len(request.body), request.number, flush), request.body
        if request.stream is not None:
            request.stream.sent(self)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self.worker.is_lost:
            unsent, self._unsent = self._unsent, []
            if max(map(len, unsent)) > _PIECE:
                # Putting them together would take longer than further writes.
                self._transport.writelines([one for body in unsent for one in pieces_of(body)])
            else:
                self._transport.write(b"".join([bytes(body) for body in unsent]))

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
        if self._large is not None or self._piece:
            data = self._continued(data)
        at, size = 0, len(data)
        while size - at >= _HEAD_BYTES:
            length, number, kind = ANSWER.unpack_from(data, at)
            if kind >= _FIRST_OF_LAST_WORDS:
                if not self._has_started(data[at : at + _HEAD_BYTES + length]):
                    return
                at += _HEAD_BYTES
                continue
            # One that was taken from the reply buffer is sent all the same.
            is_new = number > self._taken
            if is_new and not self._is_expected(number):
                # The user's code has written to the link. Nothing on it can be trusted now.
                self.abort()
                return
            begin, at = at, at + _HEAD_BYTES + length
            if size < at:
                self._begin(data[begin:], length, number, kind, is_new=is_new)
                return
            if is_new:
                self._take(number, kind, data[begin + _HEAD_BYTES : at])
        if at < size:
            self._keep(data[at:], _HEAD_BYTES)

    def _begin(self, piece: bytes, length: int, number: int, kind: int, *, is_new: bool) -> None:
        """Keep the beginning of an answer; that of a large one as it is."""
        if length <= LARGE:
            self._keep(piece, _HEAD_BYTES + length)
            return
        self._large = _LargeAnswer(number, kind, length, is_new=is_new)
        self._large.add(piece[_HEAD_BYTES:])

    def _continued(self, data: bytes) -> bytes:
        """Add what has come to what was there; return what can be read now."""
        if self._large is not None:
            return self._go_on(self._large, data)
        self._piece += data
        if len(self._piece) < self._wanted:
            return b""
        data = bytes(self._piece)
        self._piece.clear()
        return data

    def _go_on(self, large: _LargeAnswer, data: bytes) -> bytes:
        """Take what has come of a large answer; return what belongs to the next one."""
        rest = data[large.left :]
        large.add(data[: large.left] if rest else data)
        if not large.left:
            self._large = None
            # Others of those that it answers together may have been given up meanwhile.
            if large.is_new and self._is_expected(large.number):
                self._take(large.number, large.kind, Pieces(large.pieces))
        return rest

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
        if len(message) < ANSWER.size + length and kind <= Kind.NOT_SET_UP:
            self._keep(message, ANSWER.size + length)
            return False
        if kind in _STARTED and not self.started.done():
            self.worker.batch_size = max(most, 1)
            self.worker.is_concurrent = kind == Kind.READY_CONCURRENT
            if not self.worker.is_concurrent:
                self._reader = ReplyBufferReader(self._reply_buffer)
            self.started.set_result(None)
            return True
        if kind == Kind.RETIRED:
            self.worker.is_leaving = self.is_dirty = True
        self.last_words = message[ANSWER.size :].decode("utf-8", "replace")
        self.abort()
        return False

    def _take(self, number: int, kind: int, body: Body) -> None:
        if kind == _ITEM:
            self._take_item(number, bytes(body))
            return
        self._on_answer(self, number, _KINDS[kind], body, monotonic())

    # --- streams -----------------------------------------------------------------------------

    def _take_item(self, number: int, body: bytes) -> None:
        for request in self.worker.requests:
            if request.number == number and request.stream is not None:
                request.stream.put(body, monotonic())
                return

    def pause(self, number: int) -> None:
        """Have the items of a request wait in the worker.

        Where it is the only one, nothing is read for now: it waits as soon as the link is full.
        """
        if self.worker.is_concurrent:
            self._tell(number, Flush.PAUSE)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self, number: int) -> None:
        """Have them come again."""
        if self.worker.is_concurrent:
            self._tell(number, Flush.RESUME)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def cancel(self, number: int) -> None:
        """Have the worker stop with a request, at its next item or where it waits."""
        self._tell(number, Flush.CANCEL)

    def _tell(self, number: int, what: Flush) -> None:
        self._flush()
        if self._transport is not None and not self.worker.is_lost:
            self._transport.write(REQUEST.pack(0, number, what))

    # --- answers that are ready and not sent -------------------------------------------------

    def _look(self) -> None:
        """Take answers from the reply buffer while the next request takes its time."""
        self._looking = None
        if self.worker.is_lost or self._reader is None:
            return
        seen = self._reader.look()
        # What is written right now may not be whole, and what changes is about to be sent.
        if seen and seen == self._seen:
            self._take_early(seen)
        self._seen = seen
        requests = self.worker.requests
        if len(requests) > 1 or (requests and seen):
            self._look_later()

    def _look_later(self) -> None:
        # What was taken may have made room for a request, whose sending has set the next look.
        if self._looking is None:
            self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _take_early(self, data: bytes) -> None:
        at = 0
        while len(data) - at >= ANSWER.size:
            length, number, kind = ANSWER.unpack_from(data, at)
            at += ANSWER.size
            if len(data) - at < length or kind >= Kind.ITEM:
                return
            requests = self.worker.requests
            if requests and requests[0].number == number:
                self._taken = number
                self._take(number, kind, data[at : at + length])
            at += length

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
        if self._looking is not None:
            self._looking.cancel()
        if error is not None:
            self._read_last()
        if self._reader is not None:
            self._take_early(self._reader.look())
            self._reader.close()
        if self.started.done():
            self._on_lost(self)
        else:
            self.started.set_exception(NotStarted(self.last_words))


class _LargeAnswer:
    """An answer that is not whole yet, in the pieces in which it comes."""

    __slots__ = ("is_new", "kind", "left", "number", "pieces")

    def __init__(self, number: int, kind: int, size: int, *, is_new: bool) -> None:
        self.number = number
        self.kind = kind
        self.left = size
        self.is_new = is_new
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)
            self.left -= len(piece)
