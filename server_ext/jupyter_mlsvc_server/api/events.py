"""Route of events."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, route
from jupyter_mlsvc_server.events.hub import Cursor, EventHub, Waiter

MAX_WAIT_SECONDS: Final = 55
"""Proxies commonly end a call that is silent for a minute."""

_WAIT_SECONDS: Final = 25


class EventRoutes:
    """Routes of events."""

    def __init__(self, *, events: EventHub) -> None:
        self._events = events

    def table(self) -> Routes:
        """Return the routes."""
        return [route("/events", get=self.wait)]

    async def wait(self, request: ApiRequest) -> Response:
        """Answer as soon as something happened after number ``after``, else after a while."""
        after = request.query_number("after")
        seconds = request.query_number("wait", MAX_WAIT_SECONDS)
        cursor = None if after is None else Cursor(request.query("run"), after)
        waiter = Waiter(request.principal)
        found = self._events.events_after(
            waiter, cursor, _WAIT_SECONDS if seconds is None else seconds
        )
        return json_response(await request.answer_or_gone(found, waiter.wake))
