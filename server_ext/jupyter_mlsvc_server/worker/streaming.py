"""Outputs that are streams: generators and other iterators, whose items are sent as they come.

The declared type of such an output is that of the whole, so that callers who take no stream get
what the service declares: a ``vector`` of its items, a ``matrix`` of rows, a ``data.frame`` of the
pieces one below the other, the text of all pieces for ``character``, and a list for any other type.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from struct import Struct as Layout
from typing import Any, BinaryIO, Final, Protocol

from jupyter_mlsvc.wire.arrays import SCALARS
from jupyter_mlsvc.wire.json_values import ValueProblem, describe
from jupyter_mlsvc.wire.kinds import parameter_type
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import encode_output
from jupyter_mlsvc_server.formats.protocol import Flush, Kind, RequestReader
from jupyter_mlsvc_server.formats.reply_buffer import ReplyBuffer

_END: Final = object()
_SCALAR: Final = "a number, a string, true, false or null"
_NO_WHOLE: Final = frozenset({"numeric", "integer", "logical"})
"""Types that many items make no value of."""

_ANY: Final = "json"

PIECE: Final = Layout("<BQ")
"""Head of what the process of a call writes: kind, and bytes of the body."""


class CallerLeft(BaseException):
    """Nobody reads the stream any more; the code's ``except Exception`` has no say in it."""


class Sink(Protocol):
    """Takes the items of an answer."""

    def send(self, body: bytes) -> None:
        """Send an item, once there is room for it.

        Raises
        ------
        CallerLeft
            Nobody reads it.
        """


class LinkSink:
    """Sends items on the link of the worker."""

    def __init__(self, number: int, reader: RequestReader, replies: ReplyBuffer) -> None:
        self._number = number
        self._reader = reader
        self._replies = replies

    def send(self, body: bytes) -> None:
        """Send an item; where the server reads no more, this waits for it."""
        if self._reader.is_cancelled(self._number):
            raise CallerLeft
        try:
            self._replies.put(self._number, Kind.ITEM, body, Flush.NOW)
        except ConnectionError:
            raise CallerLeft from None


class PipeSink:
    """Sends items from the process of a call to its worker."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def send(self, body: bytes) -> None:
        """Send an item."""
        try:
            self._pipe.write(PIECE.pack(Kind.ITEM, len(body)) + body)
            self._pipe.flush()
        except BrokenPipeError:
            raise CallerLeft from None


def is_stream(value: object) -> bool:
    """Whether a value of an output is a stream: a generator, or another iterator."""
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


class Stream:
    """The items of an output as JSON data.

    Parameters
    ----------
    parameter
        The output.
    value
        Its iterator.

    Attributes
    ----------
    kind : str
        Type of the whole, as declared or, where it is not, as the first item tells.
    """

    def __init__(self, parameter: ParameterDefinition, value: Any) -> None:
        self.name = parameter.name
        self.kind = parameter.type
        self._value = value
        self._count = 0
        self._like: list[Any] | None = None
        """Names of the columns of the first piece, or the first row."""

    def __iter__(self) -> Iterator[Any]:
        """Give each item, and close the iterator at the end, however it comes.

        Raises
        ------
        ValueProblem
            An item does not fit the type of the whole.
        """
        if self.kind in _NO_WHOLE:
            self._close()
            raise self._no_whole()
        try:
            for item in self._steps():
                yield self._encode_next(item)
        finally:
            self._close()

    async def items(self) -> AsyncGenerator[Any, None]:
        """Give each item in the event loop that runs, and close the iterator at the end.

        Raises
        ------
        ValueProblem
            An item does not fit the type of the whole.
        """
        try:
            if self.kind in _NO_WHOLE:
                raise self._no_whole()
            if hasattr(type(self._value), "__anext__"):
                async for item in self._value:
                    yield self._encode_next(item)
            else:
                for item in self._value:
                    yield self._encode_next(item)
        finally:
            if hasattr(self._value, "aclose"):
                await self._value.aclose()
            else:
                self._close()

    def _no_whole(self) -> ValueProblem:
        return ValueProblem(self.name, f"a single value ({self.kind})", _stream_of(self.kind))

    def _encode_next(self, item: Any) -> Any:
        plain = self._encode(item)
        self._count += 1
        return plain

    def whole(self, items: list[Any]) -> Any:
        """Return the value of the output that has all items."""
        if self.kind == "character":
            return "".join(item for item in items if item is not None)
        if self.kind == "data.frame":
            names = self._like or []
            return {name: [cell for item in items for cell in item[name]] for name in names}
        return items

    def _steps(self) -> Iterator[Any]:
        if hasattr(type(self._value), "__anext__"):
            self._value = _steps(self._value)
        steps: Iterator[Any] = self._value
        return steps

    def _close(self) -> None:
        close = getattr(self._value, "close", None)
        if close is not None:
            close()

    def _encode(self, item: Any) -> Any:
        name = f"{self.name}[{self._count}]"
        if not self.kind:
            self.kind = _kind_of_whole(item)
        if self.kind == "vector":
            plain = encode_output("", item, name)
            if type(plain) not in SCALARS:
                raise ValueProblem(name, f"{_SCALAR} (an item of a vector)", describe(plain))
        elif self.kind == "matrix":
            plain = encode_output("vector", item, name)
            self._like = plain if self._like is None else self._like
            if len(plain) != len(self._like):
                expected = f"a row of {len(self._like)} values like the first (matrix)"
                raise ValueProblem(name, expected, f"one of {len(plain)}")
        elif self.kind == "data.frame":
            plain = encode_output("data.frame", item, name) or {}
            self._like = [*plain] if self._like is None else self._like
            if [*plain] != self._like:
                expected = f"a piece with the columns {self._like} like the first (data.frame)"
                raise ValueProblem(name, expected, f"one with {[*plain]}")
        else:
            plain = encode_output(self.kind, item, name)
        return plain


def _kind_of_whole(item: object) -> str:
    """Tell the type of a stream by its first item; any JSON where that is none of the types."""
    kind = parameter_type(item)
    if kind in {"data.frame", "matrix"}:
        return "data.frame" if kind == "data.frame" else _ANY
    if kind == "vector":
        return "matrix"
    return _ANY if kind is None else "vector"


def _stream_of(kind: str) -> str:
    return f"a stream, whose whole is no {kind}; declare the output as a vector"


def _steps(stream: Any) -> Iterator[Any]:
    """Give the items of an asynchronous generator, in an event loop of its own."""
    import asyncio

    async def step() -> Any:
        return await anext(stream, _END)

    async def close() -> None:
        if hasattr(stream, "aclose"):
            await stream.aclose()

    with asyncio.Runner() as runner:
        try:
            while (item := runner.run(step())) is not _END:
                yield item
        finally:
            runner.run(close())
