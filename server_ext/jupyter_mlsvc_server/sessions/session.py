"""A session: one kernel of one person, in which one execution runs at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.models import (
    ExecuteRequest,
    ExecuteResponse,
    SessionInventory,
    WorkspaceObject,
)
from jupyter_mlsvc.wire.names import parameter_name
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.errors import InsufficientStorage, MachineFault
from jupyter_mlsvc_server.formats.refused_paths import hint_at_refused_path
from jupyter_mlsvc_server.sessions.agents import give
from jupyter_mlsvc_server.sessions.errors import (
    AgentRefused,
    ExecutionNotFound,
    KernelDied,
    ObjectNotFound,
    QueueIsFull,
    SessionGone,
)
from jupyter_mlsvc_server.sessions.execution import CANCELLED, Execution
from jupyter_mlsvc_server.sessions.files import OpenFile, WorkingDirectory, open_file
from jupyter_mlsvc_server.sessions.kernels import Kernel
from jupyter_mlsvc_server.storage.clock import Clock, now_text
from jupyter_mlsvc_server.storage.machine_faults import machine_fault

# Code may catch an interrupt, or be in native code that looks at it late: it is repeated.
_INTERRUPT_PAUSES: Final = (1.0, 1.0, 1.0, 2.0)
_NOT_RUN: Final = "The execution was not run: its caller went away while it waited."

_log = logging.getLogger("jupyter_mlsvc_server.sessions")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How much a session keeps."""

    output_bytes: int
    executions: int
    queue: int
    history: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """Specification of a session that a caller asked for; members are those of a session."""

    id: str
    name: str
    owner: Owner
    runtime_type: str
    created: str
    notebook: str | None = None
    lease_seconds: float | None = None


