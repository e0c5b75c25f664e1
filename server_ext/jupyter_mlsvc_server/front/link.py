"""The link between the server and the front: questions, answers, and what is told unasked.

Both ends are alike. A frame is a header and msgpack; many questions are open at a time, either end
may ask, and an error that answers a question is raised where it was asked, as what it was. What is
sent in one turn of the event loop goes out in one piece.
"""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from functools import partial
from logging import Logger, LoggerAdapter
from struct import Struct as Layout
from typing import Any, Final, cast

import msgspec

from jupyter_mlsvc_server import errors as base_errors
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.front.messages import Message
from jupyter_mlsvc_server.scoring import errors as scoring_errors
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import Ended, PendingRequest

_HEADER: Final = Layout("<IBQ")
"""Length of the payload, kind of the frame, number of the question."""
_LENGTH: Final = Layout("<I")

_HIGH_WATER: Final = 2**22
_PIECE: Final = 2**16


class _Frame(IntEnum):
    ASK = 0
    ANSWER = 1
    ERROR = 2
    CANCEL = 3
    TELL = 4


class LinkEnded(Exception):
    """The process at the other end is gone."""


class Failure(msgspec.Struct, frozen=True):
    """An error on its way."""

    kind: str
    status: int
    message: str
    headers: dict[str, str]


class CrossedError(MlsvcServerError):
    """An error of a kind that is not known at this end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = failure.status  # type: ignore[misc]
        self._headers = failure.headers

    @property
    def headers(self) -> dict[str, str]:
        """Those it had."""
        return self._headers


def failure_of(error: MlsvcServerError) -> Failure:
    """Pack an error."""
    return Failure(type(error).__name__, error.status, error.message, error.headers)


def error_of(failure: Failure) -> MlsvcServerError:
    """Unpack an error: of its own class where this end has it, else of its status's."""
    kind = _KINDS.get(failure.kind) or _BY_STATUS.get(failure.status)
    if kind is None or kind.status != failure.status:
        return CrossedError(failure)
    error = kind.__new__(kind)
    MlsvcServerError.__init__(error, failure.message)
    if isinstance(error, base_errors.TooManyRequests):
        error.retry_after = int(failure.headers.get("Retry-After", "1"))
    elif isinstance(error, base_errors.Unauthorized):
        error.token_was_sent = "error=" in failure.headers.get("WWW-Authenticate", "")
    return error


_KINDS: Final[dict[str, type[MlsvcServerError]]] = {
    name: kind
    for module in (base_errors, scoring_errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, MlsvcServerError)
}
_BY_STATUS: Final = {
    kind.status: kind for kind in _KINDS.values() if kind.__module__ == base_errors.__name__
} | {429: base_errors.TooManyRequests, 503: base_errors.Busy, 500: MlsvcServerError}

Handler = Callable[[Any], Awaitable[Any]]
Submit = Callable[[Any, Ended], PendingRequest]
Told = Callable[[Any], None]
"""Takes an answer, or the error that there is instead: a domain error or :class:`LinkEnded`."""


