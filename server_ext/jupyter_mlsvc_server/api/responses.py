"""Answers: what all have in common, and the kinds there are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.errors import MlsvcServerError, PayloadTooLarge
from jupyter_mlsvc_server.formats.json_pieces import json_pieces

HEADERS: Final = {
    "Server": f"jupyter-mlsvc/{__version__}",
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer: nothing may be cached, framed, sniffed or executed."""

PAGE_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of answers that a browser may show as a page or take into one; a call's never is."""

TLS_HEADERS: Final = {"Strict-Transport-Security": "max-age=31536000"}
"""Of the same answers over TLS: a browser asks by nothing else for a year."""

REQUEST_ID: Final = "X-Request-Id"

CORS_HEADERS: Final = {
    "Vary": "Origin",
    "Access-Control-Allow-Headers": (
        "Authorization, X-API-Key, Content-Type, Content-Encoding, Accept, If-None-Match"
    ),
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Expose-Headers": "ETag, X-Request-Id, Retry-After",
    "Access-Control-Max-Age": "600",
}
"""Of answers to pages of an origin that may call, besides the name of the origin."""

_JSON: Final = "application/json"

_log = logging.getLogger("jupyter_mlsvc_server")


def json_response(value: object = None, status: int = 200) -> Response:
    """Make an answer of a value as compact JSON; ``None`` makes an empty body."""
    return Response(b"" if value is None else msgspec.json.encode(value), status)


def indented_json(value: object) -> bytes:
    """Write a value as indented JSON, for people who read it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def bytes_response(
    body: bytes,
    media_type: str = "application/octet-stream",
    *,
    status: int = 200,
    file_name: str | None = None,
) -> Response:
    """Make an answer of bytes as they are.

    Parameters
    ----------
    file_name
        Under which a client may keep them.
    """
    headers = {} if file_name is None else named(file_name)
    # As a header: as a media type, a text would get a charset that the contract does not have.
    return Response(body, status, headers={"Content-Type": media_type, **headers})


def large_response(value: object) -> Response:
    """Make an answer of a value that may be large, as :func:`json_pieces` says."""
    pieces = json_pieces(value)
    beginning = list(islice(pieces, 2))
    if len(beginning) == 1:
        return Response(beginning[0])
    return StreamedResponse(_one_by_one(chain(beginning, pieces)), headers={"Content-Type": _JSON})


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece
        # Sending waits only for a client that is slower.
        await asyncio.sleep(0)


def named(file_name: str) -> dict[str, str]:
    """Return the header that names what is sent."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"}


class StreamedResponse(Response):
    """An answer in pieces.

    Where making the pieces fails, the connection is cut, so that nobody takes the part that was
    sent for the whole. Where the client goes away, no more pieces are made.

    Parameters
    ----------
    pieces
        Are not begun where only the head is asked for.
    closing
        Is closed at the end, whether the pieces were begun or not.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        *,
        headers: Mapping[str, str],
        closing: contextlib.AbstractContextManager[object] | None = None,
    ) -> None:
        super().__init__(None, headers=headers)
        if "Content-Length" not in headers:
            del self.headers["Content-Length"]
        self._pieces = pieces
        self._closing = closing or contextlib.nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and pieces."""
        with self._closing:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._send_pieces(scope, receive, send)

    async def _send_pieces(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send_all(send))
        watching = asyncio.ensure_future(_until_disconnect(receive))
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except Exception:  # noqa: BLE001  # whatever it is, the answer has no end
            where = (scope["method"], scope["path"])
            _log.exception("%s %s failed in the middle of its answer", *where)
            scope["state"]["abort"]()
        finally:
            await _cancel(sending, watching)

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_disconnect(receive: Receive) -> None:
    """Wait until the client is gone, or has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How large a body may be.

    Attributes
    ----------
    most
        Its bytes.
    setting
        What an administrator may raise; empty where nothing helps.
    """

    most: int
    setting: str = ""

    def exceeded(self, size: int | None = None, *, is_decoded: bool = False) -> PayloadTooLarge:
        """Make the error for a body over the limit, as it came or once it is decoded."""
        what = "The decoded body" if is_decoded else "The body"
        asked = "" if size is None else f" It was announced with {size:,}."
        advice = (
            f"Send it in parts, or have the limit raised ({self.setting})."
            if self.setting
            else "Nothing that is done here needs more."
        )
        return PayloadTooLarge(
            f"{what} is larger than this server takes here ({self.most:,} bytes).{asked} {advice}"
        )


def error_body(error: MlsvcServerError, request_id: str) -> bytes:
    """Write the contract's Error body."""
    message = error.message or (
        f"The server failed to answer; its log has the reason under {request_id}."
    )
    problem = Problem(
        message=message,
        exception_type=error.exception_type,
        request_id=request_id,
        **error.details,
    )
    return msgspec.json.encode(problem)


def with_request_id(body: bytes, request_id: str) -> bytes:
    """Add the id of its request to an Error body that a worker wrote."""
    return body[:-1] + b',"requestId":"%b"}' % request_id.encode()


def error_response(error: MlsvcServerError, request_id: str) -> Response:
    """Make the answer that an error is."""
    return Response(
        error_body(error, request_id), error.status, headers=error.headers, media_type=_JSON
    )
