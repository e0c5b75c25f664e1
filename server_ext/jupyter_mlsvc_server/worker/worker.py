"""A process that answers requests for one service version."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from jupyter_mlsvc_server.formats import packages
from jupyter_mlsvc_server.formats.blobs import CheckedBlobs, DamagedBlob
from jupyter_mlsvc_server.formats.problems import CodeProblem, SetupProblem
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    MAX_ANSWER_BYTES,
    Flush,
    Kind,
    Notes,
    RequestReader,
    Service,
    split_notes,
    with_notes,
)
from jupyter_mlsvc_server.formats.reply_buffer import ReplyBuffer, reply_buffer_path
from jupyter_mlsvc_server.formats.service_spec import Part
from jupyter_mlsvc_server.formats.shown_paths import shorten_warnings
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.streaming import LinkSink, Sink

_ANSWERS: Final = {Kind.SUCCESS, Kind.FAILURE, Kind.INVALID_INPUT}

_STREAM: Final = int(Flush.STREAM)

_MAX_REQUESTS_READ: Final = 128
"""Requests that are taken from the link together."""

_READ_AHEAD: Final = 2**12
"""Bytes of a request that is read before those that came with it are answered. One after the other
takes half as long as each between two runs of other code; large ones would have the first wait."""


class Observer(Protocol):
    """Learns of a run what its answer does not tell."""

    def raised(self, error: BaseException) -> None:
        """Take the exception that code in Python has raised."""

    def failed_in(self, part: Part, line: int, message: str) -> None:
        """Take where the expression begins that has failed in R."""

    def gave(self, name: str, value: Any) -> None:
        """Take the value of an output: what code in Python set, or JSON data of R's."""

    def streamed(self, name: str, kind: str) -> None:
        """Take the type of an output that is a stream."""


class Program(Protocol):
    """A service that is ready to run, in any language."""

    service: Service
    most: int
    """Requests that it answers together, 1 where each runs on its own."""
    retired_for: str
    """What :meth:`reset` could not put back, in a few words."""
    observer: Observer | None
    """What a trial wants to know of a run beside its answer."""
    sink: Sink | None
    """Takes the items of the request that is answered now, where its caller wants a stream."""

    def notes(self) -> list[str]:
        """Say what a publisher may want to know of the code beside how it runs."""

    def leave_init_code(self) -> None:
        """Forget all but the code that runs before each request, inputs and outputs included."""

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker.

        Raises
        ------
        SetupProblem
            The code that runs once in each worker has failed.
        """

    def read(self, body: bytes) -> Any:
        """Read a request, without running any code of the user's: what :meth:`answer` takes."""

    def answer(self, given: Any) -> tuple[Kind, bytes]:
        """Answer a request: what the answer is, and its body. Then :meth:`reset` is due."""

    def reset(self) -> bool:
        """Restore everything for the next request; return whether that was possible."""


