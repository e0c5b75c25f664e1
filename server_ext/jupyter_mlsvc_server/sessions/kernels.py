"""Kernels: processes that run the code of sessions, each in a folder and environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Bool, Dict, Float, Integer, Unicode
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.confinement import Confinement, hand_over, own_places, seed_caches
from jupyter_mlsvc_server.formats import confine
from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.guard import HAS_GUARDS, guarded
from jupyter_mlsvc_server.formats.private_files import private_directory
from jupyter_mlsvc_server.sessions.agents import Agent
from jupyter_mlsvc_server.sessions.channel import KernelChannel
from jupyter_mlsvc_server.sessions.environment import scrubbed
from jupyter_mlsvc_server.sessions.errors import (
    KernelDidNotStart,
    KernelDied,
    RuntimeNotAvailable,
)
from jupyter_mlsvc_server.sessions.forkserver import (
    ForkedProvisioner,
    KernelForkserver,
    interpreter_of,
)
from jupyter_mlsvc_server.sessions.priority import lower_priority
from jupyter_mlsvc_server.sessions.runtimes import PythonRuntime, RRuntime, Runtime
from jupyter_mlsvc_server.storage.machine_faults import machine_fault
from jupyter_mlsvc_server.storage.traits import TextList

_DEATH_POLL_SECONDS = 0.2
_GUARD_POLL_SECONDS = 0.01
_GUARD_EXIT_TIMEOUT = 5.0
_RECONNECT_MILLISECONDS = 2
"""Until a socket that a new kernel does not listen at yet is tried again; each pause doubles."""
_SLOWEST_RECONNECT_MILLISECONDS = 200
_SOCKETS = "sockets"
_UNIX_SOCKETS = Path("/proc/net/unix")
_CONNECTED = {"02", "03"}
"""States of sockets there that are connected, or waiting to be taken."""


class Folders:
    """Folders of one kernel.

    ::

        HOME/               nobody but the server may write here
            connection.json the kernel reads it
            readable/       snapshots that are being restored; the kernel reads them
            work/           the working directory, which belongs to the user
            own/            what stands for the home folder
            exchange/       files that the server and the helper in the kernel hand to each other
            incoming/       uploads, until they are whole
        SOCKETS/            of the kernel
            tmp/            temporary files: code makes sockets there, whose paths must be short
    """

    def __init__(self, home: Path, sockets: Path, user: int = 0) -> None:
        self.user = user
        self.cgroup = ""
        self.close_cgroup: Callable[[], None] = lambda: None
        self.home = home
        self.sockets = sockets
        self.connection = home / "connection.json"
        self.readable = home / "readable"
        self.work = home / "work"
        self.own = home / "own"
        self.temporary = sockets / "tmp"
        self.exchange = home / "exchange"
        self.incoming = home / "incoming"

    @property
    def writable(self) -> tuple[Path, ...]:
        """What the kernel writes into."""
        return self.work, self.own, self.exchange, self.sockets, self.temporary

    def create(self) -> None:
        """Make them all."""
        for folder in (self.home, self.readable, self.incoming, *self.writable):
            folder.mkdir(mode=0o700)
        seed_caches(self.own)
        if self.user:
            for folder in (self.home, self.readable):
                private_directory(folder, self.user)
            for folder in self.writable:
                hand_over(folder, self.user)

    def show_connection(self) -> None:
        """Let the kernel read its connection file."""
        if self.user:
            os.chown(self.connection, -1, self.user)
            self.connection.chmod(0o640)

    def close_sockets(self, output: Path) -> None:
        """Remove the kernel's sockets, so that nobody else can connect.

        Parameters
        ----------
        output
            The one that tells all output to whoever connects, without a key.

        Raises
        ------
        ConnectionError
            Somebody else has connected to that before.
        """
        for path in self.sockets.iterdir():
            if path != self.temporary:
                path.unlink()
        if _count_connections(output) > 1:
            raise ConnectionError("another process has connected to the kernel")

    def remove(self) -> None:
        """Remove them all."""
        self.close_cgroup()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)


def _connect_control(manager: AsyncKernelManager) -> None:
    """Connect anew to the socket by which a kernel is told to end, now that it listens.

    The manager has tried since before the kernel was there, and tries again every now and then. By
    the next time the socket may be removed, and the kernel could only be killed.
    """
    manager._close_control_socket()  # noqa: SLF001  # it has no public name
    manager._connect_control_socket()  # noqa: SLF001


def _count_connections(socket: Path) -> int:
    """Count who is connected to a Unix socket (Linux; elsewhere nobody is counted)."""
    try:
        table = _UNIX_SOCKETS.read_text("utf-8", "replace")
    except FileNotFoundError:
        return 0
    fields = (line.split(maxsplit=7) for line in table.splitlines())
    return sum(each[-1] == str(socket) and each[5] in _CONNECTED for each in fields)


class Kernel:
    """A running kernel.

    Attributes
    ----------
    id
        Also the id of the session that gets it.
    folders
        Its folders.
    directory
        The working directory, which belongs to the user.
    runtime
        Its language.
    channel
        Where requests go.
    agent
        The helper in it; set once it is loaded.
    on_end
        Called once, with the reason, when the process ends by itself.
    """

    def __init__(
        self,
        kernel_id: str,
        folders: Folders,
        runtime: Runtime,
        manager: AsyncKernelManager,
        channel: KernelChannel,
        output: ChildOutput,
    ) -> None:
        self.id = kernel_id
        self.folders = folders
        self.directory = folders.work
        self.runtime = runtime
        self.channel = channel
        self.agent: Agent
        self.on_end: Callable[[str], None] | None = None
        self.ended: str | None = None
        self._manager = manager
        self._output = output
        self._group: int | None = getattr(manager.provisioner, "pgid", None)
        self._watch = asyncio.create_task(self._watch_process())
        self._stopping = False

    @property
    def process_id(self) -> int | None:
        """Id of the guard, or of the kernel where there is none, for logs and measurements."""
        return getattr(self._manager.provisioner, "pid", None)

    async def interrupt(self) -> None:
        """Interrupt what runs, and the processes that it started."""
        if self.ended is None:
            await self._manager.interrupt_kernel()
            if self.runtime.awaits:
                self.channel.wake()

    async def stop(self, *, now: bool = False) -> None:
        """End the process and remove its folder; may be called twice.

        Parameters
        ----------
        now
            Kill it, without giving it the chance to end by itself.
        """
        if self._stopping:
            return
        self._stopping = True
        self._watch.cancel()
        self.channel.fail(KernelDied(self.ended or "it was closed."))
        try:
            if now and self.ended is None:
                await self._end_guard()
            await self._manager.shutdown_kernel(now=now or self.ended is not None)
        finally:
            # Where there is no guard, this ends most of what the user's code has started.
            if self._group is not None and hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._group, signal.SIGKILL)
            self.channel.close()
            self._output.close()
            await asyncio.to_thread(self.folders.remove)

    async def _end_guard(self) -> None:
        """Have the guard end all at once: killed itself, it could not."""
        pid = self.process_id
        if pid is None or not HAS_GUARDS:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GUARD_EXIT_TIMEOUT):
                while await self._manager.is_alive():  # noqa: ASYNC110 - a process sets no event
                    await asyncio.sleep(_GUARD_POLL_SECONDS)

    async def _watch_process(self) -> None:
        while await self._manager.is_alive():  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(_DEATH_POLL_SECONDS)
        code = await self._manager.provisioner.poll() if self._manager.provisioner else None
        # What it printed last may still be on its way.
        await asyncio.sleep(_DEATH_POLL_SECONDS)
        self.ended = _why_it_ended(self.runtime.name, code)
        self.channel.fail(KernelDied(self.ended))
        if self.on_end is not None:
            self.on_end(self.ended)


class _GuardedKernelManager(AsyncKernelManager):
    """Starts kernels below guards, which end with them all that they have started."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Return the command of the guard, with that of the kernel."""
        return guarded(super().format_kernel_cmd(extra_arguments))


