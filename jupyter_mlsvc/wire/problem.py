"""The error body of the contract and the table of exception types and statuses."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

STATUS_OF: Final[dict[str, int]] = {
    "BadRequestException": 400,
    "UnauthorizedException": 401,
    "ForbiddenException": 403,
    "NotFoundException": 404,
    "MethodNotAllowedException": 405,
    "NotAcceptableException": 406,
    "ConflictException": 409,
    "GoneException": 410,
    "PayloadTooLargeException": 413,
    "UnsupportedMediaTypeException": 415,
    "TooManyRequestsException": 429,
    "InternalServerErrorException": 500,
    "NotImplementedException": 501,
    "BackEndBusyException": 503,
    "TimeoutException": 504,
    "InsufficientStorageException": 507,
}
"""Status of each ``exceptionType`` that the server sends."""

TYPE_OF: Final[dict[int, str]] = {status: name for name, status in STATUS_OF.items()}
"""``exceptionType`` for each status that the server sends."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of every answer that is not a success (contract: ``Error``).

    The members after ``exception_type`` are our additions, there where they say something. A client
    that has words of its own for what helps shows ``reason`` and these, others show ``message``.
    """

    message: str
    link: str = ""
    exception_type: str = "InternalServerErrorException"
    error_code: str | UnsetType = UNSET
    """Name of the error, such as ``ServiceNotFound``."""
    reason: str | UnsetType = UNSET
    """The message without the advice of what to do."""
    operation: str | UnsetType = UNSET
    """``operationId`` of the call that helps."""
    parameter: str | UnsetType = UNSET
    """Member of the request by which it would be done all the same."""
    request_id: str | UnsetType = UNSET
    """Finds the request in the server's log, as the header ``X-Request-Id`` does."""
    console_output: str | UnsetType = UNSET
    """What the code of a service had printed when it failed."""
    inputs: dict[str, str] | UnsetType = UNSET
    """What is wrong with inputs of a service, by their names, where nothing else is wrong."""


def exception_type(status: int) -> str:
    """Name the ``exceptionType`` that goes with an HTTP status."""
    if status in TYPE_OF:
        return TYPE_OF[status]
    return "BadRequestException" if 400 <= status < 500 else "InternalServerErrorException"
