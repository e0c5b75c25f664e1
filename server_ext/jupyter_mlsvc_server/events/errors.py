"""Errors of the noun."""

from __future__ import annotations

from typing import Final

from jupyter_mlsvc_server.errors import Busy, TooManyRequests

_RETRY_SECONDS: Final = 5


class TooManyPolls(TooManyRequests):
    """One person has too many calls that wait for events."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"You wait for events in {limit} places already. End some of them, or ask again with "
            "wait=0.",
            retry_after=_RETRY_SECONDS,
        )


class TooManyWaiters(Busy):
    """All people together have too many calls that wait for events."""

    def __init__(self) -> None:
        super().__init__(
            "Too many callers wait for events of this server. Ask again with wait=0, or later.",
            retry_after=_RETRY_SECONDS,
        )
