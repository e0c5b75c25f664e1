"""A service in R: a worker in Python reads requests and writes results, R runs the code."""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import ReadInput, encode_output, input_decoder, plain_input
from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.formats.problems import CodeProblem, SnapshotProblem, refuse_missing
from jupyter_mlsvc_server.formats.protocol import Kind, Service
from jupyter_mlsvc_server.formats.r_code import for_r
from jupyter_mlsvc_server.formats.refused_paths import hint_at_refused_path
from jupyter_mlsvc_server.formats.shown_paths import without_folders, without_paths
from jupyter_mlsvc_server.worker.codec import ServiceCodec, UnserializableOutput
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.r_process import (
    RCrashed,
    RProcess,
    guard_group,
)
from jupyter_mlsvc_server.worker.read_only import write_nothing_else
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.session_settings import notes_on_variables, variables_read_in_r
from jupyter_mlsvc_server.worker.streaming import Sink
from jupyter_mlsvc_server.worker.temporary import temporary_directory
from jupyter_mlsvc_server.worker.worker import Observer

_CRASHED: Final = 70
"""Exit code of a worker whose R has crashed."""

_PLACE: Final = re.compile(r"<text>:(\d+):(\d+): (.*)")


def prepare(service: Service) -> tuple[RProgram, dict[str, str]]:
    """Try whether R can restore the snapshot and parse the code.

    Returns
    -------
    tuple
        The program and the names that were lost, with the reasons.

    Raises
    ------
    CodeProblem
        The code is no R, or needs something that the snapshot does not hold; or there is no R.
    SnapshotProblem
        The snapshot can't be restored.
    """
    temporary = Path(service.work) / "template.tmp"
    try:
        process = RProcess(service, Path(service.work), temporary)
        process.close()
    except DamagedBlob as damage:
        raise SnapshotProblem(str(damage)) from damage
    except RCrashed as crash:
        if crash.was_from_outside:
            _end_like(crash)
        raise SnapshotProblem(
            "R could not be started with the service's snapshot; the server's log has what it said."
        ) from crash
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    reply = process.reply
    if "syntax" in reply:
        what = reply["syntax"]["what"]
        source = service.spec.parts[what]
        raise CodeProblem(
            f"{what} has a syntax error in {_place(reply['syntax']['message'], source)}"
        )
    if "snapshot" in reply:
        raise SnapshotProblem(reply["snapshot"])
    lost: dict[str, str] = reply["lost"]
    if service.manifest is not None:
        refuse_missing(service, lost, reply["needed"])
    return RProgram(service), lost


