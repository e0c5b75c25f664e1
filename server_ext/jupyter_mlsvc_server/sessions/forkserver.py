"""The server's view of the forkserver of session kernels, and kernels that come from it.

What is started is the same as without it: a guard, a child of this process, with the kernel below.
Only the kernel's libraries are there already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from jupyter_mlsvc_server.formats import confine
from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.guard import HAS_GUARDS, guarded
from jupyter_mlsvc_server.formats.kernel_fork import (
    LARGEST,
    LAUNCHERS,
    MODULE,
    KernelForked,
    KernelRequest,
)

_EXIT_TIMEOUT: Final = 5.0
_RETRY_SECONDS: Final = 60.0
"""Seconds until a forkserver that did not start is tried again."""
_CALM_SECONDS: Final = 10.0
"""Seconds that one has to have been there to be started again at once when it ends."""


_Result = TypeVar("_Result")


class CannotFork(Exception):
    """There is no forkserver, or it could not do it; the message says why."""


class ForkedProcess:
    """A child of this process that it has not started itself; like ``subprocess.Popen``.

    Attributes
    ----------
    returncode
        Exit code, or minus the signal; None until :meth:`poll` or :meth:`wait` has seen the end.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended; None while it has not."""
        return self._await(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end, and return how that was."""
        return self._await(0)

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _await(self, options: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:
                self.returncode = 0  # somebody else has waited for it
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class KernelForkserver:
    """Starts a forkserver of kernels when the first one is wanted, and again when it has ended.

    Parameters
    ----------
    log
        For the operator.
    clock
        Seconds that have passed.
    """

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._what: tuple[Sequence[str], Mapping[str, str]] | None = None
        self._running: _Running | None = None
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retry_at = 0.0
        self._why_not = "it is not running."

    @property
    def pid(self) -> int | None:
        """Process id, where there is one."""
        return self._running.pid if self._running is not None else None

    def use(self, interpreter: Sequence[str], environment: Mapping[str, str]) -> None:
        """Say what it is started by: the interpreter with its options, and all variables."""
        self._what = interpreter, environment

    def start(self) -> None:
        """Begin to start it, without waiting for it."""
        self._spawn(self._start_quietly())

    async def stop(self) -> None:
        """End it; the kernels that came from it go on. May be called twice."""
        self._what = None
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._running is not None:
            running, self._running = self._running, None
            await running.stop()

    async def fork(self, request: KernelRequest, output: int) -> ForkedProcess:
        """Start a kernel; gives its guard.

        Parameters
        ----------
        request
            What it is to be like.
        output
            Descriptor of its standard output and error.

        Raises
        ------
        CannotFork
            That failed, and the kernel has to be started in another way.
        """
        # Whoever does not wait any more must not leave a kernel that nobody knows of. They close
        # the descriptor, too: its number may be another file's when it is sent.
        own = os.dup(output)
        asked = self._spawn(self._fork(request, own))
        asked.add_done_callback(lambda _: os.close(own))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._end_unwanted)
            raise

    async def _fork(self, request: KernelRequest, output: int) -> ForkedProcess:
        try:
            return await (await self._started()).fork(request, output)
        except _Lost:
            # It has ended since the last time: a new one does it.
            try:
                return await (await self._started()).fork(request, output)
            except _Lost as error:
                raise CannotFork("it has ended twice.") from error

    async def _started(self) -> _Running:
        async with self._starting:
            if self._running is not None and not self._running.is_lost:
                return self._running
            if self._what is None or self._clock() < self._retry_at:
                raise CannotFork(self._why_not)
            running = _Running(*self._what, self._log, self._lost)
            began = self._clock()
            try:
                await running.ready()
            except _Lost:
                self._retry_at = self._clock() + _RETRY_SECONDS
                self._why_not = "it did not start; what it wrote is in the log."
                self._log.error(
                    "the process that sessions are forked from did not start; sessions start more "
                    "slowly, and it is tried again in %.0f s",
                    _RETRY_SECONDS,
                )
                await running.stop()
                raise CannotFork(self._why_not) from None
            except BaseException:
                await running.stop()
                raise
            self._running = running
            self._log.info(
                "sessions are forked from process %d, ready after %.2f s",
                running.pid,
                self._clock() - began,
            )
            return running

    def _lost(self, running: _Running) -> None:
        if running is not self._running:
            return
        self._log.warning("the process that sessions are forked from has ended; they go on")
        self._spawn(running.stop())
        if running.seconds > _CALM_SECONDS:
            self.start()

    async def _start_quietly(self) -> None:
        with contextlib.suppress(CannotFork):
            await self._started()

    def _end_unwanted(self, asked: asyncio.Task[ForkedProcess]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            process = asked.result()
            process.terminate()
            self._spawn(asyncio.to_thread(process.wait))

    def _spawn(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Lost(Exception):
    """The process at the other end has ended."""


class _Running:
    """A forkserver's process."""

    def __init__(
        self,
        interpreter: Sequence[str],
        environment: Mapping[str, str],
        log: logging.Logger,
        on_lost: Callable[[_Running], None],
    ) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link.setblocking(False)
        self._output = ChildOutput(log, "the forkserver of sessions")
        self._on_lost = on_lost
        self._began = time.monotonic()
        self._asking = asyncio.Lock()
        self.is_lost = False
        with theirs:
            # No guard is between: what it forks are to be children of this process.
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [*interpreter, "-m", MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._output.theirs.fileno(),
                stderr=self._output.theirs.fileno(),
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        self._output.started()
        self._answers: asyncio.Queue[KernelForked | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self._began

    async def ready(self) -> None:
        await self._answer()

    async def fork(self, request: KernelRequest, output: int) -> ForkedProcess:
        async with self._asking:
            if self.is_lost:
                raise _Lost
            try:
                socket.send_fds(self._link, [msgspec.json.encode(request)], [output])
            except ConnectionError:
                self.is_lost = True  # the reader may not have noticed yet
                raise _Lost from None
            except OSError as error:
                raise CannotFork(f"{error.strerror}.") from error
            answer = await self._answer()
        if not answer.pid:
            raise CannotFork(answer.problem)
        return ForkedProcess(answer.pid)

    async def stop(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self.is_lost = True
        self._link.close()
        try:
            await asyncio.to_thread(self._process.wait, _EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._output.close()

    async def _answer(self) -> KernelForked:
        answer = await self._answers.get()
        if answer is None:
            self._answers.put_nowait(None)
            raise _Lost
        return answer

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self._link, LARGEST):
                self._answers.put_nowait(msgspec.json.decode(data, type=KernelForked))
        self.is_lost = True
        self._answers.put_nowait(None)
        self._on_lost(self)


def interpreter_of(spec: KernelSpec | None, python: str) -> list[str]:
    """Name the interpreter of a kernel spec, with its options, where its kernels can be forked.

    Parameters
    ----------
    spec
        The kernel spec.
    python
        The interpreter that it has where it only says ``python``.

    Returns
    -------
    list of str
        Empty where it runs another program, or somebody else is to start it.
    """
    argv = list(spec.argv) if spec is not None else []
    if spec is None or not HAS_GUARDS or "kernel_provisioner" in spec.metadata or "-m" not in argv:
        return []
    options, rest = argv[: argv.index("-m")], argv[argv.index("-m") + 1 :]
    if not options or not rest or rest[0] not in LAUNCHERS:
        return []
    return [python if options[0] in {"python", "python3"} else options[0], *options[1:]]


class ForkedProvisioner(LocalProvisioner):
    """Has a kernel forked, or starts it below a guard where that fails.

    Parameters
    ----------
    forkserver
        Forks it.
    """

    def __init__(self, *, forkserver: KernelForkserver, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._forkserver = forkserver

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel of a command."""
        environment = dict(kwargs["env"])
        request = KernelRequest(
            arguments=tuple(cmd[cmd.index("-m") + 2 :]),
            policy=environment.pop(confine.VARIABLE, ""),
            environment=environment,
            directory=str(kwargs["cwd"]),
        )
        try:
            process = await self._forkserver.fork(request, kwargs["stdout"])
        except CannotFork as why:
            self.log.info("a kernel is started in an interpreter of its own: %s", why)
            return await super().launch_kernel(guarded(cmd), **kwargs)
        self.process = process  # type: ignore[assignment]  # it has what is called of the other
        self.pid = self.pgid = process.pid
        self.cwd = kwargs["cwd"]
        return self.connection_info
