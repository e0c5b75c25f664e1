"""Route of events."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, route
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.events.hub import Cursor, EventHub, Waiter

MAX_WAIT_SECONDS: Final = 55
"""Proxies commonly end a call that is silent for a minute."""

_WAIT_SECONDS: Final = 25
_MAX_DIGITS: Final = 15
"""A longer number is no event's, whatever it is."""


class EventRoutes:
    """Routes of events."""

    def __init__(self, *, events: EventHub) -> None:
        self._events = events

    def table(self) -> Routes:
        """Return the routes."""
        return [route("/events", get=self.wait)]

    async def wait(self, request: ApiRequest) -> Response:
        """Answer as soon as something happened after number ``after``, else after a while."""
        after, seconds = _number(request, "after"), _number(request, "wait", MAX_WAIT_SECONDS)
        cursor = None if after is None else Cursor(request.query("run"), after)
        waiter = Waiter(request.principal)
        found = self._events.events_after(
            waiter, cursor, _WAIT_SECONDS if seconds is None else seconds
        )
        return json_response(await request.answer_or_gone(found, waiter.wake))


def _number(request: ApiRequest, name: str, most: int | None = None) -> int | None:
    text = request.query(name)
    if not text:
        return None
    number = -1
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS
    if number < 0 or (most is not None and number > most):
        limits = "of 0 or more" if most is None else f"from 0 to {most}"
        raise BadRequest(f"{name} is {text[:40]!r}; it has to be an integer {limits}.")
    return number
