"""The server's half of a trial: has a service run once, and puts what came of it into words."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final

import msgspec

from jupyter_mlsvc.wire.models import WebServiceResult
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.formats.protocol import (
    Kind,
    Line,
    Trial,
    TrialReport,
    pack,
    unpack_length,
)
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.formats.trial import RUNNING, STREAM, line_of, sources
from jupyter_mlsvc_server.scoring.errors import UnservableCode, ending

_STREAM: Final = re.compile(rf"^{re.escape(STREAM)}(.+)$", re.MULTILINE)
_FRAME: Final = re.compile(r'File "(?P<file>[^"]*)", line (?P<line>\d+)')


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial.

    Attributes
    ----------
    problem : str
        What went wrong, a sentence with the line; empty where all went well.
    answer : bytes
        The ``WebServiceResult`` in JSON; empty where there is none.
    types : dict
        Types of the outputs that are declared without one.
    streams : tuple of str
        Outputs that are streams.
    retired_for : str
        What was changed that can't be put back, so that a worker would have been replaced.
    notes : tuple of str
        What else the publisher may want to know.
    """

    problem: str = ""
    answer: bytes = b""
    types: dict[str, str] = {}
    streams: tuple[str, ...] = ()
    retired_for: str = ""
    notes: tuple[str, ...] = ()


async def receive_report(link: socket.socket) -> TrialReport:
    """Wait for the report of a trial.

    Raises
    ------
    ConnectionError
        The process has ended without one.
    """
    length = unpack_length(await _receive(link, 4))
    return msgspec.msgpack.decode(await _receive(link, length), type=TrialReport)


async def send_trial(link: socket.socket, trial: Trial) -> None:
    """Send what is to run."""
    await asyncio.get_running_loop().sock_sendall(link, pack(trial))


async def _receive(link: socket.socket, count: int) -> bytes:
    loop, parts = asyncio.get_running_loop(), bytearray()
    while len(parts) < count:
        data = await loop.sock_recv(link, count - len(parts))
        if not data:
            raise ConnectionError
        parts += data
    return bytes(parts)


def outcome_of(report: TrialReport, trial: Trial) -> TrialOutcome:
    """Put a report into words.

    Raises
    ------
    UnservableCode
        The code that runs once in each worker has failed.
    """
    if report.kind == Kind.NOT_SET_UP:
        raise UnservableCode(report.body.decode())
    if report.kind == Kind.SUCCESS:
        return TrialOutcome(
            answer=report.body,
            types=report.types,
            retired_for=report.retired_for,
            notes=report.notes,
        )
    if report.kind == Kind.INVALID_INPUT:
        return TrialOutcome(problem=msgspec.json.decode(report.body, type=Problem).message)
    if report.kind != Kind.FAILURE:
        return TrialOutcome(problem="The service could not be tried. The server's log says why.")
    if trial.body is None and report.needs_inputs:
        # In a call it has them.
        return TrialOutcome()
    message = msgspec.json.decode(report.body, type=WebServiceResult).error_message
    return TrialOutcome(
        problem=_with_line(message, report.line), answer=report.body, notes=report.notes
    )


def outcome_of_end(
    spec: ServiceSpec, trial: Trial, trace: str, code: int | None, *, is_late: bool
) -> TrialOutcome:
    """Put into words that the process has ended, or had to be ended.

    Raises
    ------
    UnservableCode
        That happened in the code that runs once in each worker.
    """
    is_set_up = f"{RUNNING}\n" in trace
    what = "The code" if trial.body is not None else "initCode"
    what, seconds = (what, trial.seconds) if is_set_up else ("setupCode", trial.start_seconds)
    if is_late or "\nTimeout (" in trace:
        message = f"{what} ran for more than {seconds:g} s and was stopped"
    else:
        message = f"{what} ended the process that it ran in ({ending(code)})"
    message = _with_line(message, _last_line(spec, trace))
    if not is_set_up:
        raise UnservableCode(message)
    yielded = _STREAM.search(trace)
    return TrialOutcome(problem=message, streams=(yielded[1],) if yielded else ())


def _last_line(spec: ServiceSpec, trace: str) -> Line | None:
    known = sources(spec)
    for found in _FRAME.finditer(trace):
        if found["file"] in known:
            return line_of(*known[found["file"]], int(found["line"]))
    return None


def _with_line(message: str, line: Line | None) -> str:
    message = message.rstrip(".")
    if line is None:
        return f"{message}."
    part = "" if line.part == "code" else f" of {line.part}"
    return f"{message}, in line {line.number}{part}: {line.text}"
