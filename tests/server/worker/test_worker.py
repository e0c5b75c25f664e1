"""How a worker takes requests that wait for it together."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    REQUEST,
    Flush,
    Kind,
    RequestReader,
    Service,
)
from jupyter_mlsvc_server.formats.reply_buffer import ReplyBuffer
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.program import Program, compile_service
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.worker import _READ_AHEAD, _serve_in_turn, _serve_together

Answer = tuple[int, Kind, bytes]


class Watched(Program):
    """A program that notes what it does, and fails to read a body that says so."""

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        super().enter(console, scratch)
        self.steps: list[str] = []

    def read(self, body: bytes) -> dict[str, Any] | Exception:
        self.steps.append(f"read {len(body)}")
        return MemoryError() if b"broken" in body else super().read(body)

    def answer(self, given: dict[str, Any] | Exception) -> tuple[Kind, bytes]:
        self.steps.append("answer")
        return super().answer(given)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.chdir(tmp_path)
    # A worker has temporary files in a folder of its own; this process gets its own back.
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", None)
    service = Service(
        spec=ServiceSpec(
            name=ServiceName("Sum"),
            version=Version("1.0"),
            revision_id="r1",
            code="y = x.sum()",
            inputs=(ParameterDefinition(name="x", type="vector"),),
            outputs=(ParameterDefinition(name="y", type="numeric"),),
        ),
        manifest=None,
        blobs=None,
        work=str(tmp_path),
        memory_limit=0,
        console_limit=1000,
    )
    return Watched(service, compile_service(service), {})


def serve(program: Program, folder: Path, *bodies: bytes) -> list[Answer]:
    """Answer requests that all wait from the beginning."""
    scratch = ScratchDir(folder / "scratch", (), Path)
    scratch.create()
    # Not before the test: pytest changes the environment in between.
    program.enter(Console(1000), scratch)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for number, body in enumerate(bodies):
            ours.sendall(REQUEST.pack(len(body), number, True) + body)
        ours.shutdown(socket.SHUT_WR)
        _serve_in_turn(
            program,
            program.answer,
            RequestReader(theirs),
            ReplyBuffer(theirs, folder / "out"),
            os.getpid(),
        )
        theirs.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: ours.recv(2**16), b""))
    answers = []
    while data:
        length, number, kind = ANSWER.unpack_from(data)
        end = ANSWER.size + length
        answers.append((number, Kind(kind), data[ANSWER.size : end]))
        data = data[end:]
    return answers


def test_requests_are_read_before_the_first_is_answered(program: Watched, tmp_path: Path) -> None:
    answers = serve(program, tmp_path, b'{"x": [1, 2]}', b'{"x": 1}', b"{", b'{"x": [3.5]}')
    assert [(number, kind) for number, kind, _ in answers] == [
        (0, Kind.SUCCESS),
        (1, Kind.INVALID_INPUT),
        (2, Kind.INVALID_INPUT),
        (3, Kind.SUCCESS),
    ]
    assert b'"y":3}' in answers[0][2]
    assert b'"y":3.5}' in answers[3][2]
    assert program.steps == ["read 13", "read 8", "read 1", "read 12", *["answer"] * 4]


class Together(Program):
    """A program that answers requests together, and hears of callers who have left meanwhile."""

    most = 4

    def answer_all(self, bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
        return [(Kind.SUCCESS, body) for body in bodies]

    def reset(self) -> bool:
        return True


def test_callers_who_have_left_are_forgotten_with_their_requests(
    program: Watched, tmp_path: Path
) -> None:
    ours, theirs = socket.socketpair()
    together = Together(program.service, program.compiled, {})
    with ours, theirs:
        reader = RequestReader(theirs)
        for number in range(1, 9):
            ours.sendall(REQUEST.pack(2, number, Flush.STREAM) + b"{}")
            ours.sendall(REQUEST.pack(0, number, Flush.CANCEL))
        ours.shutdown(socket.SHUT_WR)
        buffer = ReplyBuffer(theirs, tmp_path / "out")
        _serve_together(together, together.answer_all, reader, buffer, os.getpid())
    assert reader._cancelled <= {8}


def test_a_large_request_is_read_when_its_turn_comes(program: Watched, tmp_path: Path) -> None:
    large = b'{"x": [%s1]}' % (b"1," * _READ_AHEAD)
    answers = serve(program, tmp_path, b'{"x": [1, 2]}', large, b'{"x": [4]}')
    assert [number for number, _, _ in answers] == [0, 1, 2]
    assert b'"y":%d}' % (_READ_AHEAD + 1) in answers[1][2]
    assert program.steps == [
        *["read 13", "read 10"],
        "answer",
        *[f"read {len(large)}", "answer"],
        "answer",
    ]


def test_a_fault_in_reading_ends_the_worker_when_its_turn_comes(
    program: Watched, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = serve(program, tmp_path, b'{"x": [1, 2]}', b'"broken"', b'{"x": [4]}')
    assert [(number, kind) for number, kind, _ in answers] == [
        (0, Kind.SUCCESS),
        (1, Kind.FAULT),
        (1, Kind.RETIRED),
    ]
    assert "MemoryError" in capfd.readouterr().err
