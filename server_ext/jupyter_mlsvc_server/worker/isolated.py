"""Services whose calls share what they change, and services that run each call in its own process.

Both leave out what :class:`Program` does to tell calls apart: the first because calls are meant to
share a connection or a cache, the second because nothing of the call's process is left.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
from collections.abc import Set as AbstractSet
from typing import Any, Final, NoReturn

from jupyter_mlsvc_server.formats.guard import dying_with
from jupyter_mlsvc_server.formats.problems import SetupProblem
from jupyter_mlsvc_server.formats.protocol import Kind
from jupyter_mlsvc_server.formats.threads import lasting_threads, threads, use_threads
from jupyter_mlsvc_server.worker.code_facts import CodeFacts
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.program import Program, newest_module
from jupyter_mlsvc_server.worker.random_state import reseed
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.streaming import PIECE, CallerLeft, PipeSink, Sink

_PIECE: Final = 2**20
_CRASHED: Final = 70


NO_THREADS: Final = (
    "The process that is forked for each call would lack them, and wait for them. Publish with "
    "isolation 'worker', or have the code of the call start them."
)
"""Why a service with isolation ``call`` can't have threads before a call."""


class SharingProgram(Program):
    """Runs the code of a service whose calls see what others have changed (isolation ``none``).

    Inputs are a call's own, and so are outputs and output files that were not there before the
    first call: a call that sets none must not answer another one's.
    """

    def _guard(self, facts: CodeFacts, made: AbstractSet[str]) -> None:
        """Look after nothing but inputs and outputs."""
        self._newest_module = newest_module()
        inputs = {parameter.name for parameter in self.service.spec.inputs}
        outputs = {parameter.name for parameter in self.service.spec.outputs}
        self._passing = inputs | (outputs - self.base.keys())
        self._kept_files = self.service.spec.output_files

    def _run_apart(self, values: dict[str, Any]) -> dict[str, Any]:
        return self._execute(values)

    def _put_names_back(self) -> None:
        for name in self._passing:
            if name in self.base:
                self._namespace[name] = self.base[name]
            else:
                self._namespace.pop(name, None)

    def _look(self) -> None:
        self._had_threads = False
        self._is_touched = self._scratch.is_modified()

    def reset(self) -> bool:
        """Get ready for the next request; return whether that was possible."""
        if self._has_run and self._is_touched:
            try:
                self._scratch.accept(self._kept_files)
            except OSError:
                self.retired_for = "files were left that can't be removed"
                return False
        self._has_run = False
        return not self._has_failed


class ForkingProgram(SharingProgram):
    """Runs each request in a process forked for it (isolation ``call``)."""

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker."""
        before = threads()
        super().enter(console, scratch)
        if lasting_threads(before):
            raise SetupProblem(f"The setup code starts threads. {NO_THREADS}")
        self._die_with_worker = dying_with(os.getpid())
        # What is here now the processes of requests share.
        gc.freeze()

    def answer(self, given: dict[str, Any] | Exception) -> tuple[Kind, bytes]:
        """Answer a request: what the answer is, and its body. Then :meth:`reset` is due."""
        if isinstance(given, Exception) or self.observer is not None:
            use_threads(self.service.threads)
            return super().answer(given)
        self._has_run, has_left = True, False
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)  # else it would not learn that nobody reads
            self._answer_and_end(given, writer)
        os.close(writer)
        try:
            answer = _receive(reader, pid, self.sink)
        except CallerLeft:
            answer = Kind.SUCCESS, b""
            has_left = True
        finally:
            os.close(reader)
        if has_left:
            # The process learns it as it sends its next item, and closes what it has open.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        # Whatever it has started ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if answer is None:
            _end_as(os.waitstatus_to_exitcode(status))
        self._is_touched = self._scratch.is_modified()
        return answer

    def reset(self) -> bool:
        """Restore the files; all else went with the process."""
        if not self._has_run:
            return not self._has_failed
        self._has_run = False
        return self._put_files_back() and not self._has_failed

    def _answer_and_end(self, given: dict[str, Any], writer: int) -> NoReturn:
        """Answer in the process of the request."""
        try:
            os.setpgid(0, 0)
            self._die_with_worker()
            use_threads(self.service.threads)
            pid = os.getpid()
            reseed()
            with os.fdopen(writer, "wb") as pipe:
                if self.sink is not None:
                    self.sink = PipeSink(pipe)
                kind, body = super().answer(given)
                self._temporary.clean()
                if os.getpid() == pid:
                    pipe.write(PIECE.pack(kind, len(body)) + body)
        finally:
            os._exit(_CRASHED)


def _receive(reader: int, pid: int, sink: Sink | None) -> tuple[Kind, bytes] | None:
    """Read the answer of a process, and pass its items on; None if it ends without an answer.

    Raises
    ------
    CallerLeft
        Nobody reads the items.
    """
    data, poll = bytearray(), select.poll()
    poll.register(reader, select.POLLIN)
    # Others that the code has started may hold the pipe open when the process is gone.
    ended = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    if ended >= 0:
        poll.register(ended, select.POLLIN)
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            piece = os.read(reader, _PIECE) if reader in ready else b""
            if not piece:
                return None
            data += piece
            while len(data) >= PIECE.size:
                kind, length = PIECE.unpack_from(data)
                end = PIECE.size + length
                if len(data) < end:
                    break
                if kind != Kind.ITEM or sink is None:
                    return Kind(kind), bytes(data[PIECE.size : end])
                sink.send(bytes(data[PIECE.size : end]))
                del data[:end]
    finally:
        if ended >= 0:
            os.close(ended)


def _end_as(code: int) -> NoReturn:
    """End this worker as the process of a request has ended, so that its caller gets the error."""
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code if code > 0 else _CRASHED)