class Session:
    """A kernel with an owner, a queue, a history and a working directory.

    Executions run one at a time in the order in which they came; reading the console, the
    history, the files and the events of an execution does not wait for them.

    Attributes
    ----------
    id, name, owner, runtime_type
        As in the contract's list of sessions.
    directory
        The working directory.
    readable
        A folder that the kernel may read, and not change.
    created
        Time at which it was asked for, in the contract's form.
    notebook
        Path of the notebook whose own session it is, as its client gave it.
    is_loading
        Whether a snapshot is loaded before it is first used.
    on_switch
        Called whenever :attr:`state` may have changed because of executions.
    on_executed
        Called with how an execution ended.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        spec: SessionSpec,
        limits: SessionLimits,
        clock: Clock = time.monotonic,
    ) -> None:
        self.id = spec.id
        self.name = spec.name
        self.owner = spec.owner
        self.runtime_type = spec.runtime_type
        self.directory: Path = kernel.directory
        self.created = spec.created
        self.notebook = spec.notebook
        self._lease = spec.lease_seconds
        self.last_activity = now_text()
        self.is_loading = False
        self.on_switch: Callable[[], None] = lambda: None
        self.on_executed: Callable[[str], None] = lambda _state: None
        self.readable = kernel.folders.readable
        self.user = kernel.folders.user
        self.files = WorkingDirectory(kernel.directory, kernel.folders.incoming, self.user)
        self._kernel = kernel
        self._limits = limits
        self._turn = asyncio.Lock()
        self._executions: dict[str, Execution] = {}
        self._running: Execution | None = None
        self._last: Execution | None = None
        self._history: deque[str] = deque()
        self._history_size = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._used_at = self._renewed_at = clock()
        self._ended: str | None = None
        kernel.channel.on_orphan_output = self._on_orphan_output

    @property
    def state(self) -> str:
        """``starting``, ``busy`` while something runs or waits, else ``idle``."""
        if self.is_loading:
            return "starting"
        return "busy" if self._turn.locked() or self._tasks else "idle"

    @property
    def idle_seconds(self) -> float:
        """Seconds since it was last used; 0 while it is busy."""
        return self._clock() - self._used_at if self.state == "idle" else 0.0

    @property
    def lease_left(self) -> float | None:
        """Seconds left of the lease that its creator renews; None where it was given none."""
        if self._lease is None:
            return None
        return self._lease - (self._clock() - max(self._used_at, self._renewed_at))

    @property
    def object_suffix(self) -> str:
        """Suffix of the file that a workspace object is saved to."""
        return self._kernel.runtime.object_suffix

    @property
    def process_id(self) -> int | None:
        """Id of the kernel's process."""
        return self._kernel.process_id

    @property
    def execution_id(self) -> str | None:
        """Id of the execution that runs, else of the last one."""
        execution = self._running or self._last
        return None if execution is None else execution.id

    @property
    def queued(self) -> int:
        """How many executions wait for their turn."""
        return sum(not (each.is_begun or each.is_finished) for each in self._executions.values())

    def touch(self) -> None:
        """Note that the session is used, which renews its lease."""
        self._used_at = self._clock()
        self.last_activity = now_text()

    def renew(self) -> None:
        """Renew the lease that its creator gave it; this is no use of it."""
        self._renewed_at = self._clock()

    # --- executions --------------------------------------------------------------------------

    async def execute(self, request: ExecuteRequest) -> ExecuteResponse:
        """Run code and wait for its result (contract: ``executeCode``).

        What the code raises is a result, not an error.

        Raises
        ------
        InvalidName, QueueIsFull, SessionGone
            As :meth:`begin`.
        """
        return await self.begin(request).response()

    async def start_execution(
        self,
        request: ExecuteRequest,
        execution_id: str | None = None,
        inputs_file: Path | None = None,
    ) -> str:
        """Queue code and return the id of its execution at once; see :meth:`events`.

        Where the id is that of an execution that is known, nothing is started: a caller that
        missed the answer may ask again.
        """
        if execution_id in self._executions:
            return execution_id
        return self.begin(request, execution_id, inputs_file).id

    def begin(
        self,
        request: ExecuteRequest,
        execution_id: str | None = None,
        inputs_file: Path | None = None,
    ) -> Execution:
        """Queue code; it runs whether or not somebody waits for it.

        Parameters
        ----------
        request
            What to run.
        execution_id
            Id of the execution; one is made up by default.
        inputs_file
            As for :class:`Execution`; of :meth:`new_file`. It is removed when this has run.

        Raises
        ------
        InvalidName
            An input or output is no valid name.
        QueueIsFull
            Too many wait already.
        SessionGone
            The session has ended.
        """
        self._require_alive()
        unfinished = sum(not each.is_finished for each in self._executions.values())
        if unfinished > self._limits.queue:
            raise QueueIsFull(self._limits.queue)
        execution = Execution(
            request,
            limit=self._limits.output_bytes,
            runtime_type=self.runtime_type,
            execution_id=execution_id,
            inputs_file=inputs_file,
            folder=str(self.directory),
        )
        self._executions[execution.id] = execution
        self._drop_old_executions()
        task = asyncio.create_task(self._run(execution))
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_finished, execution))
        if len(self._tasks) == 1:
            self.on_switch()
        return execution

    def events(self, execution_id: str, since: int = 0) -> AsyncIterator[bytes]:
        """Follow the events of an execution, as lines of JSON, until its result has come.

        Parameters
        ----------
        execution_id
            From :meth:`start_execution`.
        since
            Number of the first event that is wanted.

        Raises
        ------
        ExecutionNotFound
            There is none, or it was dropped as old.
        """
        return self._find(execution_id).log.follow(since)

    def executions(self) -> list[models.Execution]:
        """Describe the executions that are still kept, oldest first (our addition)."""
        return [execution.describe() for execution in self._executions.values()]

    async def cancel(self, execution_id: str | None = None) -> bool:
        """Interrupt the execution that runs; those that wait go on (contract: ``cancelSession``).

        The interrupt is repeated for some seconds; code that withstands it goes on, because
        only ending the session could stop it. The session and its objects are kept.

        Parameters
        ----------
        execution_id
            The execution to cancel, and no other: one that waits is taken out of the queue, one
            that has ended is left alone. By default the one that runs.

        Returns
        -------
        bool
            Whether nothing of it runs any more.

        Raises
        ------
        ExecutionNotFound
            There is none of this id, or it was dropped as old.
        """
        execution = self._running if execution_id is None else self._find(execution_id)
        if execution is None:
            return True
        if not execution.is_begun:
            execution.finish(error=f"{CANCELLED} before it began", changed_files=[])
            return True
        execution.is_cancelled = True
        for pause in _INTERRUPT_PAUSES:
            if self._running is not execution:
                return True
            await self._kernel.interrupt()
            if await execution.is_finished_within(pause):
                return True
        return False

    def console_output(self) -> str:
        """Text of the running, else the last execution (contract: ``getSessionConsoleOutput``)."""
        execution = self._running or self._last
        return "" if execution is None else str(execution.console)

    def history(self) -> list[str]:
        """Code of the executions, oldest first (contract: ``listSessionHistory``)."""
        return list(self._history)

    def new_file(self) -> Path:
        """Name a file for large inputs that are there before their execution is."""
        return self._kernel.folders.home / f"inputs-{uuid.uuid4().hex}"

    async def remove_unused(self, inputs_file: Path) -> None:
        """Remove a file of :meth:`new_file` if no execution has it."""
        if all(each.inputs_file != inputs_file for each in self._executions.values()):
            await asyncio.to_thread(inputs_file.unlink, missing_ok=True)

    async def _run(self, execution: Execution) -> None:
        try:
            await self._take_turn(execution)
        finally:
            if execution.inputs_file is not None:
                await asyncio.to_thread(execution.inputs_file.unlink, missing_ok=True)
                execution.inputs_file = None

    async def _take_turn(self, execution: Execution) -> None:
        async with self._turn:
            if execution.is_finished:
                return
            if execution.is_abandoned:
                execution.finish(error=_NOT_RUN, changed_files=[])
                return
            if self._ended is not None:
                execution.finish(error=self._end_sentence(), changed_files=[])
                return
            execution.begin()
            self._running = self._last = execution
            self._remember(execution.code)
            before = await asyncio.to_thread(self.files.state)
            try:
                error, outputs = await self._perform(execution)
            except Exception as problem:  # noqa: BLE001 - whoever waits gets an answer
                _log.exception("execution %s in session %s failed", execution.id, self.id)
                error, outputs = _sentence(problem), []
            finally:
                self._running = None
            changed = await asyncio.to_thread(self.files.changed_since, before)
            execution.finish(error=error, outputs=outputs, changed_files=changed)

    async def _perform(self, execution: Execution) -> tuple[str | None, list[WorkspaceObject]]:
        """Set inputs, run, read outputs; gives the error in a sentence, or the outputs."""
        kernel = self._kernel
        try:
            if execution.inputs_file is not None:
                await kernel.agent.ask("set", {}, source=execution.inputs_file)
            elif execution.inputs:
                given = {"values": execution.inputs, "types": execution.types}
                await kernel.agent.ask("set", given)
                # They may be large, and the execution is kept for replay.
                execution.inputs = {}
            reply = await kernel.channel.execute(execution.code, execution.on_output)
            execution.on_payload(reply.get("payload") or ())
            if reply["status"] != "ok":
                said = kernel.runtime.error_message(*execution.error(reply))
                hint = await asyncio.to_thread(hint_at_refused_path, said, str(execution.console))
                return said + hint, []
            if not execution.outputs:
                return None, []
            # Asked only now: the helper would overtake code that awaits something.
            return None, await self._read_outputs(execution.outputs)
        except (AgentRefused, MachineFault, InsufficientStorage) as refusal:
            return refusal.message, []
        except KernelDied as death:
            self.end(death.reason)
            return self._end_sentence(), []

    async def _read_outputs(self, names: list[str]) -> list[WorkspaceObject]:
        target = self._kernel.folders.home / f"outputs-{uuid.uuid4().hex}"
        try:
            answer = await self._kernel.agent.ask("get", {"names": names}, target=target)
            types, sizes = answer.get("types", {}), answer.get("sizes")
            values = (
                answer["values"]
                if sizes is None
                else await asyncio.to_thread(_read_values, target, sizes)
            )
        finally:
            await asyncio.to_thread(target.unlink, missing_ok=True)
        return [
            WorkspaceObject(name=name, value=values[name], type=types.get(name, UNSET))
            for name in names
        ]

    def _find(self, execution_id: str) -> Execution:
        if execution_id not in self._executions:
            raise ExecutionNotFound(execution_id)
        return self._executions[execution_id]

    def _on_finished(self, execution: Execution, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if execution.is_finished:
            self.on_executed(execution.state)
        self.touch()
        if not self._tasks and self._ended is None:
            self.on_switch()

    def _on_orphan_output(self, kind: str, content: dict[str, Any]) -> None:
        """Output of threads that outlive their cell belongs to what runs now."""
        if self._running is not None:
            self._running.on_output(kind, content)

    def _remember(self, code: str) -> None:
        """Keep the newest code, in number and in size."""
        self._history.append(code)
        self._history_size += len(code)
        while len(self._history) > 1 and (
            len(self._history) > self._limits.history
            or self._history_size > self._limits.output_bytes
        ):
            self._history_size -= len(self._history.popleft())

    def _drop_old_executions(self) -> None:
        """Keep the newest logs, in number and in bytes; those that run or wait are kept anyway."""
        finished = [each for each in self._executions.values() if each.is_finished]
        size = sum(each.log.size for each in finished)
        for oldest in finished:
            few = len(self._executions) <= self._limits.executions
            if few and size <= 2 * self._limits.output_bytes:
                return
            size -= oldest.log.size
            del self._executions[oldest.id]

    # --- workspace ---------------------------------------------------------------------------

    async def call_agent(
        self,
        op: str,
        data: dict[str, Any],
        *,
        source: Path | None = None,
        target: Path | None = None,
    ) -> dict[str, Any]:
        """Let the helper in the kernel do something when its turn comes.

        Parameters
        ----------
        op, data
            As described in ``kernel.agent``.
        source, target
            As described in :meth:`Agent.ask`.

        Raises
        ------
        AgentRefused
            It could not; the message says why.
        SessionGone
            The session has ended, before or while it did this.
        """
        async with self._turn:
            self._require_alive()
            try:
                if "staging" in data:
                    return await self._capture(op, data)
                return await self._kernel.agent.ask(op, data, source=source, target=target)
            except KernelDied as death:
                self.end(death.reason)
                raise SessionGone(self.id, death.reason) from None
            finally:
                self.touch()

    async def _capture(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        """Have a folder filled, and take it to where the kernel can't reach it any more."""
        folder = self._kernel.folders.exchange / uuid.uuid4().hex
        await asyncio.to_thread(folder.mkdir, mode=0o700)
        give(folder, self.user)
        try:
            answer = await self._kernel.agent.ask(op, {**data, "staging": str(folder)})
            await asyncio.to_thread(os.rename, folder, data["staging"])
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return answer

    async def objects(self) -> list[str]:
        """Names of the objects in the workspace (contract: ``listWorkspaceObjects``)."""
        answer = await self.call_agent("list", {})
        return sorted(each["name"] for each in answer["objects"])

    async def inventory(self, view: str = "", names: list[str] | None = None) -> SessionInventory:
        """Describe the workspace (our addition).

        Parameters
        ----------
        view
            ``summary`` is quicker and can't be compared; ``comparison`` has no versions.
        names
            Objects to describe; all by default.
        """
        answer = await self.call_agent(
            "inventory",
            {"summary": view == "summary", "comparison": view == "comparison", "names": names},
        )
        return msgspec.convert(answer["inventory"], SessionInventory)

    async def set_object(self, name: str, source: Path) -> None:
        """Set an object from the bytes in a file (contract: ``setWorkspaceObject``).

        They are a pickle in Python, and what ``save``, ``saveRDS`` or ``serialize`` wrote in R.
        The file may be gone afterwards.
        """
        name = parameter_name(name, self.runtime_type)
        await self.call_agent("set_pickled", {"name": name}, source=source)

    async def get_object(self, name: str) -> OpenFile:
        """Read an object as a pickle, in R as RData (contract: ``getWorkspaceObject``).

        Returns
        -------
        OpenFile
            Its bytes, in a file that has no name any more.
        """
        target = self._kernel.folders.home / f"object-{uuid.uuid4().hex}"
        try:
            await self._about_object("get_pickled", name, target=target)
            return await asyncio.to_thread(open_file, target)
        finally:
            await asyncio.to_thread(target.unlink, missing_ok=True)

    async def delete_object(self, name: str) -> None:
        """Delete an object (contract: ``deleteWorkspaceObject``)."""
        await self._about_object("delete", name)

    async def _about_object(self, op: str, name: str, target: Path | None = None) -> None:
        name = parameter_name(name, self.runtime_type)
        try:
            await self.call_agent(op, {"name": name}, target=target)
        except AgentRefused as refusal:
            if refusal.kind == "UnknownName":
                raise ObjectNotFound(name) from None
            raise

    # --- files -------------------------------------------------------------------------------

    async def list_files(self) -> list[str]:
        """Names of the files in the working directory (contract: ``listSessionFiles``)."""
        return await asyncio.to_thread(self.files.names)

    async def put_file(self, name: str, path: Path) -> None:
        """Move a file here, over one of that name (contract: ``uploadSessionFile``)."""
        await asyncio.to_thread(self.files.put, name, path)

    async def open_file(self, name: str) -> OpenFile:
        """Open a file for reading (contract: ``getSessionFile``)."""
        return await asyncio.to_thread(self.files.open, name)

    async def delete_file(self, name: str) -> None:
        """Delete a file (contract: ``deleteSessionFile``)."""
        await asyncio.to_thread(self.files.delete, name)

    # --- its end -----------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Store why the session has ended; calls that wait for their turn raise then."""
        if self._ended is None:
            self._ended = reason

    async def close(self, *, now: bool = False) -> None:
        """End the kernel and remove the working directory; may be called twice.

        Parameters
        ----------
        now
            Kill the process without giving it the chance to end by itself.
        """
        self.end("it was closed.")
        await self._kernel.stop(now=now)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def _require_alive(self) -> None:
        if self._ended is not None:
            raise SessionGone(self.id, self._ended)

    def _end_sentence(self) -> str:
        return f"The session has ended: {self._ended}"


def _read_values(path: Path, sizes: dict[str, int]) -> dict[str, msgspec.Raw]:
    """Read values that the helper wrote one after the other, as they are sent on."""
    opened = open_file(path)
    with opened.stream as file:
        # The sizes are what code of people's says.
        return {
            name: msgspec.Raw(file.read(min(size, opened.size))) for name, size in sizes.items()
        }


def _sentence(problem: Exception) -> str:
    fault = machine_fault(problem)
    return "The server could not run this; its log has the reason." if fault is None else str(fault)
