"""A process that runs a service once, for the publish check, and says what came of it.

It is forked from the template as a worker is, gets ready as a worker does and answers as a worker
does. Beside the answer it tells the line that raised and the types of outputs. Where the code ends
the process, or goes on for too long, nothing can be told: the file of :func:`trace_path` then has
the frames of that moment.
"""

from __future__ import annotations

import faulthandler
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, NoReturn

from jupyter_mlsvc.wire.kinds import parameter_type
from jupyter_mlsvc_server.formats.problems import CodeProblem, SetupProblem
from jupyter_mlsvc_server.formats.protocol import (
    Kind,
    Line,
    Trial,
    TrialReport,
    pack,
    receive_struct,
    without_notes,
)
from jupyter_mlsvc_server.formats.service_spec import Part, ServiceSpec
from jupyter_mlsvc_server.formats.trial import (
    RUNNING,
    SETTING_UP,
    STREAM,
    line_of,
    sources,
    trace_path,
)
from jupyter_mlsvc_server.worker.program import Program as CompiledProgram
from jupyter_mlsvc_server.worker.worker import MicroBatching, Program, enter

_OF_ANY_NUMBER: Final = "numeric"


def serve(make: Callable[[], Program], link: socket.socket) -> None:
    """Run the trial that the link brings, and report."""
    trial = receive_struct(link, Trial)
    try:
        program = make()
    except CodeProblem as problem:
        refused = TrialReport(kind=Kind.NOT_SET_UP, body=str(problem).encode("utf-8", "replace"))
        link.sendall(pack(refused))
        return
    stream = program.compiled.stream if isinstance(program, CompiledProgram) else ""
    if trial.only_compiles:
        streams = (stream,) if stream else ()
        link.sendall(pack(TrialReport(kind=Kind.SUCCESS, body=b"", streams=streams)))
        return
    service = program.service
    observer = program.observer = _Observer(service.spec, stream)
    with _watched(trace_path(Path(service.work), os.getpid())) as limit:
        limit(trial.start_seconds, f"{STREAM}{stream}\n{SETTING_UP}")
        if trial.body is None:
            program.leave_init_code()
        try:
            enter(program)
        except SetupProblem as problem:
            kind, body = Kind.NOT_SET_UP, str(problem).encode("utf-8", "replace")
        else:
            if trial.body is not None:
                observer.notes = tuple(program.notes())
            limit(trial.seconds, RUNNING)
            kind, body = _answer(program, trial.body or b"")
            if trial.body is not None and kind is Kind.SUCCESS and not program.reset():
                observer.retired_for = program.retired_for
    link.sendall(pack(observer.report(kind, body)))


def _answer(program: Program, body: bytes) -> tuple[Kind, bytes]:
    if isinstance(program, MicroBatching):
        return without_notes(*program.answer_all([body])[0])
    return without_notes(*program.answer(program.read(body)))


@contextmanager
def _watched(path: Path) -> Iterator[Callable[[float, str], None]]:
    """Have the frames written where the process ends in the block.

    Gives what limits the seconds from now on, and takes note of what is going on; when they are
    over, the process ends.
    """
    end = os._exit
    with path.open("w", encoding="utf-8") as trace:

        def tell_and_end(status: int) -> NoReturn:
            with suppress(Exception):
                faulthandler.dump_traceback(trace, all_threads=False)
            end(status)

        def limit(seconds: float, stage: str) -> None:
            trace.write(f"{stage}\n")
            trace.flush()
            faulthandler.dump_traceback_later(seconds, exit=True, file=trace)

        faulthandler.enable(trace)
        os._exit = tell_and_end
        try:
            yield limit
        finally:
            os._exit = end
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()


class _Observer:
    """Keeps what the report has beside the answer."""

    def __init__(self, spec: ServiceSpec, stream: str) -> None:
        self._spec = spec
        self._inputs = {parameter.name for parameter in spec.inputs}
        self._untyped = {each.name for each in spec.outputs if not each.type}
        self._line: Line | None = None
        self._types: dict[str, str] = {}
        self._streams = [stream] if stream else []
        self._needs_inputs = False
        self.retired_for = ""
        self.notes: tuple[str, ...] = ()

    def raised(self, error: BaseException) -> None:
        """Take the exception that code in Python has raised."""
        known = sources(self._spec)
        for code, number in _frames(error.__traceback__):
            if code.co_filename in known:
                self._line = line_of(*known[code.co_filename], number)
        missing = error.name if isinstance(error, NameError) else None
        if isinstance(error, KeyError) and error.args:
            missing = error.args[0]
        self._needs_inputs = isinstance(missing, str) and missing in self._inputs

    def failed_in(self, part: Part, line: int, message: str) -> None:
        """Take where the expression begins that has failed in R."""
        self._line = line_of(part, self._spec.parts[part], line)
        self._needs_inputs = any(f"'{name}'" in message for name in self._inputs)

    def gave(self, name: str, value: Any) -> None:
        """Take the value of an output: what code in Python set, or JSON data of R's."""
        if name in self._untyped and (kind := _type_of(value, self._spec.runtime_type)):
            self._types[name] = kind

    def streamed(self, name: str, kind: str) -> None:
        """Take the type of an output that is a stream."""
        self._streams.append(name)
        if name in self._untyped and kind:
            self._types[name] = kind

    def report(self, kind: Kind, body: bytes) -> TrialReport:
        """Report with the answer."""
        return TrialReport(
            kind=kind,
            body=body,
            line=self._line,
            types=self._types,
            streams=tuple(dict.fromkeys(self._streams)),
            needs_inputs=self._needs_inputs,
            retired_for=self.retired_for,
            notes=self.notes,
        )


def _type_of(value: Any, runtime_type: str) -> str | None:
    if runtime_type == "R" and isinstance(value, dict):
        columns = [*value.values()]
        is_table = columns and all(isinstance(column, list) for column in columns)
        return "data.frame" if is_table and len(set(map(len, columns))) == 1 else None
    kind = parameter_type(value)
    # The next answer may have a fraction where this one has none.
    return _OF_ANY_NUMBER if kind == "integer" else kind


def _frames(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next
