"""REST endpoint of events."""

from __future__ import annotations

from typing import Final

from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.events.hub import Place, Waiter
from jupyter_mlsvc_server.web import Endpoint, Routes

_WAIT_SECONDS: Final = 25
LONGEST_WAIT: Final = 55
"""Seconds; proxies commonly end a call that is silent for a minute."""

_MOST_DIGITS: Final = 15
"""A longer number is no event's, whatever it is."""


class Events(Endpoint):
    """What changes on the server (our addition)."""

    resource = "events"
    _waiter: Waiter | None = None

    async def get(self) -> None:
        """Answer as soon as something happened after number ``after``, else after a while."""
        after, seconds = self._number("after"), self._number("wait", LONGEST_WAIT)
        place = None if after is None else Place(self.query("run"), after)
        self._waiter = Waiter(self.principal)
        found = await self.parts.events.events_after(
            self._waiter, place, _WAIT_SECONDS if seconds is None else seconds
        )
        self.answer(found)

    def on_connection_close(self) -> None:
        """Wait no longer for somebody who went away."""
        super().on_connection_close()
        if self._waiter is not None:
            self._waiter.wake()

    def _number(self, name: str, most: int | None = None) -> int | None:
        text = self.query(name)
        if not text:
            return None
        number = -1
        if text.isascii() and text.isdigit():
            number = int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS
        if number < 0 or (most is not None and number > most):
            limits = "of 0 or more" if most is None else f"from 0 to {most}"
            raise BadRequest(f"{name} is {text[:40]!r}; it has to be an integer {limits}.")
        return number


routes: Routes = [(r"/events", Events)]
