"""The error body of the contract and the table of exception types and statuses."""

from __future__ import annotations

from typing import Final

import msgspec

STATUS_OF: Final[dict[str, int]] = {
    "BadRequestException": 400,
    "UnauthorizedException": 401,
    "ForbiddenException": 403,
    "NotFoundException": 404,
    "MethodNotAllowedException": 405,
    "ConflictException": 409,
    "GoneException": 410,
    "PayloadTooLargeException": 413,
    "UnsupportedMediaTypeException": 415,
    "TooManyRequestsException": 429,
    "InternalServerErrorException": 500,
    "NotImplementedException": 501,
    "BackEndBusyException": 503,
    "TimeoutException": 504,
}
"""Status of each ``exceptionType`` that the server sends."""

TYPE_OF: Final[dict[int, str]] = {status: name for name, status in STATUS_OF.items()}
"""``exceptionType`` for each status that the server sends."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of every answer that is not a success (contract: ``Error``)."""

    message: str
    link: str = ""
    exception_type: str = "InternalServerErrorException"


def exception_type(status: int) -> str:
    """Name the ``exceptionType`` that goes with an HTTP status."""
    if status in TYPE_OF:
        return TYPE_OF[status]
    return "BadRequestException" if 400 <= status < 500 else "InternalServerErrorException"
