"""The server's end of the links to a forkserver or template and to a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final, cast

import msgspec

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.outbox import Peephole
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    REQUEST,
    Exited,
    Fork,
    Forked,
    Inbox,
    Kill,
    Kind,
    Patience,
    Preloaded,
    Prepare,
    Prepared,
    Refused,
    ToChild,
    pack,
)
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer

Ended = Callable[[ScoringAnswer | MlsvcServerError], None]
"""What is called with the answer to a request, or with an error."""

_PIECE: Final = 2**16
_FULL_PAUSE: Final = 0.005
_LOOK_SECONDS: Final = 0.005
"""Seconds between two looks for answers that a worker keeps."""

_KINDS: Final = tuple(Kind)


class LinkLost(Exception):
    """The process at the other end of a control link is gone."""


class NotStarted(Exception):
    """A worker has ended before it could take a request; the message says why, if it is known."""


class ParentLink:
    """Has a forkserver or template fork and kill children, and hears how they ended.

    Parameters
    ----------
    link
        Our end of its control link.
    on_lost
        Called once when the process is gone.
    on_exit
        Called with the process id when a child has ended.
    """

    def __init__(
        self, link: socket.socket, on_lost: Callable[[], None], on_exit: Callable[[int], None]
    ) -> None:
        link.setblocking(False)
        self._link = link
        self._on_lost = on_lost
        self._on_exit = on_exit
        self._sending = asyncio.Lock()
        self._tickets: dict[int, asyncio.Future[int]] = {}
        self._next_ticket = 0
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._first: asyncio.Future[Preloaded | Prepared | Refused] = _future()
        self.is_lost = False
        self._reader = asyncio.create_task(self._read())

    async def first(self) -> Preloaded | Prepared | Refused:
        """Wait for what the process says when it is ready.

        Raises
        ------
        LinkLost
            It ended before.
        """
        return await asyncio.shield(self._first)

    async def prepare(self, message: Prepare) -> None:
        """Tell a template what to restore."""
        await self._send(message)

    async def fork(self, *, is_trial: bool = False) -> tuple[int, socket.socket]:
        """Have a child forked; gives its process id and our end of its link.

        A worker, or where that is asked for a process that runs a trial.

        Raises
        ------
        LinkLost
            The process is gone.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._next_ticket += 1
        ticket = self._next_ticket
        forked = self._tickets[ticket] = _future()
        try:
            with theirs:
                await self._send(Fork(ticket, is_trial), theirs)
            pid = await forked
        except BaseException:
            # A child forked all the same finds its link closed and ends.
            self._tickets.pop(ticket, None)
            ours.close()
            raise
        return pid, ours

    async def kill(self, pid: int) -> None:
        """End a child at once."""
        with contextlib.suppress(LinkLost):
            await self._send(Kill(pid))

    async def exit_code(self, pid: int, seconds: float) -> int | None:
        """Wait for a child's end: its exit code or minus the signal; None if it is not told."""
        ended = self._exits.setdefault(pid, _future())
        try:
            return await asyncio.wait_for(asyncio.shield(ended), seconds)
        except (TimeoutError, LinkLost):
            return None
        finally:
            if ended.done():
                self._exits.pop(pid, None)

    async def close(self) -> None:
        """Close the link; the process then ends its children and itself."""
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._lose()

    async def _send(self, message: ToChild, descriptor: socket.socket | None = None) -> None:
        data = pack(message)
        loop = asyncio.get_running_loop()
        async with self._sending:
            try:
                if descriptor is not None:
                    data = data[await self._send_with(descriptor, data) :]
                await loop.sock_sendall(self._link, data)
            except OSError as error:
                raise LinkLost from error

    async def _send_with(self, descriptor: socket.socket, data: bytes) -> int:
        while True:
            try:
                return socket.send_fds(self._link, [data], [descriptor.fileno()])
            except BlockingIOError:
                await asyncio.sleep(_FULL_PAUSE)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        inbox: Inbox[Any] = Inbox(Preloaded | Prepared | Refused | Forked | Exited)
        # What can't be read was written by code that a snapshot has run on being restored.
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            while data := await loop.sock_recv(self._link, _PIECE):
                for message in inbox.feed(data, []):
                    self._take(message)
        self._lose()

    def _take(self, message: Preloaded | Prepared | Refused | Forked | Exited) -> None:
        if isinstance(message, Forked):
            forked = self._tickets.pop(message.ticket, None)
            if forked is not None and not forked.done():
                self._exits.setdefault(message.pid, _future())
                forked.set_result(message.pid)
        elif isinstance(message, Exited):
            ended = self._exits.get(message.pid)
            if ended is not None and not ended.done():
                ended.set_result(message.code)
            self._on_exit(message.pid)
        elif not self._first.done():
            self._first.set_result(message)

    def _lose(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        self._link.close()
        waited_for: list[asyncio.Future[Any]] = [self._first]
        waited_for += [*self._tickets.values(), *self._exits.values()]
        for future in waited_for:
            if not future.done():
                future.set_exception(LinkLost())
                future.exception()  # nobody need be waiting for it
        self._on_lost()


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


class Call:
    """A request on its way through a pool.

    Parameters
    ----------
    key
        The service version.
    body
        The request, as it came.
    ended
        Called once with the answer, or the error that there is instead.
    """

    __slots__ = (
        "_ended", "arrived", "attempts", "body", "is_of_group", "is_over", "is_suspect", "key",
        "number", "started", "waits_since",
    )  # fmt: skip

    def __init__(self, key: DefinitionKey, body: bytes, ended: Ended) -> None:
        self.key = key
        self.body = body
        self.arrived = self.started = self.waits_since = 0.0
        self.number = 0
        self.attempts = 0
        """Pools that went before they could answer."""
        self.is_suspect = False
        """Whether a worker ended over it and others; it is not run together with any again."""
        self.is_of_group = False
        """Whether it is one of many that nobody waits for one by one."""
        self.is_over = False
        """Whether nobody waits for an answer any more."""
        self._ended = ended

    def end(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        """Tell the caller how it ended, unless they know or have left."""
        if not self.is_over:
            self.is_over = True
            self._ended(outcome)

    def abandon(self) -> None:
        """Forget about the caller, who left; if it runs, its answer is read and dropped."""
        self.is_over = True


class WorkerLink(asyncio.Protocol):
    """Sends a worker requests and takes its answers, which come in the same order.

    Of requests that it answers together some may have no answer, because another worker has to
    run them.

    Parameters
    ----------
    pid
        The worker's process id.
    outbox
        The file of its answers that are not sent yet.
    on_answer
        Called with the call, the kind and body of its answer, and the time of the monotonic clock.
    on_lost
        Called once when the worker has ended, or will not answer any more.
    """

    def __init__(
        self,
        pid: int,
        outbox: Path,
        on_answer: Callable[[WorkerLink, Call, Kind, bytes, float], None],
        on_lost: Callable[[WorkerLink], None],
    ) -> None:
        self.pid = pid
        self.calls: deque[Call] = deque()
        self.idle_since = 0.0
        self.most = 1
        """Requests that it answers together."""
        self.is_leaving = False
        """It gets no more requests."""
        self.is_worn = False
        """A request changed what can't be put back; those behind it have not run."""
        self.last_words = ""
        """Why it ended, where it has said so: what a request changed, or how its setup failed."""
        self.is_lost = False
        """Nothing can be sent to it any more."""
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._number = 0
        self._piece = bytearray()
        """The beginning of an answer."""
        self._wanted = 0
        self._outbox = outbox
        self._peephole: Peephole | None = None
        self._seen = b""
        self._taken = 0
        """Number of the last answer that was taken from the outbox."""
        self._looking: asyncio.TimerHandle | None = None
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when it can take requests; fails with :class:`NotStarted`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, call: Call, *, more_wait: bool = False) -> None:
        """Send a request; it waits in the link while others run.

        Parameters
        ----------
        call
            The request.
        more_wait
            Whether there are more than the workers have been given.
        """
        self._number += 1
        call.number = self._number
        if not self.calls:
            call.started = monotonic()
        elif self._looking is None:
            self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)
        self.calls.append(call)
        # What comes at the same time goes with one write.
        if not self._unsent:
            self._loop.call_soon(self._flush)
        patience = Patience.NONE
        if more_wait:
            patience = Patience.MUCH if call.is_of_group else Patience.SOME
        self._unsent += REQUEST.pack(len(call.body), call.number, patience), call.body

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self.is_lost:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    @property
    def has_work(self) -> bool:
        """Whether requests have been sent that are not answered."""
        return 2 * len(self.calls) > len(self._unsent)

    def close(self) -> None:
        """Let the worker end when it has answered what it got."""
        self.is_leaving = True
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
            # One that was taken from the outbox is sent all the same.
            is_new = number > self._taken
            is_expected = self.calls and self.calls[0].number == number
            if is_new and not is_expected and not self._bring_forward(number):
                # The user's code has written to the link. Nothing on it can be trusted now.
                self.abort()
                return
            begin, at = at, at + ANSWER.size + length
            if size < at:
                self._keep(data[begin:], at - begin)
                return
            if is_new:
                self._take(kind, data[begin + ANSWER.size : at])
        if at < size:
            self._keep(data[at:], ANSWER.size)

    def _bring_forward(self, number: int) -> bool:
        """Have a request answered before those ahead of it, which others had to make way for.

        Only a worker that answers requests together does that.
        """
        if self.most == 1:
            return False
        for call in self.calls:
            if call.number == number:
                call.started = self.calls[0].started
                self.calls.remove(call)
                self.calls.appendleft(call)
                return True
        return False

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
            self.most = max(most, 1)
            self._peephole = Peephole(self._outbox)
            self.started.set_result(None)
            return True
        if kind == Kind.WORN:
            self.is_leaving = self.is_worn = True
        self.last_words = message[ANSWER.size :].decode("utf-8", "replace")
        self.abort()
        return False

    def _take(self, kind: int, body: bytes) -> None:
        call = self.calls.popleft()
        now = monotonic()
        if self.calls:
            self.calls[0].started = now
        else:
            self.idle_since = now
        self._on_answer(self, call, _KINDS[kind], body, now)

    # --- answers that are ready and not sent -------------------------------------------------

    def _look(self) -> None:
        """Take answers that lie in the outbox for long because the next request takes its time."""
        self._looking = None
        if self.is_lost or self._peephole is None:
            return
        seen = self._peephole.look()
        # What is written right now may not be whole, and what changes is about to be sent.
        if seen and seen == self._seen:
            self._take_early(seen)
        self._seen = seen
        if len(self.calls) > 1 or (self.calls and seen):
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
            if len(data) - at < length or kind >= Kind.WORN:
                return
            if self.calls and self.calls[0].number == number:
                self._taken = number
                self._take(kind, data[at : at + length])
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
        self.is_lost = True
        if self._looking is not None:
            self._looking.cancel()
        if error is not None:
            self._read_last()
        if self._peephole is not None:
            self._take_early(self._peephole.look())
            self._peephole.close()
        if self.started.done():
            self._on_lost(self)
        else:
            self.started.set_exception(NotStarted(self.last_words))