@runtime_checkable
class MicroBatching(Program, Protocol):
    """A program that answers requests together that came at the same time."""

    def answer_all(self, bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
        """Answer up to ``most`` requests, in their order. Then :meth:`reset` is due, once.

        Requests that can't run, because an earlier one left what can't be put back, are
        ``Kind.RETIRED``. Another worker has to answer them, and :meth:`reset` returns false.
        """


@runtime_checkable
class Concurrent(Program, Protocol):
    """A program that runs up to ``most`` requests at a time."""

    def serve(
        self,
        link: socket.socket,
        with_times: Callable[[Kind, bytes, float, float], tuple[Kind, bytes]] | None,
    ) -> None:
        """Answer each request when it ends, until the link ends.

        Parameters
        ----------
        link
            The link.
        with_times
            What notes in an answer when its code ran, if anybody wants to know.
        """


Answer = Callable[[Any], tuple[Kind, bytes]]
AnswerAll = Callable[[list[bytes]], list[tuple[Kind, bytes]]]


def serve(make: Callable[[], Program], link: socket.socket) -> None:
    """Make a program, and answer requests until the link ends or the worker retires."""
    pid = os.getpid()
    try:
        program = make()
        service = program.service
        # First: the program takes the process as it is then for what each request is to find.
        reply_buffer = ReplyBuffer(link, reply_buffer_path(Path(service.work), pid))
        enter(program)
    except CodeProblem as problem:
        message = str(problem).encode("utf-8", "replace")
        link.sendall(ANSWER.pack(len(message), 0, Kind.NOT_SET_UP) + message)
        return
    if isinstance(program, Concurrent):
        link.sendall(ANSWER.pack(0, program.most, Kind.READY_CONCURRENT))
        program.serve(link, _with_times if service.is_traced else None)
        return
    with contextlib.suppress(ConnectionError):
        link.sendall(ANSWER.pack(0, program.most, Kind.READY))
        reader, is_traced = RequestReader(link), service.is_traced
        if isinstance(program, MicroBatching):
            answer_all = _timed_together(program) if is_traced else program.answer_all
            _serve_together(program, answer_all, reader, reply_buffer, pid)
        else:
            answer = _timed(program) if is_traced else program.answer
            _serve_in_turn(program, answer, reader, reply_buffer, pid)


def enter(program: Program) -> None:
    """Make this process a worker that can answer requests.

    Raises
    ------
    SetupProblem
        A file of the snapshot is damaged, or the code that runs once in each worker has failed.
    """
    service = program.service
    scratch = ScratchDir(
        scratch_directory(Path(service.work), os.getpid()),
        packages.split(service.manifest.files)[0] if service.manifest is not None else (),
        blob_path(service),
    )
    try:
        scratch.create()
    except DamagedBlob as damage:
        raise SetupProblem(str(damage)) from damage
    sys.path.insert(0, str(scratch.directory))
    sys.dont_write_bytecode = True
    shorten_warnings(str(scratch.directory))
    console = Console(service.console_limit)
    console.take_descriptors()
    _reseed()
    program.enter(console, scratch)
    _limit_memory(service.memory_limit)


def _timed(program: Program) -> Answer:
    """Return what answers a request and notes when its code ran."""

    def answer(given: Any) -> tuple[Kind, bytes]:
        began = monotonic()
        kind, body = program.answer(given)
        return _with_times(kind, body, began, monotonic())

    return answer


def _timed_together(program: MicroBatching) -> AnswerAll:
    """Return what answers requests together and notes when their code ran."""

    def answer_all(bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
        began = monotonic()
        answers = program.answer_all(bodies)
        ended = monotonic()
        return [_with_times(kind, body, began, ended) for kind, body in answers]

    return answer_all


def _with_times(kind: Kind, body: bytes, began: float, ended: float) -> tuple[Kind, bytes]:
    if kind is Kind.WITH_NOTES:
        notes, rest = split_notes(body)
        body = bytes(rest)
        notes = msgspec.structs.replace(notes, began=began, ended=ended)
    elif kind in _ANSWERS:
        notes = Notes(kind.value, began=began, ended=ended)
    else:
        return kind, body
    noted = with_notes(notes, body)
    return (Kind.WITH_NOTES, noted) if len(noted) <= MAX_ANSWER_BYTES else (Kind(notes.kind), body)


def _serve_in_turn(
    program: Program, answer: Answer, reader: RequestReader, reply_buffer: ReplyBuffer, pid: int
) -> None:
    """Answer one request after the other, until the link ends or the worker retires."""
    read, reset, put = program.read, program.reset, reply_buffer.put
    while requests := reader.read(_MAX_REQUESTS_READ):
        last = requests[-1][0]
        given = [None if len(body) > _READ_AHEAD else read(body) for _, _, body in requests]
        for (number, flush, body), read_ahead in zip(requests, given, strict=True):
            if flush == _STREAM:
                # Those before it come first.
                reply_buffer.flush()
                program.sink = LinkSink(number, reader, reply_buffer)
            kind, result = answer(read(body) if read_ahead is None else read_ahead)
            _end_if_forked(pid)
            # Where there is no queue, the server has time for each answer, and its caller waits.
            if flush == _STREAM:
                program.sink = None
                reader.forget(number)
            is_urgent = number == last or flush == _STREAM
            put(number, kind, result, Flush.NOW if is_urgent else flush)
            # The caller need not wait for this.
            if not reset():
                put(number, Kind.RETIRED, program.retired_for.encode(), Flush.NOW)
                return


def _serve_together(
    program: MicroBatching,
    answer_all: AnswerAll,
    reader: RequestReader,
    reply_buffer: ReplyBuffer,
    pid: int,
) -> None:
    """Answer all requests that wait in one go, until the link ends or the worker retires."""
    while requests := reader.read(program.most):
        answers = answer_all([body for _, _, body in requests])
        _end_if_forked(pid)
        numbers = [number for number, _, _ in requests]
        reader.forget(numbers[-1])
        reply_buffer.send(numbers, answers)
        if not program.reset():
            reply_buffer.put(numbers[-1], Kind.RETIRED, program.retired_for.encode(), Flush.NOW)
            return


def _end_if_forked(pid: int) -> None:
    """End a child that the user's code has forked and that came back here."""
    if os.getpid() != pid:
        os._exit(0)


def blob_path(service: Service) -> Callable[[str], Path]:
    """Give what finds the blob of a digest, and refuses a damaged one."""
    return CheckedBlobs(Path(service.blobs or ""), service.stamps).path


def scratch_directory(work: Path, pid: int) -> Path:
    """Name the working directory of a worker."""
    return work / f"worker-{pid}"


def _reseed() -> None:
    """Give each worker random numbers of its own; Python's ``random`` does that by itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _limit_memory(limit: int) -> None:
    """Let the process allocate so much on top of what it has."""
    if not limit or not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text("ascii", "replace")
    data = next(line for line in status.splitlines() if line.startswith("VmData:"))
    most = int(data.split()[1]) * 1024 + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
