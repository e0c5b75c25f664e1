"""Answers item by item: server-sent events, or JSON objects one a line, as callers ask by Accept.

An item is ``{"output": NAME, "value": …}``. After the last one comes the ``WebServiceResult``
without the outputs that were streamed, or an Error body where no result can be. As events these are
``item``, ``result`` and ``error``; otherwise a line each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE as ARROW
from jupyter_mlsvc_server.api.accept import qualities
from jupyter_mlsvc_server.api.responses import error_body
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.stream import AnswerStream

EVENT_STREAM: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"

KEEP_ALIVE_SECONDS: Final = 15.0
"""Proxies end what is silent for a minute, many sooner."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How the parts of an answer are written.

    Attributes
    ----------
    media_type
        Its media type.
    keep_alive
        What is sent where no item comes for a while; readers pass over it.
    """

    media_type: str
    keep_alive: bytes

    def part(self, event: str, body: bytes) -> bytes:
        """Write an item, a result or an error."""
        if self.media_type == NDJSON:
            return body + b"\n"
        return b"event: %b\ndata: %b\n\n" % (event.encode(), body)

    def items(self, bodies: list[bytes]) -> bytes:
        """Write several items."""
        return b"".join([self.part("item", body) for body in bodies])

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer; nginx else keeps an answer until it is whole."""
        return {
            "Content-Type": self.media_type,
            "Cache-Control": "no-store, no-transform",
            "X-Accel-Buffering": "no",
        }


_LINES: Final = StreamFormat(NDJSON, b" ")
"""Spaces before a value are JSON. An empty line is none, and some readers stop at it."""

_FORMATS: Final = {
    EVENT_STREAM: StreamFormat(EVENT_STREAM, b": keep-alive\n\n"),
    NDJSON: _LINES,
    "application/ndjson": _LINES,
    "application/jsonl": _LINES,
}
_TAKEN: Final = {*_FORMATS, "application/json", ARROW}


def stream_format(accept: str) -> StreamFormat | None:
    """Return the format of a stream that a caller asks for; None where it takes none.

    Parameters
    ----------
    accept
        The header. Of several types the one of the highest quality counts, then the first.
    """
    accept = accept.lower()
    if "event-stream" not in accept and "json" not in accept:
        return None
    named = qualities(accept)
    wanted = {name: q for name, q in named.items() if name in _TAKEN and q > 0}
    wanted.setdefault("application/json", named.get("*/*", 0.0))
    return _FORMATS.get(max(wanted, key=wanted.__getitem__, default=""))


async def parts_of(
    stream: AnswerStream, written: StreamFormat, items: list[bytes], request_id: str
) -> AsyncGenerator[bytes]:
    """Give what is sent, as it comes; the code stops where this is closed before the end.

    Parameters
    ----------
    items
        Those that are there already.
    """
    try:
        while items or stream.outcome is None:
            yield written.items(items) if items else written.keep_alive
            items = await stream.read(KEEP_ALIVE_SECONDS)
        yield last_part(stream.outcome, written, request_id)
    finally:
        stream.leave()


def last_part(
    outcome: ScoringAnswer | MlsvcServerError, written: StreamFormat, request_id: str
) -> bytes:
    """Write what comes after the last item."""
    if isinstance(outcome, MlsvcServerError):
        return written.part("error", error_body(outcome, request_id))
    if outcome.entry is not None:
        outcome.entry.request_id = request_id
    return written.part("result", bytes(outcome.body))
