"""The process that answers for many small models of one person, each at a link of its own.

A template and a worker for each model take some 16 MB, of which next to nothing is the model:
Python writes to what it uses, also where it only counts who refers to it. Here all models share
that.

It is made for models that are called now and then, and for answers that are beyond doubt. It loads
estimators of scikit-learn that have nobody else's code in them (``realtime.load_known_model``). It
answers one request after the other, those of one model together, and gives nothing but results and
refusals of inputs. Whatever else comes of a call is nobody's answer: the model leaves the host, and
workers of its own make the call again::

    server ── link of model 1 ──▶ ┌──────┐
           ── link of model 2 ──▶ │ host │ ──▶ result, or inputs refused ──▶ answer
           ── link of model 3 ──▶ └──────┘ ──▶ failed, printed, too large ─▶ RETIRED: a model leaves
                                           ──▶ can't be put back ──────────▶ the process ends

So calls may be lost here, by a crash as well, and the server makes them elsewhere. To the server
the end of a link is that of a worker; what it does about it is in ``scoring.hosted_pool``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import traceback
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc_server.formats.process_tree import Control
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    Exited,
    Fork,
    Forked,
    Kill,
    Kind,
    Prepared,
    RequestReader,
    Service,
)
from jupyter_mlsvc_server.formats.realtime import MODEL
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.micro_batching import MicroBatchingProgram
from jupyter_mlsvc_server.worker.model import Model, NotAModel
from jupyter_mlsvc_server.worker.program import Compiled, compile_service, newest_module
from jupyter_mlsvc_server.worker.realtime import load_known_model
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.temporary import TemporaryFiles, temporary_directory
from jupyter_mlsvc_server.worker.traceback_text import last_line
from jupyter_mlsvc_server.worker.worker import scratch_directory

_CERTAIN: Final = {Kind.SUCCESS, Kind.INVALID_INPUT}
"""Answers that workers of a model's own would give as well."""

_MAX_BYTES: Final = 2**16
"""Bytes of a request that is answered here; a larger one would have other models wait."""

_UNCERTAIN: Final = b""
_MANY: Final = 64
"""Models that have left, after which memory is given back to the system."""


class HostedProgram(MicroBatchingProgram):
    """Program of a model that shares its process, with one folder for temporary files.

    Parameters
    ----------
    service, compiled, namespace, model
        As of any program of a model.
    temporary
        The folder of all of them.
    """

    def __init__(
        self,
        service: Service,
        compiled: Compiled,
        namespace: dict[str, Any],
        model: Model,
        temporary: TemporaryFiles,
    ) -> None:
        super().__init__(service, compiled, namespace, model)
        self._shared_temporary = temporary

    def _temporary_files(self) -> TemporaryFiles:
        return self._shared_temporary

    def take_turn(self) -> None:
        """Get ready after others have run."""
        # What they have imported is as it should be, and nothing that a call of this one did.
        if newest_module() is not self._newest_module:
            self._forget_modules()


class _Hosted:
    """A model with its link."""

    def __init__(self, number: int, program: HostedProgram, link: socket.socket) -> None:
        self.number = number
        self.program = program
        self.link = link
        self.reader = RequestReader(link)

    def close(self) -> None:
        self.link.close()