class Link(asyncio.BufferedProtocol):
    """One end of the link.

    Parameters
    ----------
    incoming
        Union of the messages that arrive here.
    asked
        What answers each kind of question; cancelled when the one who asked gives up.
    told
        What takes each kind of message that wants no answer.
    log
        Where faults of ours are told.
    submitted
        What answers questions of which there are too many for a task each.
    """

    def __init__(
        self,
        incoming: Any,
        asked: Mapping[type[Message], Handler],
        told: Mapping[type[Message], Callable[[Any], None]],
        log: Logger | LoggerAdapter[Any],
        submitted: Mapping[type[Message], Submit] | None = None,
    ) -> None:
        self._submitted = submitted or {}
        self._calls: dict[int, PendingRequest] = {}
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._asked = asked
        self._told = told
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Told, Any]] = {}
        self._decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._out = bytearray()
        self._is_flush_due = False
        # One for all reads: asyncio's own loop asks the system for 256 KiB at each.
        self._usual_room = memoryview(bytearray(_PIECE))
        self._room = self._usual_room
        self._filled = 0
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the other end is gone."""

    async def ask(self, question: Message, kind: Any = None) -> Any:
        """Ask, and wait for an answer of a kind.

        Raises
        ------
        LinkEnded
            The other end is gone, now or before it answered.
        MlsvcServerError
            What it raised.
        """
        await self._writable.wait()
        future: asyncio.Future[Any] = self._loop.create_future()
        number = self.submit(question, kind, partial(_settle, future))
        try:
            return await future
        except asyncio.CancelledError:
            self.give_up(number)
            raise

    @property
    def is_writable(self) -> bool:
        """Whether the other end keeps up with reading; who asks while it does not is to wait."""
        return self._writable.is_set()

    def submit(self, question: Message, kind: Any, told: Told) -> int:
        """Ask, and have the answer told; gives a number to :meth:`give_up` by.

        This is :meth:`ask` for those who have thousands of questions a second.

        Raises
        ------
        LinkEnded
            The other end is gone.
        """
        number = next(self._numbers)
        self._send(_Frame.ASK, number, question)
        self._open[number] = told, kind
        return number

    def give_up(self, number: int) -> None:
        """Want no answer any more; nothing happens where it has been told."""
        if self._open.pop(number, None) is not None and not self.ended.done():
            self._send(_Frame.CANCEL, number, None)

    def tell(self, message: Message) -> None:
        """Tell something that wants no answer; nothing happens where nobody is there."""
        if not self.ended.done():
            self._send(_Frame.TELL, 0, message)

    def close(self) -> None:
        """Close this end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _send(self, frame: _Frame, number: int, value: object) -> None:
        if self._transport is None or self.ended.done():
            raise LinkEnded
        out = self._out
        start = len(out)
        out += _HEADER.pack(0, frame, number)
        try:
            self._encoder.encode_into(value, out, -1)
        except BaseException:
            del out[start:]
            raise
        _LENGTH.pack_into(out, start, len(out) - start - _HEADER.size)
        if len(out) >= _PIECE:
            self._flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._out:
            out, self._out = self._out, bytearray()
            if self._transport is not None and not self.ended.done():
                self._transport.write(out)

    # --- protocol ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)

    def pause_writing(self) -> None:
        """Let nobody ask until the other end has read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let them ask again."""
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room to read into."""
        return self._room[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the frames that are whole."""
        room, at, end = self._room, 0, self._filled + nbytes
        while end - at >= _HEADER.size:
            length, frame, number = _HEADER.unpack_from(room, at)
            start = at + _HEADER.size
            if end < start + length:
                break
            at = start + length
            self._take(frame, number, room[start:at])
        self._filled = end - at
        if at or end == len(room):
            self._keep(room[at:end])

    def _keep(self, rest: memoryview) -> None:
        """Keep the beginning of a frame where there is room for all of it."""
        size = _PIECE
        if len(rest) >= _HEADER.size:
            size = max(size, _HEADER.size + _LENGTH.unpack_from(rest)[0])
        # A room just for a long frame, so that the rest of it is read to where it belongs.
        self._room = self._usual_room if size == _PIECE else memoryview(bytearray(size))
        self._room[: len(rest)] = rest

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is open, and stop what nobody waits for any more."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._writable.set()
        waiting = [told for told, _ in self._open.values()]
        self._open.clear()
        for told in waiting:
            self._pass_on(told, LinkEnded())
        for task in list(self._tasks.values()):
            task.cancel()
        for call in self._calls.values():
            call.abandon()

    # --- frames ------------------------------------------------------------------------------

    def _take(self, frame: int, number: int, payload: memoryview) -> None:
        if frame == _Frame.ASK:
            self._answer_later(number, self._decoder.decode(payload))
        elif frame == _Frame.TELL:
            message = self._decoder.decode(payload)
            self._told[type(message)](message)
        elif frame == _Frame.CANCEL:
            task = self._tasks.get(number)
            if task is not None:
                task.cancel()
            call = self._calls.pop(number, None)
            if call is not None:
                call.abandon()
        else:
            told, kind = self._open.pop(number, (None, None))
            if told is None:
                return
            if frame == _Frame.ANSWER:
                self._pass_on(told, self._decoder_of(kind).decode(payload))
            else:
                self._pass_on(told, error_of(self._decoder_of(Failure).decode(payload)))

    def _decoder_of(self, kind: Any) -> msgspec.msgpack.Decoder[Any]:
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = msgspec.msgpack.Decoder(kind)
        return decoder

    def _pass_on(self, told: Told, outcome: object) -> None:
        try:
            told(outcome)
        except Exception:  # noqa: BLE001  # the link is everybody's, and goes on
            self._log.exception("an answer could not be passed on")

    def _answer_later(self, number: int, question: Message) -> None:
        submit = self._submitted.get(type(question))
        if submit is not None:
            call = submit(question, partial(self._reply, number))
            if not call.is_over:
                self._calls[number] = call
            return
        task = self._loop.create_task(self._answer(number, question))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def _reply(self, number: int, outcome: ScoringAnswer | MlsvcServerError) -> None:
        self._calls.pop(number, None)
        if self.ended.done():
            return
        if isinstance(outcome, MlsvcServerError):
            self._send(_Frame.ERROR, number, failure_of(outcome))
        else:
            self._send(_Frame.ANSWER, number, outcome)

    async def _answer(self, number: int, question: Message) -> None:
        try:
            frame, value = _Frame.ANSWER, await self._asked[type(question)](question)
        except MlsvcServerError as error:
            frame, value = _Frame.ERROR, failure_of(error)
        except Exception:  # noqa: BLE001  # a fault of ours is logged here, and told without detail
            self._log.error("%s failed\n%s", type(question).__name__, traceback.format_exc())
            frame, value = _Frame.ERROR, failure_of(MlsvcServerError(""))
        if not self.ended.done():
            self._send(frame, number, value)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # whoever asked has left
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
