"""The server's end of the control link to a forkserver or template."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from jupyter_mlsvc_server.formats.protocol import (
    Exited,
    Fork,
    Forked,
    Inbox,
    Kill,
    Preloaded,
    Prepare,
    Prepared,
    Refused,
    ToChild,
    pack,
)
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec

_PIECE: Final = 2**16
_FULL_PAUSE: Final = 0.005


class HasFileno(Protocol):
    """A file or socket."""

    def fileno(self) -> int:
        """Return its descriptor."""


class LinkLost(Exception):
    """The process at the other end of a control link is gone."""


class NotStarted(Exception):
    """A worker has ended before it could take a request.

    Parameters
    ----------
    why
        What it said, which the next one would say too; empty if it said nothing.
    code
        Exit code, or minus the signal; None if it isn't known.
    """

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


class ForkserverClient:
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
        self._rest: asyncio.Task[None] | None = None
        """Sends what was left of the last message."""
        self._tickets: dict[int, asyncio.Future[int]] = {}
        self._next_ticket = 0
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._first: asyncio.Future[Preloaded | Prepared | Refused] = _future()
        self._killing: asyncio.Task[None] | None = None
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

    @property
    def is_ready(self) -> bool:
        """Whether the process is there, and has said that it is ready."""
        return self._first.done() and not self.is_lost

    async def prepare(self, message: Prepare) -> None:
        """Tell a template what to restore."""
        await self._send(message)

    async def fork(
        self,
        *,
        is_trial: bool = False,
        output: HasFileno | None = None,
        spec: ServiceSpec | None = None,
        folder: str = "",
    ) -> tuple[int, socket.socket]:
        """Have a child forked; gives its process id and our end of its link.

        A worker, or where that is asked for a process that runs a trial.

        Parameters
        ----------
        output
            Its standard error, where that is another one than its parent's; for a host the file of
            the model.
        spec, folder
            The revision that a worker serves, and where its files are.

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
                given: list[HasFileno] = [theirs] if output is None else [theirs, output]
                await self._send(Fork(ticket, is_trial, output is not None, spec, folder), given)
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
        """Wait for a child's exit code, or minus its signal; None if it is not sent."""
        ended = self._exits.setdefault(pid, _future())
        try:
            return await asyncio.wait_for(asyncio.shield(ended), seconds)
        except TimeoutError:
            # Word of it may have come while the waiting was given up.
            return None if not ended.done() or ended.exception() else ended.result()
        except LinkLost:
            return None
        finally:
            if ended.done():
                self._exits.pop(pid, None)

    def has_ended(self, pid: int) -> bool:
        """Whether word of a child's end has come, and nobody has asked for it yet."""
        ended = self._exits.get(pid)
        return ended is not None and ended.done()

    def forget(self, pid: int) -> None:
        """Keep no word of how a child has ended; whoever waits for it now gets it."""
        self._exits.pop(pid, None)

    async def close(self) -> None:
        """Close the link; the process then ends its children and itself."""
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._lose()
        if self._rest is not None:
            await asyncio.wait({self._rest})

    async def _send(self, message: ToChild, given: Sequence[HasFileno] = ()) -> None:
        data = memoryview(pack(message))
        async with self._sending:
            if self._rest is not None:
                await asyncio.wait({self._rest})  # of a message whose sender has left
            sent = await self._send_some(data, given)
            if sent < len(data):
                # Whoever leaves must not leave it half sent: the next one would be taken for its
                # end, and none be understood any more.
                self._rest = asyncio.create_task(self._send_rest(data[sent:]))
                await asyncio.shield(self._rest)

    async def _send_some(self, data: memoryview, given: Sequence[HasFileno] = ()) -> int:
        """Send as much as there is room for, once there is any; gives how many bytes."""
        while not self.is_lost:
            try:
                return socket.send_fds(self._link, [data], [each.fileno() for each in given])
            except BlockingIOError:
                await asyncio.sleep(_FULL_PAUSE)
            except OSError as error:
                raise LinkLost from error
        raise LinkLost

    async def _send_rest(self, data: memoryview) -> None:
        with contextlib.suppress(LinkLost):  # who waits for an answer hears of it
            while data:
                data = data[await self._send_some(data) :]

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
                # Nobody may have asked how another process ended that had the same id.
                self._exits[message.pid] = _future()
                forked.set_result(message.pid)
            else:
                # Nobody waits for it any more, and its code may never see that its link is closed.
                self._killing = asyncio.create_task(self.kill(message.pid))
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