class Host:
    """Loads models and answers for them until the control link ends.

    Parameters
    ----------
    control
        The link to the server.
    service
        What is common to all models: folders, limits and settings.
    """

    def __init__(self, control: Control, service: Service) -> None:
        self._control = control
        self._service = service
        self._hosted: dict[int, _Hosted] = {}
        """Models by the descriptors of their links."""
        self._last = 0
        self._dropped = 0
        self._poll = select.poll()

    def run(self) -> None:
        """Serve."""
        self._take_place()
        self._poll.register(self._control.link, select.POLLIN)
        self._control.send(Prepared({}))
        at_hand: set[int] = set()
        while True:
            ready = {fd for fd, _ in self._poll.poll(0 if at_hand else None)}
            if self._control.link.fileno() in ready:
                messages = self._control.receive()
                if messages is None:
                    return
                for message in messages:
                    self._obey(message)
            turn = (ready | at_hand) & self._hosted.keys()
            at_hand = {fd for fd in turn if self._serve(self._hosted[fd])}

    def _take_place(self) -> None:
        """Have the folders and the console that all models share."""
        work, pid = Path(self._service.work), os.getpid()
        self._scratch = ScratchDir(scratch_directory(work, pid), (), lambda _: Path())
        self._scratch.create()
        self._console = Console(self._service.console_limit)
        self._console.take_descriptors()
        self._temporary = TemporaryFiles(temporary_directory(work, pid), watches_shared=False)
        self._temporary.create()

    # --- models ------------------------------------------------------------------------------

    def _obey(self, message: object) -> None:
        if isinstance(message, Fork):
            link = socket.socket(fileno=self._control.descriptor())
            file = self._control.descriptor()
            self._last += 1
            self._control.send(Forked(message.ticket, self._last))
            self._load(self._last, message, link, file)
        elif isinstance(message, Kill):
            for hosted in list(self._hosted.values()):
                if hosted.number == message.pid:
                    self._drop(hosted)

    def _load(self, number: int, message: Fork, link: socket.socket, file: int) -> None:
        try:
            program = self._program(message, file)
        except Exception as error:  # noqa: BLE001  # whatever it is, the model is not for here
            why = str(error) if isinstance(error, NotAModel) else last_line(error)
            self._say(link, Kind.NOT_SET_UP, why.encode("utf-8", "replace"))
            link.close()
            self._control.send(Exited(number, 0))
            return
        finally:
            os.close(file)
        self._hosted[link.fileno()] = _Hosted(number, program, link)
        self._poll.register(link, select.POLLIN)
        with contextlib.suppress(ConnectionError):
            link.sendall(ANSWER.pack(0, program.most, Kind.READY))

    def _program(self, message: Fork, file: int) -> HostedProgram:
        assert message.spec is not None
        with os.fdopen(file, "rb", closefd=False) as content:
            model = load_known_model(memoryview(content.read()))
        service = msgspec.structs.replace(self._service, spec=message.spec)
        namespace: dict[str, Any] = {MODEL: model}
        program = HostedProgram(
            service, compile_service(service), namespace, model, self._temporary
        )
        program.enter(self._console, self._scratch)
        return program

    def _drop(self, hosted: _Hosted) -> None:
        """Forget a model; its memory is for others."""
        del self._hosted[hosted.link.fileno()]
        self._poll.unregister(hosted.link)
        hosted.close()
        self._control.send(Exited(hosted.number, 0))
        self._dropped += 1
        if self._dropped >= _MANY or not self._hosted:
            self._dropped = 0
            _give_memory_back()

    # --- requests ----------------------------------------------------------------------------

    def _serve(self, hosted: _Hosted) -> bool:
        """Answer what has come for a model; tells whether more is here already."""
        program = hosted.program
        try:
            requests = hosted.reader.read(program.most)
            if not requests:
                self._drop(hosted)
                return False
            answers = self._answers(program, [body for _, _, body in requests])
            if answers is None:
                self._leave(hosted, _UNCERTAIN)
                return False
            hosted.link.sendall(
                b"".join(
                    ANSWER.pack(len(body), number, kind) + body
                    for (number, _, _), (kind, body) in zip(requests, answers, strict=True)
                )
            )
        except ConnectionError:
            self._drop(hosted)
            return False
        if not program.reset():
            self._end(hosted)
        return hosted.reader.is_at_hand

    def _answers(
        self, program: HostedProgram, bodies: list[bytes]
    ) -> list[tuple[Kind, bytes]] | None:
        """Give the answers; None where a worker of the model's own is to answer."""
        if max(map(len, bodies)) > _MAX_BYTES:
            return None
        program.take_turn()
        answers = program.answer_all(bodies)
        return answers if all(kind in _CERTAIN for kind, _ in answers) else None

    def _leave(self, hosted: _Hosted, why: bytes) -> None:
        """Send a model away, whose requests are answered elsewhere."""
        is_well = hosted.program.reset()
        if not is_well:
            self._end(hosted)
        self._say(hosted.link, Kind.RETIRED, why)
        self._drop(hosted)

    def _end(self, hosted: _Hosted) -> None:
        """End the process, which is not as it should be, after word of whose doing that is."""
        why = hosted.program.retired_for or "it was changed in place"
        self._say(hosted.link, Kind.RETIRED, why.encode("utf-8", "replace"))
        os._exit(0)

    def _say(self, link: socket.socket, kind: Kind, text: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            link.sendall(ANSWER.pack(len(text), 0, kind) + text)


def serve(control: Control, service: Service) -> None:
    """Be a host until the server is gone."""
    try:
        Host(control, service).run()
    except BaseException:
        traceback.print_exc()
        raise


def _give_memory_back() -> None:
    """Have the C library return what is free to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
