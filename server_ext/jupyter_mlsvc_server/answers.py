"""What answers have in common, whichever process and HTTP server writes them."""

from __future__ import annotations

from typing import Final

import msgspec

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.errors import (
    MlsvcServerError,
    NotAuthenticated,
    PayloadTooLarge,
    Unauthorized,
)

HEADERS: Final = {
    "Server": f"jupyter-mlsvc/{__version__}",
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer: nothing may be cached, framed, sniffed or executed."""

REQUEST_ID: Final = "X-Request-Id"

CORS_HEADERS: Final = {
    "Vary": "Origin",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding, Accept",
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Max-Age": "600",
}
"""Of answers to pages of an origin that may call, besides the name of the origin."""


def bearer_token(authorization: str) -> str | None:
    """Read the bearer token from the value of an Authorization header, if it has one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def nobody_known(*, token_was_sent: bool) -> Unauthorized:
    """Make the error for a caller who could not be identified."""
    return NotAuthenticated(token_was_sent=token_was_sent)


def body_too_large(limit: int, *, is_decoded: bool = False) -> PayloadTooLarge:
    """Make the error for a body over the limit, in bytes, as it came or once it is decoded."""
    what = "The decoded body" if is_decoded else "The body"
    return PayloadTooLarge(
        f"{what} is larger than this server takes here ({limit:,} bytes). Send it in parts, or "
        "have the limit raised (MlsvcApp.max_body_bytes, for uploads MlsvcApp.max_upload_bytes)."
    )


def error_body(error: MlsvcServerError, request_id: str) -> bytes:
    """Write the contract's Error body."""
    message = error.message or (
        f"The server failed to answer; its log has the reason under {request_id}."
    )
    problem = Problem(message=message, exception_type=error.exception_type, **error.details)
    return msgspec.json.encode(problem)
