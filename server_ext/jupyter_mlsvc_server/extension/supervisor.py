"""Keeps a server running for as long as the Jupyter server runs.

One data folder has one server, and each Jupyter server of a person is a host of it. A host holds a
stream to the server open, its lease; the server ends by itself when the last lease is gone.

::

              attached ── lease ended ──┐
                 ▲                      │
            lease granted               │
                 │                      ▼
    ┌──────► connecting ◄───────── (pause where that is often; its end where it stops)
    │            │      ◄───────── it listens ──────────┐
    │      nobody listens                               │
    │            ▼                                      │
    │      starting a child ────────────────────────────┤
    │                                              child ended
    │                                               │       │
    │                  exit code 75: another one    │       │ other code
    │                  has the data folder, join it │       ▼
    └───────────────────────◄───────────────────────┴─ failed, pause

Pauses grow from half a second to a minute while no server can be started. One that has served is
started again at once when it ends, five times in a row; where that goes on, one is started every
five seconds. Requests wait while it starts, and are answered with the reason where it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
from tornado.iostream import IOStream

from jupyter_mlsvc_server.extension.upstream import (
    HostClient,
    HostRefused,
    ServerGone,
    ServerStopping,
    UnexpectedAnswer,
    Upstream,
)
from jupyter_mlsvc_server.formats.host import (
    DATA_DIR_IN_USE,
    HOSTED_OPTION,
    HostFarewell,
    HostStatus,
    StartProblem,
)

_POLL: Final = 0.02
"""Seconds between looks whether a child serves already."""
_START_TIMEOUT: Final = 120.0
"""Seconds that a child may take until it serves."""
_JOIN_TIMEOUT: Final = 30.0
"""Seconds that another one's server may hold the data folder without serving."""
_END_TIMEOUT: Final = 5.0
"""Seconds that a child may need to end after it dropped a connection."""
_DROP_TIMEOUT: Final = 1.0
"""Seconds until a child that dropped its lease is asked for another one; shorter than the server's
grace."""
_STOPPING_PAUSE: Final = 0.5
"""Seconds until a server that stops, and is no child, is looked for again."""
_STOP_TIMEOUT: Final = 30.0
"""Seconds that a child may take to stop."""
_REQUEST_PATIENCE: Final = 20.0
"""Seconds that a request waits for a server that is being started."""
_CONNECT_ATTEMPTS: Final = 2
"""One for a server that has just ended, and one for the next."""
_FIRST_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 60.0
"""Seconds until another start; a server that fails again and again costs little."""
_RESTART_INTERVAL: Final = 5.0
"""Seconds from one start to the next where servers that have served end again and again: callers
wait no longer for one that is killed, and one that ends each time costs little."""
_BURST: Final = 5
"""Starts that may come sooner, after a time without any."""
NEVER_WITH_CHILDREN: Final = (
    "JUPYTER_TOKEN",
    "JUPYTERHUB_API_TOKEN",
    "JPY_API_TOKEN",
    "MLSVC_CONNECTION_FILE",
)
"""Variables that the server does not need, of which most are secrets."""


_END_OTHER: Final = "End it, or choose another one."
_COMPARE_SECRETS: Final = (
    "Check MlsvcExtension.server_url, and compare MlsvcExtension.host_secret_file with "
    "MlsvcApp.hosts_file of the server."
)

COMMAND: Final = (
    sys.executable,
    # The folder that Jupyter runs in is a person's: no module of it takes the place of another.
    "-P",
    "-m",
    "jupyter_mlsvc_server",
    "serve",
    HOSTED_OPTION,
)
"""Program of the server."""


