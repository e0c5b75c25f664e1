"""Starts the front, and starts it again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from logging import Logger, LoggerAdapter
from typing import Any, Final

from jupyter_mlsvc_server.errors import Busy, MlsvcServerError
from jupyter_mlsvc_server.front.link import Handler, Link, LinkEnded, Told
from jupyter_mlsvc_server.front.messages import (
    Close,
    ForgetTokens,
    Logged,
    Message,
    Open,
    Start,
    Stop,
    ToServer,
)

_ENDS_WITHIN: Final = 15.0
_LONGEST_PAUSE: Final = 10.0
_LIVES_LONG: Final = 60.0
"""Seconds after which an end is an accident rather than one more failed start."""
_WAITS: Final = 30.0
"""Seconds that a question waits for a front that is being started."""
_DATAGRAM: Final = 2**10


class FrontNotThere(Busy):
    """The front has ended and is being started again."""

    def __init__(self) -> None:
        super().__init__(
            "The process that runs services is being started again; try again in a moment.",
            retry_after=1,
        )


class FrontNotStarted(MlsvcServerError):
    """The front ended as it was started."""

    def __init__(self) -> None:
        super().__init__("The public door's process ends as soon as it is started.")


class _Process:
    """One run of the front."""

    def __init__(
        self, make_link: Callable[[], Link], receive: Callable[[socket.socket, bytes], None]
    ) -> None:
        self.link = make_link()
        self._receive = receive
        self._loop = asyncio.get_running_loop()

    async def start(self, doors: Sequence[socket.socket]) -> None:
        """Start it and connect."""
        ours, theirs = socket.socketpair()
        # Datagrams keep a descriptor and what is said about it together.
        self._relays, relays = socket.socketpair(type=socket.SOCK_DGRAM)
        inherited = [theirs.fileno(), relays.fileno(), *(door.fileno() for door in doors)]
        with theirs, relays:
            # Our own program; starting it takes a millisecond.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603
                [
                    sys.executable,
                    "-P",  # not the server's working directory
                    "-m",
                    "jupyter_mlsvc_server.front",
                    *map(str, inherited[:2]),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                # Ctrl-C in a terminal is for the server, which then stops it in order.
                start_new_session=True,
            )
        self._relays.setblocking(False)
        self._loop.add_reader(self._relays, self._take_relays)
        await self._loop.create_unix_connection(lambda: self.link, sock=ours)

    async def end(self, patience: float) -> int:
        """Close the links and see that it ends; gives its exit code."""
        self._loop.remove_reader(self._relays)
        self._relays.close()
        self.link.close()
        try:
            return await asyncio.to_thread(self._process.wait, patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await asyncio.to_thread(self._process.wait)

    def _take_relays(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._relays, _DATAGRAM, 1)
            except OSError:  # none are left, or the front is gone
                return
            if not descriptors:
                return
            connection = socket.socket(fileno=descriptors[0])
            connection.set_inheritable(False)
            self._receive(connection, data)


class Supervisor:
    """Keeps a front running.

    Parameters
    ----------
    options
        Makes the first message to a front.
    asked, told
        What answers the front's questions, and takes what it tells.
    receive
        Takes a connection that the front passes on, and the client's address as JSON.
    restarted
        Called when there is a new front, before anybody else can ask it.
    log
        For the operator.
    """

    def __init__(
        self,
        *,
        options: Callable[[], Start],
        asked: Mapping[type[Message], Handler],
        told: Mapping[type[Message], Told],
        receive: Callable[[socket.socket, bytes], None],
        restarted: Callable[[Link], None],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.doors: Sequence[socket.socket] = ()
        """Listening sockets of the public door; they outlive a front, and connections wait."""
        self._options = options
        self._asked = asked
        self._told = told
        self._receive = receive
        self._restarted = restarted
        self._log = log
        self._process: _Process | None = None
        self._up = asyncio.Event()
        self._is_open = False
        self._is_stopping = False
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the front.

        Raises
        ------
        FrontNotStarted
            It ended while it started.
        """
        try:
            await self._launch()
        except LinkEnded:
            raise FrontNotStarted from None
        self._keeper = asyncio.create_task(self._keep())

    async def open(self) -> None:
        """Open the public door."""
        self._is_open = True
        await self.ask(Open())

    async def close(self) -> None:
        """Close the public door, with all connections."""
        self._is_open = False
        with contextlib.suppress(LinkEnded, FrontNotThere):
            if self._up.is_set():
                await self.ask(Close())
        for door in self.doors:
            door.close()
        self.doors = ()

    async def stop(self) -> None:
        """End the front and all below it; may be called twice."""
        self._is_stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(LinkEnded, TimeoutError):
                await asyncio.wait_for(process.link.ask(Stop()), _ENDS_WITHIN)
            await process.end(_ENDS_WITHIN)

    async def ask(self, question: Message, kind: Any = None) -> Any:
        """Ask the front, waiting for one that is being started.

        Raises
        ------
        FrontNotThere
            It could not be started in time.
        LinkEnded
            It ended before it answered.
        MlsvcServerError
            What it raised.
        """
        return await (await self._link()).ask(question, kind)

    def tell(self, message: Message) -> None:
        """Tell the front, if there is one."""
        if self._process is not None and self._up.is_set():
            self._process.link.tell(message)

    @property
    def is_up(self) -> bool:
        """Whether there is a front to ask."""
        return self._up.is_set()

    @property
    def link(self) -> Link | None:
        """The link to a front that can be asked now; None where one has to wait for it."""
        if self._process is None or self._is_stopping or not self._up.is_set():
            return None
        link = self._process.link
        return link if link.is_writable else None

    async def forget_tokens(self) -> None:
        """Have the front ask for each token again; done when it will."""
        # One that is being started remembers none.
        if self._process is not None:
            with contextlib.suppress(LinkEnded):
                await self._process.link.ask(ForgetTokens())

    async def _link(self) -> Link:
        if self._process is None or self._is_stopping:
            raise FrontNotThere
        try:
            await asyncio.wait_for(self._up.wait(), _WAITS)
        except TimeoutError:
            raise FrontNotThere from None
        return self._process.link

    async def _launch(self) -> None:
        process = _Process(self._make_link, self._receive)
        await process.start(self.doors)
        try:
            await process.link.ask(self._options())
            self._process = process
            self._restarted(process.link)
            if self._is_open:
                await process.link.ask(Open())
        except BaseException:
            await process.end(0)
            raise
        self._up.set()

    def _make_link(self) -> Link:
        return Link(ToServer, self._asked, {Logged: self._write_log, **self._told}, self._log)

    def _write_log(self, line: Logged) -> None:
        self._log.log(line.level, "%s", line.text)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            process, began = self._process, loop.time()
            assert process is not None
            await asyncio.shield(process.link.ended)
            self._up.clear()
            code = await process.end(1.0)
            self._log.error("the public door's process ended unexpectedly code=%s", code)
            failures = 0 if loop.time() - began > _LIVES_LONG else failures + 1
            while True:
                await asyncio.sleep(min(0.05 * 2**failures, _LONGEST_PAUSE))
                try:
                    await self._launch()
                except Exception:  # noqa: BLE001  # whatever it is, it may pass
                    failures += 1
                    self._log.exception("the public door's process can't be started")
                else:
                    break
            self._log.warning("the public door's process runs again")