class RProgram:
    """Has R run a service's code, each time in a fork of its own.

    Parameters
    ----------
    service
        What was published; R can run it.
    """

    most: int = 1
    """Requests that it answers at once."""
    retired_for: str = "files were left that can't be removed"
    sink: Sink | None = None
    """Not used: R has no streams."""

    def __init__(self, service: Service) -> None:
        self.observer: Observer | None = None
        self._prepare(service)

    def notes(self) -> list[str]:
        """Name what the session may have had that changes results and that calls don't have."""
        return notes_on_variables(variables_read_in_r("\n".join(self.service.spec.parts.values())))

    def leave_init_code(self) -> None:
        """Forget all but the code that runs before each request, inputs and outputs included."""
        spec = self.service.spec.without_code()
        self._prepare(msgspec.structs.replace(self.service, spec=spec))

    def _prepare(self, service: Service) -> None:
        """Make of a service what each request needs."""
        self.service = service
        self._codec = ServiceCodec(service, _decoder)
        self._types = {parameter.name: parameter for parameter in service.spec.outputs}

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Start R, in the worker."""
        self._console = console
        self._scratch = scratch
        guard_group()
        temporary = temporary_directory(Path(self.service.work), os.getpid())
        temporary.mkdir(mode=0o700)
        write_nothing_else(self.service, scratch, temporary)
        try:
            self._r = RProcess(self.service, scratch.directory, temporary)
        except RCrashed as crash:
            _end_like(crash)
        self._r.limit_memory(self.service.memory_limit)

    def read(self, body: bytes) -> bytes | Exception:
        """Read a request: the inputs for R, or what is wrong with it or went wrong here."""
        try:
            return msgspec.json.encode(self._codec.inputs(body))
        except Exception as error:  # noqa: BLE001  # concerns this request only
            return error

    def answer(self, given: bytes | Exception) -> tuple[Kind, bytes]:
        """Answer a request: what the answer is, and its body. Then :meth:`reset` is due."""
        if isinstance(given, InvalidInput):
            return self._codec.reject(given)
        if isinstance(given, Exception):
            return _fault(given)
        try:
            self._console.begin()
            return self._run(given)
        except RCrashed as crash:
            # As with code in Python that crashes: this request fails and the worker is replaced.
            print(f"R has crashed; it wrote: {self._console.text()[-2000:]}", file=sys.__stderr__)
            _end_like(crash)
        except Exception as error:  # noqa: BLE001  # a fault of ours ends this request only
            return _fault(error)

    def reset(self) -> bool:
        """Put the files back; all else went with the fork."""
        try:
            if self._scratch.is_modified():
                self._scratch.reset()
        except OSError:
            return False
        return True

    def _run(self, request: bytes) -> tuple[Kind, bytes]:
        reply = self._r.ask(request)
        message = without_paths(reply.get("error", ""), [str(self._scratch.directory)])
        if message:
            message += hint_at_refused_path(message, self._console.text())
        outputs: dict[str, Any] = {}
        if message and self.observer is not None:
            self.observer.failed_in(reply["part"], reply["line"], message)
        elif message:
            message = without_folders(message)
        if not message:
            try:
                outputs = self._outputs(reply)
            except UnserializableOutput as error:
                message = str(error)
                self._console.write_last(f"{message}\n")
        changed = self._scratch.changed_files() if self._scratch.is_modified() else []
        return self._codec.result(message, outputs, self._console, self._scratch, changed)

    def _outputs(self, reply: dict[str, Any]) -> dict[str, Any]:
        if "unfit" in reply:
            raise UnserializableOutput(reply["unfit"])
        types = self._types
        if "not_set" in reply:
            raise UnserializableOutput.not_set(reply["not_set"], types[reply["not_set"]].type)
        values = reply["outputs"]
        if self.observer is not None:
            for name in types:
                self.observer.gave(name, values[name])
        return {name: _output(parameter, values[name]) for name, parameter in types.items()}


def _end_like(crash: RCrashed) -> NoReturn:
    """End this process as R has ended: the server is to see whether somebody ended it."""
    if crash.ended_by:
        os.kill(os.getpid(), crash.ended_by)
    os._exit(_CRASHED)


def _fault(error: Exception) -> tuple[Kind, bytes]:
    traceback.print_exception(error, file=sys.__stderr__)
    return Kind.FAULT, b""


def _decoder(definition: ParameterDefinition) -> ReadInput:
    """Give what checks an input, and makes of it JSON that R reads as it is declared.

    Where columns are known they are read as for code in Python, so that the same is refused.
    """
    check = input_decoder(definition) if definition.columns else None
    times = [
        column.name
        for column in definition.columns or ()
        if column.type.startswith(("datetime64", "timedelta64"))
    ]

    def read(value: Any, name: str) -> Any:
        plain = plain_input(definition, value, name)
        if check is not None and plain is not None:
            frame = check(plain, name)
            # R counts seconds.
            plain |= {time: [_seconds(each) for each in frame[time]] for time in times}
        return for_r(plain, name)

    return read


def _seconds(moment: Any) -> float | None:
    if moment != moment:  # noqa: PLR0124  # a time that is missing
        return None
    seconds: float = (moment.timestamp if hasattr(moment, "timestamp") else moment.total_seconds)()
    return seconds


def _output(parameter: ParameterDefinition, value: Any) -> Any:
    try:
        return encode_output(parameter.type, value, parameter.name)
    except ValueProblem as problem:
        raise UnserializableOutput(f"Output {problem}") from problem


def _place(message: str, source: str) -> str:
    """Describe a syntax error in one text with its line and a caret."""
    found = _PLACE.search(message)
    if found is None:
        return f"the code: {message}"
    line, column = int(found[1]), int(found[2])
    lines = source.splitlines()
    if not 1 <= line <= len(lines) or not column:  # R found the end where it wanted more
        line = min(max(line - 1, 1), max(len(lines), 1))
        column = len(lines[line - 1]) + 1 if lines else 1
    text = lines[line - 1] if lines else ""
    shown = text.lstrip()
    start = max(column - 1 - (len(text) - len(shown)), 0)
    return f"line {line}: {found[3]}\n    {shown}\n    {' ' * start}^"