class ServerUnavailable(Exception):
    """There is no server to ask now; the message says why and what to do."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Host(Protocol):
    """Called when the server starts and ends."""

    async def attached(self, client: HostClient, status: HostStatus) -> None:
        """Take note that a server serves, a new one maybe."""
        ...

    def reported(self, status: HostStatus) -> None:
        """Take note of a line of the lease."""
        ...

    def failed(self, problem: str) -> None:
        """Take note of why no server runs."""
        ...


class Child:
    """The server as a child process.

    It gets its configuration through its standard input, where nobody else can read it, and says
    through its standard output why it does not start. Its log goes where Jupyter's goes.
    """

    def __init__(self, command: Sequence[str], config: bytes) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name not in NEVER_WITH_CHILDREN
        }
        # The loop's own kind of child is killed with the loop; this one may have other hosts.
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C in the terminal is for Jupyter, which asks before it stops.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        # One that ended already says why below.
        with contextlib.suppress(BrokenPipeError), self._process.stdin as config_pipe:
            config_pipe.write(config)

    @classmethod
    async def start(cls, command: Sequence[str], config: bytes) -> Child:
        """Start the program."""
        return await asyncio.to_thread(cls, command, config)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def reason(self) -> str:
        """Say why it ended, once it did."""
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, msgspec.DecodeError), self._process.stdout as pipe:
            # A child of the child may still have the pipe.
            os.set_blocking(pipe.fileno(), False)
            line = pipe.readline()
            return msgspec.json.decode(line, type=StartProblem).message
        code = self.exit_code
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f"It ended with {how}; the log of this Jupyter server has the reason."

    async def end(self, grace: float) -> None:
        """Wait until it ended, and insist."""
        if await _poll(self.has_ended, grace):
            return
        self._process.terminate()
        if not await _poll(self.has_ended, _STOP_TIMEOUT):
            self._process.kill()
            await _poll(self.has_ended, _STOP_TIMEOUT)

    async def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self.exit_code is not None


class Supervisor:
    """Starts a server or joins one, and does so again when it ended.

    Parameters
    ----------
    upstream
        Where the server is reached.
    config
        Makes the configuration of a child; None never starts one.
    host
        Called when the server starts and ends.
    client
        Asks the server; by default as a host of it.
    command
        Program of the server, with its arguments.
    clock, pause
        Seconds that have passed, and what waits for some between two attempts.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        config: Callable[[], bytes] | None,
        host: Host,
        log: logging.Logger,
        client: HostClient | None = None,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.upstream = upstream
        self._clock = clock
        self._sleep = pause
        self._client = client or HostClient(upstream)
        self._config = config
        self._host = host
        self._log = log
        self._command = command
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_attached = asyncio.Event()
        self._has_failed = asyncio.Event()
        self._problem = ""
        self._retry_at = 0.0
        self._joins_since = 0.0
        self._failures = 0
        self._restarts_until = 0.0

    # --- what requests need ------------------------------------------------------------------

    async def connect(self) -> IOStream:
        """Open a connection to the server, for which a start is waited for.

        Raises
        ------
        ServerUnavailable
            There is none to be had soon.
        """
        for _ in range(_CONNECT_ATTEMPTS):
            if not self._is_attached.is_set():
                await self._wait_for_server()
            try:
                return await self.upstream.connect()
            except OSError:
                # It has just ended; the next line of a lease says that one is there.
                self._is_attached.clear()
        raise ServerUnavailable(
            "The server has just ended and is being started again. Try again in a moment.", 1
        )

    async def reconnect(self) -> IOStream:
        """Open a connection after one that ended before its answer: to the next server, maybe.

        Raises
        ------
        ServerUnavailable
            There is none to be had soon.
        """
        # Whether it is the server that ended, the lease tells.
        self._is_attached.clear()
        return await self.connect()

    async def _wait_for_server(self) -> None:
        if self._task is None:
            raise ServerUnavailable("The server is stopping.", 1)
        if not self._has_failed.is_set():
            waits = [
                asyncio.create_task(event.wait()) for event in (self._is_attached, self._has_failed)
            ]
            await asyncio.wait(
                waits, timeout=_REQUEST_PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            for wait in waits:
                wait.cancel()
        if self._is_attached.is_set():
            return
        if self._has_failed.is_set():
            seconds = max(1, round(self._retry_at - self._clock()))
            raise ServerUnavailable(
                f"The server of jupyter-mlsvc does not run. {self._problem} "
                "It is tried again by itself; a changed setting needs a restart of this Jupyter "
                "server.",
                seconds,
            )
        raise ServerUnavailable("The server is starting; try again in a moment.", 1)

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, without waiting for anything."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Leave the server, and wait for its end where this was its last host."""
        if self._task is None:
            return
        task, self._task = self._task, None
        farewell = await self._say_goodbye() if self._is_attached.is_set() else None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self._is_attached.clear()
        child = self._child
        if child is not None and (
            farewell is None or (farewell.ends and farewell.pid == child.pid)
        ):
            # One that nobody has a lease of yet would wait for a host.
            await child.end(_STOP_TIMEOUT if farewell else 0)
        elif farewell is not None and farewell.ends:
            await _poll(lambda: _has_ended(farewell.pid), _STOP_TIMEOUT)

    async def _say_goodbye(self) -> HostFarewell | None:
        try:
            return await self._client.leave()
        except (
            OSError,
            ServerGone,
            ServerStopping,
            UnexpectedAnswer,
            TimeoutError,
            msgspec.DecodeError,
        ):
            return None

    async def _keep(self) -> None:
        while True:
            try:
                await self._once()
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                self._log.exception("jupyter-mlsvc: the server cannot be looked after")
                await self._fail(f"It cannot be looked after ({type(error).__name__}).")

    async def _once(self) -> None:
        """Go once round the states."""
        try:
            was_attached = await self._attend()
        except ssl.SSLCertVerificationError as error:
            await self._fail(
                f"The certificate of {self.upstream} is not trusted: {error.verify_message}. "
                "SSL_CERT_FILE names the authorities that this Jupyter server trusts."
            )
            return
        except ServerStopping:
            await self._let_stop()
            return
        except HostRefused as refusal:
            await self._fail(f"The one at {self.upstream} refuses. {refusal}")
            return
        except (UnexpectedAnswer, msgspec.DecodeError) as error:
            remedy = _COMPARE_SECRETS if self._config is None else _END_OTHER
            await self._fail(
                f"What answers at {self.upstream} does not take this Jupyter server as its host. "
                f"{error} {remedy}"
            )
            return
        if was_attached:
            self._failures = 0
            self._log.warning("jupyter-mlsvc: the server ended; another one is looked for")
            await self._let_end()
            if (pause := self._count_restart()) > 0:
                await self._sleep(pause)
        elif self._config is None:
            await self._fail(
                f"Nobody answers at {self.upstream}. Check MlsvcExtension.server_url, and that a "
                "server runs there."
            )
        elif self._child is None:
            await self._start_child(self._config)
        else:
            await self._take_end(self._child)

    async def _start_child(self, config: Callable[[], bytes]) -> None:
        """Start a child, and wait until it may serve or has ended."""
        try:
            child = self._child = await Child.start(self._command, config())
        except OSError as error:
            await self._fail(f"It cannot be started: {error.strerror}.")
            return

        async def is_decided() -> bool:
            return child.exit_code is not None or await self._is_there()

        await _poll(is_decided, _START_TIMEOUT)

    async def _take_end(self, child: Child) -> None:
        """Find out why a child gives no lease."""
        has_ended = await _poll(child.has_ended, _END_TIMEOUT)
        if not has_ended and await self._is_there():
            # It is slow, and may give one yet.
            return
        await child.end(0)
        self._child = None
        if not has_ended:
            await self._fail(f"It did not serve within {_START_TIMEOUT:.0f} seconds.")
        elif child.exit_code == DATA_DIR_IN_USE:
            await self._join()
        else:
            await self._fail(child.reason())

    async def _join(self) -> None:
        """Wait for the server of whoever was quicker, or for its end."""
        now = self._clock()
        self._joins_since = self._joins_since or now
        if await _poll(self._is_there, 1.0) or now - self._joins_since < _JOIN_TIMEOUT:
            return
        await self._fail(
            "Another program holds its data folder and does not answer. End that one, or choose "
            "another folder with MLSVC_DATA_DIR or MlsvcApp.data_dir."
        )

    async def _is_there(self) -> bool:
        try:
            (await self.upstream.connect()).close()
        except OSError:
            return False
        return True

    async def _attend(self) -> bool:
        """Hold a lease until it ends; False where none was to be had."""
        was_attached = False
        lease = self._client.lease()
        try:
            async for status in lease:
                if not was_attached:
                    await self._host.attached(self._client, status)
                    was_attached = True
                    self._problem = ""
                    self._joins_since = 0.0
                    self._has_failed.clear()
                self._is_attached.set()
                self._host.reported(status)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, ServerGone):
            pass
        finally:
            self._is_attached.clear()
            await lease.aclose()
        return was_attached

    async def _let_end(self) -> None:
        """Wait for the end of a child that serves no more."""
        child = self._child
        if child is None:
            return
        # A process that is killed closes its connections before it is gone.
        if await _poll(child.has_ended, _DROP_TIMEOUT) or not await self._is_there():
            await child.end(_STOP_TIMEOUT)
            self._child = None

    async def _let_stop(self) -> None:
        """Wait for the end of a server that takes no host any more; requests wait as well."""
        if self._child is None:
            await asyncio.sleep(_STOPPING_PAUSE)
        else:
            await self._child.end(_STOP_TIMEOUT)
            self._child = None

    def _count_restart(self) -> float:
        """Take note of a start after a server has ended; returns the seconds until it may be."""
        # Each start is worth an interval; as many of them as make a burst may be ahead of time.
        now = self._clock()
        self._restarts_until = max(self._restarts_until, now) + _RESTART_INTERVAL
        return self._restarts_until - now - _BURST * _RESTART_INTERVAL

    async def _fail(self, problem: str) -> None:
        """Say what is wrong, and pause."""
        if problem != self._problem:
            self._log.error("jupyter-mlsvc: the server does not run. %s", problem)
        self._problem = problem
        pause = _growing_pause(self._failures)
        self._failures += 1
        self._retry_at = self._clock() + pause
        self._has_failed.set()
        self._host.failed(problem)
        await self._sleep(pause)


def _growing_pause(earlier: int) -> float:
    return min(_FIRST_PAUSE * 2.0 ** min(earlier, 20), _MAX_PAUSE)


async def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # Somebody else's process has the id by now.
        return True
    return False


async def _poll(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait until something holds; False where it did not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True
