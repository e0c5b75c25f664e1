"""Requests of a widget's front end, which the kernel sends to the server with its own login.

The browser has no token. Any script in a notebook's outputs can speak to a widget, so each widget
says which requests it passes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from jupyter_mlsvc.errors import ApiError, ConnectionFailed, MlsvcError

Send = Callable[[dict[str, Any], list[bytes]], object]
"""Sends a message with its buffers to all front ends of a widget."""

MAX_REQUESTS: Final = 8
"""Requests of one widget that are on their way at a time."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as the front end makes it of the REST API.

    Attributes
    ----------
    id : str
        By what the front end knows the answer.
    method : str
    path : list of str
        Segments, as they are before they are quoted.
    query : dict
    body : bytes
        JSON, or empty.
    """

    id: str
    method: str
    path: list[str]
    query: dict[str, str] = {}  # msgspec makes a new one each time
    body: bytes = b""

    def fits(self, method: str, *path: str) -> bool:
        """Whether this is a request of a kind; ``*`` stands for any segment.

        Segments that would lead to another place than they name fit nothing.
        """
        return (
            self.method == method
            and len(self.path) == len(path)
            and all(
                (wanted in {"*", segment}) and segment not in {"", ".", ".."}
                for segment, wanted in zip(self.path, path, strict=True)
            )
        )


Answer = Callable[[Request], bytes]
"""Answers a request with JSON; raises ``MlsvcError`` where it can't, or must not."""


class Refused(MlsvcError):
    """A widget passes no such request on."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"This widget may not ask for {request.method} /{'/'.join(request.path)}.")


class Channel:
    """Answers the requests of a widget's front ends, each in a thread of its own.

    The kernel stays free meanwhile. A front end that gives a request up gets no answer to it.

    Parameters
    ----------
    send : callable
        Sends a message to the front ends; called by any thread.
    answer : callable
        Answers a request.
    """

    def __init__(self, send: Send, answer: Answer) -> None:
        self._send = send
        self._answer = answer
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Thread] = {}

    def receive(self, content: object, buffers: Sequence[bytes | memoryview] = ()) -> None:
        """Take a message of a front end; what is none of ours is left alone."""
        if not isinstance(content, Mapping):
            return
        if isinstance(given_up := content.get("cancel"), str):
            with self._lock:
                self._waiting.pop(given_up, None)
            return
        try:
            request = msgspec.convert(
                {**content, "body": bytes(buffers[0]) if buffers else b""}, Request
            )
        except msgspec.ValidationError:
            return
        thread = threading.Thread(
            target=self._work, args=(request,), name="mlsvc-widget", daemon=True
        )
        with self._lock:
            is_room = len(self._waiting) < MAX_REQUESTS
            if is_room:
                self._waiting[request.id] = thread
        if is_room:
            thread.start()
        else:
            self._send(
                {"id": request.id, **problem_of(MlsvcError("Too much is being asked at once."))}, []
            )

    def close(self) -> None:
        """Send no more answers."""
        with self._lock:
            self._waiting.clear()

    def _work(self, request: Request) -> None:
        try:
            answer = self._answer(request)
        except Exception as error:  # noqa: BLE001  # nobody else would see it
            self._reply(request, problem_of(error), [])
        else:
            self._reply(request, {}, [answer])

    def _reply(self, request: Request, content: dict[str, Any], buffers: list[bytes]) -> None:
        with self._lock:
            is_wanted = self._waiting.pop(request.id, None) is not None
        if is_wanted:
            self._send({"id": request.id, **content}, buffers)


def problem_of(error: Exception) -> dict[str, Any]:
    """Write down what went wrong, for a front end.

    ``status`` is 0 where no server answered.
    """
    if isinstance(error, ApiError):
        return {
            "problem": {
                "status": error.status,
                "message": error.in_notebook(),
                "exceptionType": error.exception_type,
                "inputs": error.inputs,
            }
        }
    if isinstance(error, MlsvcError):
        status = 0 if isinstance(error, ConnectionFailed) else 400
        return {"problem": {"status": status, "message": error.in_notebook()}}
    return {"problem": {"status": 500, "message": f"{type(error).__name__}: {error}"}}