class KernelFactory(LoggingConfigurable):
    """Starts kernels in folders below the data folder."""

    kernel_specs = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="Kernel specs that sessions of a runtime type run in, where another one than python3 "
        "for Python and ir for R is wanted; that Python needs this package installed. An empty "
        "name takes the runtime away.",
    ).tag(config=True)
    environment_names = TextList(
        help="Names, or patterns with *, of the server's environment variables that sessions "
        "see besides the built-in list (PATH, HOME, locale, paths of Python and R, threads, "
        "certificates).",
    ).tag(config=True)
    environment = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="Environment variables to set in every session.",
    ).tag(config=True)
    preload_at_start = Bool(
        True,
        help="Whether the process that Python sessions are forked from starts with the server. "
        "Else the first session starts it, and takes half a second longer.",
    ).tag(config=True)
    start_timeout = Float(
        60.0, help="Seconds that a kernel may take to start before it is given up."
    ).tag(config=True)
    shutdown_timeout = Float(
        4.0,
        help="Seconds that a kernel may take to end by itself when its session is closed; "
        "then it is killed.",
    ).tag(config=True)
    max_output_message_bytes = Integer(
        16 * 2**20,
        help="Largest single output, in bytes, that is read; of others the beginning is shown.",
    ).tag(config=True)
    niceness = Integer(
        10,
        min=0,
        max=19,
        help="By how much the priority of sessions is below that of services, as nice(1) counts: "
        "a session that computes or prints without a pause does not slow down calls then. "
        "0 gives them the same priority.",
    ).tag(config=True)
    sklearn_1d = Bool(
        True,
        help="Whether scikit-learn's estimators in sessions take a 1-D list as one sample, as they "
        "did before 0.19.",
    ).tag(config=True)

    def __init__(
        self, *, data_dir: Path, confinement: Confinement | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._confinement = confinement or Confinement(data_dir=data_dir, parent=self)
        self._root = data_dir / "sessions"
        self._context: zmq.asyncio.Context | None = None
        self._run: Path | None = None
        self._lock: int | None = None
        self._sockets: Path | None = None
        languages: tuple[Runtime, ...] = (PythonRuntime(sklearn_1d=self.sklearn_1d), RRuntime())
        self._runtimes = {each.name: each for each in languages}
        self._specs = KernelSpecManager(parent=self)
        self._forkserver = KernelForkserver(self.log)

    def available(self) -> list[str]:
        """Name the runtime types whose kernels are installed."""
        return [name for name, runtime in self._runtimes.items() if self._is_installed(runtime)]

    def require(self, runtime_type: str) -> None:
        """See to it that sessions of a runtime type can be started.

        Raises
        ------
        RuntimeNotAvailable
            There is no such runtime, or its kernel is not installed; the message says what to do.
        """
        runtime = self._runtimes.get(runtime_type)
        if runtime is None or not self._spec_of(runtime):
            raise RuntimeNotAvailable(runtime_type, self.available())
        if not self._is_installed(runtime):
            raise RuntimeNotAvailable(runtime_type, self.available(), runtime.how_to_install)

    def _spec_of(self, runtime: Runtime) -> str:
        return str(self.kernel_specs.get(runtime.name, runtime.kernel_spec))

    def _is_installed(self, runtime: Runtime) -> bool:
        try:
            spec = self._specs.get_kernel_spec(self._spec_of(runtime))
        except (NoSuchKernel, ValueError):
            return False
        return bool(spec.argv) and shutil.which(spec.argv[0]) is not None

    async def start(self) -> None:
        """Make the folders of this run and remove those of runs that were killed."""
        await asyncio.to_thread(self._make_folders)
        self._context = zmq.asyncio.Context()
        self._context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        self._context.setsockopt(zmq.RECONNECT_IVL_MAX, _SLOWEST_RECONNECT_MILLISECONDS)
        await self._use_forkserver()

    async def _use_forkserver(self) -> None:
        """Say how the forkserver is started, and start it where it is wanted at once."""
        runtime = self._runtimes[PythonRuntime.name]
        with contextlib.suppress(NoSuchKernel, ValueError):
            spec = await asyncio.to_thread(self._specs.get_kernel_spec, self._spec_of(runtime))
            if (interpreter := interpreter_of(spec, sys.executable)) and self._run is not None:
                home, temporary = self._run / "nobody", self._run / "nothing"
                own = {**own_places(os.environ, home, temporary), **spec.env, **self.environment}
                variables = scrubbed(os.environ, self.environment_names, own)
                if "PYTHONPATH" in variables:
                    # Its working directory is not that of any session.
                    parts = variables["PYTHONPATH"].split(os.pathsep)
                    absolute = [each for each in parts if Path(each).is_absolute()]
                    variables["PYTHONPATH"] = os.pathsep.join(absolute)
                self._forkserver.use(interpreter, variables)
                if self.preload_at_start:
                    self._forkserver.start()

    async def stop(self) -> None:
        """Remove the folders; all kernels have to be stopped before."""
        await self._forkserver.stop()
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None
        await asyncio.to_thread(self._remove_folders)

    async def user_of(self, account_id: str) -> int:
        """Return the id of the user that an account's kernels run as; 0 for the server's own."""
        return await self._confinement.user_of(account_id)

    async def start_kernel(self, runtime_type: str, user: int = 0) -> Kernel:
        """Start a kernel of a runtime type and wait until it can be used.

        Parameters
        ----------
        runtime_type
            The language.
        user
            Whose it is, as of :meth:`user_of`.

        Raises
        ------
        KernelDidNotStart
            It ended or did not answer in time; the log has what it wrote.
        """
        runtime = self._runtimes[runtime_type]
        if self._run is None or self._context is None or self._sockets is None:
            raise KernelDidNotStart(runtime_type)
        kernel_id = str(uuid.uuid4())
        folders = Folders(self._run / kernel_id, self._sockets / kernel_id[:13], user)
        await asyncio.to_thread(folders.create)
        folders.cgroup = self._confinement.open_cgroup(kernel_id)
        folders.close_cgroup = partial(self._confinement.close_cgroup, folders.cgroup)
        # Sockets of the file system, in a folder that only the server's user can enter: nobody
        # else can connect. Their paths have to be short, so they are not in the data folder.
        spec = await asyncio.to_thread(self._specs.get_kernel_spec, self._spec_of(runtime))
        is_forked = runtime.is_forked and bool(interpreter_of(spec, sys.executable))
        manager = (AsyncKernelManager if is_forked else _GuardedKernelManager)(
            kernel_name=self._spec_of(runtime),
            kernel_spec_manager=self._specs,
            connection_file=str(folders.connection),
            context=self._context,
            shutdown_wait_time=self.shutdown_timeout,
            log=self.log,
            transport="ipc",
            ip=str(folders.sockets / "k"),
        )
        if is_forked:
            manager.provisioner = ForkedProvisioner(
                forkserver=self._forkserver, kernel_id=kernel_id, kernel_spec=spec, parent=manager
            )
        kernel: Kernel | None = None
        output = ChildOutput(self.log, f"session {kernel_id}", level=logging.INFO)
        try:
            async with asyncio.timeout(self.start_timeout):
                kernel = await self._launch(manager, runtime, kernel_id, folders, output)
                await kernel.channel.open()
                _connect_control(manager)
                kernel.agent = await runtime.prepare(kernel.channel, folders)
                # Not before: somebody waits for the start, and none of their code has run yet.
                if kernel.process_id and self.niceness:
                    await lower_priority(kernel.process_id, self.niceness)
                # What is connected now stays so.
                output_socket = Path(f"{manager.ip}-{manager.iopub_port}")
                await asyncio.to_thread(folders.close_sockets, output_socket)
        except BaseException as error:
            # A start that was cancelled, as when the server stops, did not fail.
            failed = isinstance(error, Exception)
            await self._give_up(kernel, folders, output, error if failed else None)
            if failed:
                raise machine_fault(error) or KernelDidNotStart(runtime_type) from error
            raise
        return kernel

    async def _launch(
        self,
        manager: AsyncKernelManager,
        runtime: Runtime,
        kernel_id: str,
        folders: Folders,
        output: ChildOutput,
    ) -> Kernel:
        own = {
            **own_places(os.environ, folders.own, folders.temporary),
            **runtime.environment(folders),
            **self.environment,
        }
        policy = await asyncio.to_thread(self._policy, manager, folders)
        manager.write_connection_file()
        folders.show_connection()
        if policy is not None:
            own[confine.VARIABLE] = policy.encoded()
        await manager.start_kernel(
            cwd=str(folders.work),
            env=scrubbed(os.environ, self.environment_names, own),
            stdout=output.theirs.fileno(),
            stderr=output.theirs.fileno(),
            extra_arguments=list(runtime.arguments),
        )
        output.started()
        client = manager.client(context=self._context)
        channel = KernelChannel(client, largest_output=self.max_output_message_bytes)
        return Kernel(kernel_id, folders, runtime, manager, channel, output)

    def _policy(self, manager: AsyncKernelManager, folders: Folders) -> confine.Policy | None:
        spec = manager.kernel_spec
        return self._confinement.policy(
            read=(folders.connection, folders.readable),
            write=folders.writable,
            program=spec.argv[0] if spec is not None and spec.argv else "",
            user=folders.user,
            cgroup=folders.cgroup,
        )

    async def _give_up(
        self,
        kernel: Kernel | None,
        folders: Folders,
        output: ChildOutput,
        error: BaseException | None,
    ) -> None:
        if kernel is not None:
            await kernel.stop(now=True)
        output.close()
        if error is not None:
            self.log.error(
                "a kernel did not start (%s); it wrote: %s",
                error.__cause__ or type(error).__name__,
                output.last[-2000:].strip() or "nothing",
            )
        await asyncio.to_thread(folders.remove)

    # --- folders -----------------------------------------------------------------------------

    def _make_folders(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        # Named only when locked: a server that starts now must not take it for left over.
        name = uuid.uuid4().hex[:12]
        unnamed = self._root / f"new-{name}"
        unnamed.mkdir(mode=0o700)
        # Held as long as this process lives, so that another server on the same data folder
        # knows whose folders are in use.
        self._lock = os.open(unnamed / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        run = unnamed.rename(self._root / f"run-{name}")
        self._sockets = Path(tempfile.mkdtemp(prefix="mlsvc-"))
        (run / _SOCKETS).symlink_to(self._sockets)
        for folder in (self._root.parent, self._root, run, self._sockets):
            self._confinement.make_enterable(folder)
        self._run = run

    def _remove_folders(self) -> None:
        if self._run is not None:
            _remove_run(self._run)
            self._run = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _sweep(self) -> None:
        for run in self._root.glob("run-*"):
            try:
                lock = os.open(run / "lock", os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_run(run)
            except BlockingIOError:
                pass
            finally:
                os.close(lock)


def _remove_run(run: Path) -> None:
    link = run / _SOCKETS
    if link.is_symlink():
        sockets = link.readlink()
        if sockets.name.startswith("mlsvc-") and not sockets.is_symlink():
            shutil.rmtree(sockets, ignore_errors=True)
    shutil.rmtree(run, ignore_errors=True)


def _why_it_ended(language: str, code: int | None) -> str:
    """Say in a sentence why a process ended."""
    if code is None or code >= 0:
        return f"its {language} process ended (exit code {code})."
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    if -code == signal.SIGKILL:
        return f"its {language} process was killed ({name}), perhaps because memory ran out."
    return f"its {language} process crashed ({name})."
