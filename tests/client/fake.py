"""A server at the transport seam: answers from a script and remembers what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse

Answer = ApiResponse | Callable[[ApiRequest], ApiResponse]


@dataclass
class FakeTransport:
    """Gives the answers in their order."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[ApiRequest] = field(default_factory=list)

    def send(self, request: ApiRequest) -> ApiResponse:
        self.requests.append(request)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, ApiResponse) else answer(request)


def sent(request: ApiRequest) -> Any:
    """Body of a request, decoded."""
    return msgspec.json.decode(body_of(request))


def body_of(request: ApiRequest) -> bytes:
    """Body of a request, as the network would carry it."""
    body = request.body or b""
    return body if isinstance(body, bytes) else b"".join(body)


def answer(body: object = None, status: int = 200, **headers: str) -> ApiResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiResponse(status, names, iter([msgspec.json.encode(body)]))


def problem(status: int, message: str, **headers: str) -> ApiResponse:
    body = {"message": message, "link": "", "exceptionType": "SomeException"}
    return answer(body, status, **headers)


def tokens(number: int, expires_in: int = 3600) -> ApiResponse:
    return answer(
        {
            "token_type": "Bearer",
            "access_token": f"access-{number}",
            "expires_in": expires_in,
            "expires_on": 1_800_000_000,
            "refresh_token": f"refresh-{number}",
        }
    )


def lines(*pieces: bytes, then: BaseException | None = None) -> ApiResponse:
    def chunks() -> Iterator[bytes]:
        yield from pieces
        if then is not None:
            raise then

    return ApiResponse(200, {}, chunks())
