"""Requests of a widget's front end, which the kernel sends to the server with its own login.

The browser has no token. Any script in a notebook's outputs can speak to a widget, so each widget
says which requests it passes on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import msgspec

from jupyter_mlsvc.errors import ApiError, ConnectionFailed, MlsvcError

Send = Callable[[dict[str, Any], list[bytes]], object]
"""Sends a message with its buffers to all front ends of a widget."""

MAX_REQUESTS: Final = 8
"""Requests of one widget that its front ends wait for at a time."""

MAX_THREADS: Final = 2 * MAX_REQUESTS
"""Threads of one widget: a request that was given up keeps its thread until the server answers."""


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
    lines : bool
        Whether the answer may come in parts, each JSON.
    """

    id: str
    method: str
    path: list[str]
    query: dict[str, str] = {}  # msgspec makes a new one each time
    body: bytes = b""
    lines: bool = False

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


Answer = Callable[[Request], bytes | Generator[bytes]]
"""Answers a request with JSON, or with parts of it where the request takes them; raises
``MlsvcError`` where it can't, or must not."""


class Refused(MlsvcError):
    """A widget passes no such request on."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"This widget may not ask for {request.method} /{'/'.join(request.path)}.")


class Channel:
    """Answers the requests of a widget's front ends in threads, so that the kernel stays free.

    A front end that gives a request up gets no answer to it. While all threads are busy with such
    requests, further ones wait for the first that ends.

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
        self._wanted: dict[str, Request] = {}
        self._queue: deque[Request] = deque(maxlen=MAX_REQUESTS)
        self._threads = 0

    def receive(self, content: object, buffers: Sequence[bytes | memoryview] = ()) -> None:
        """Take a message of a front end; what is none of ours is left alone."""
        if not isinstance(content, Mapping):
            return
        if isinstance(given_up := content.get("cancel"), str):
            with self._lock:
                request = self._wanted.pop(given_up, None)
                if request is not None and request in self._queue:
                    self._queue.remove(request)
            return
        try:
            request = msgspec.convert(
                {**content, "body": bytes(buffers[0]) if buffers else b""}, Request
            )
        except msgspec.ValidationError:
            return
        with self._lock:
            is_room = len(self._wanted) < MAX_REQUESTS
            needs_thread = is_room and self._threads < MAX_THREADS
            if is_room:
                self._wanted[request.id] = request
                self._queue.append(request)
                self._threads += needs_thread
        if needs_thread:
            threading.Thread(target=self._work, name="mlsvc-widget", daemon=True).start()
        elif not is_room:
            self._send(
                {"id": request.id, **problem_of(MlsvcError("Too much is being asked at once."))}, []
            )

    def close(self) -> None:
        """Send no more answers."""
        with self._lock:
            self._wanted.clear()
            self._queue.clear()

    def _work(self) -> None:
        while (request := self._next()) is not None:
            self._answer_to(request)

    def _next(self) -> Request | None:
        """Return what waits the longest; where nothing does, the thread ends."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _answer_to(self, request: Request) -> None:
        try:
            answer = self._answer(request)
            if not isinstance(answer, bytes):
                self._send_parts(request, answer)
                answer = b""
        except Exception as error:  # noqa: BLE001  # nobody else would see it
            self._reply(request, problem_of(error), [])
        else:
            self._reply(request, {}, [answer])

    def _send_parts(self, request: Request, parts: Generator[bytes]) -> None:
        """Send the parts of an answer as they come, until the front end gives it up."""
        with closing(parts):
            for part in parts:
                with self._lock:
                    is_wanted = self._wanted.get(request.id) is request
                if not is_wanted:
                    return
                self._send({"id": request.id, "line": True}, [part])

    def _reply(self, request: Request, content: dict[str, Any], buffers: list[bytes]) -> None:
        with self._lock:
            is_wanted = self._wanted.get(request.id) is request
            if is_wanted:
                del self._wanted[request.id]
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
