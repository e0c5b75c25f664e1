"""How a service key is used: what calls it may make now, and how many it made."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from jupyter_mlsvc_server.auth.errors import InvalidKeyOption, KeyRateExceeded
from jupyter_mlsvc_server.storage.clock import Clock

MAX_RATE: Final = 10_000
"""Calls of a rate; the time of each is kept for as long as the rate says."""

_RATE: Final = re.compile(r"([1-9]\d{0,5})\s*(?:/|per)\s*(second|minute)")
_SECONDS: Final = {"second": 1.0, "minute": 60.0}
_MAX_SERVICES: Final = 1000
"""Versions of which calls are counted apart; names in a path may be made up."""
_OTHERS: Final = ("", "")


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls a key may make in a second or a minute."""

    calls: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rate such as ``10/second``.

        Raises
        ------
        InvalidKeyOption
            It is none.
        """
        found = _RATE.fullmatch(text.strip().lower())
        if found is None or int(found[1]) > MAX_RATE:
            raise InvalidKeyOption(
                f"rate is {text[:40]!r}; it has to be such as 10/second or 600/minute, with "
                f"1 to {MAX_RATE:,} calls."
            )
        return cls(int(found[1]), found[2])

    @property
    def seconds(self) -> float:
        """Seconds in which so many calls may be made."""
        return _SECONDS[self.unit]

    def __str__(self) -> str:
        return f"{self.calls}/{self.unit}"


class Usage(NamedTuple):
    """What is to be added to what is stored of a key's use."""

    key_id: str
    calls: int


class KeyUse:
    """State of a key at this server: calls of each version, and those that its rate counts.

    Parameters
    ----------
    rate
        How many calls may be made; None sets no limit.
    origins
        Whose pages may call; empty leaves that to the server's setting.
    clock
        Seconds by which calls are counted for the rate.
    """

    __slots__ = ("_clock", "_rate", "_recent", "_stored", "calls", "id", "name", "origins")

    def __init__(
        self, key_id: str, name: str, *, rate: Rate | None, origins: Collection[str], clock: Clock
    ) -> None:
        self.id = key_id
        self.name = name
        self.origins = frozenset(origins)
        self.calls: dict[tuple[str, str], int] = {}
        """Calls since the server started, by name and version."""
        self._stored = 0
        self._rate = rate
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=rate.calls if rate else 0)

    def takes(self, service: tuple[str, str], origin: bytes | None = None) -> bool:
        """Count a call that may be made now; return whether it may.

        Parameters
        ----------
        service
            Name and version.
        origin
            Origin of the page that calls; None where it is no page.
        """
        if origin is not None and not self.allows(origin.decode("latin-1")):
            return False
        if self._rate is not None:
            if self._wait():
                return False
            self._recent.append(self._clock())
        try:
            self.calls[service] += 1
        except KeyError:
            place = service if len(self.calls) < _MAX_SERVICES else _OTHERS
            self.calls[place] = self.calls.get(place, 0) + 1
        return True

    def require(self, service: tuple[str, str]) -> None:
        """Count a call of a page that was allowed, or of a program.

        Raises
        ------
        KeyRateExceeded
            There were too many.
        """
        if not self.takes(service):
            raise KeyRateExceeded(self.name, str(self._rate), max(math.ceil(self._wait()), 1))

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may call; a key that names none says nothing about it."""
        return not self.origins or origin in self.origins

    def _wait(self) -> float:
        """Return the seconds until the rate allows a call."""
        recent = self._recent
        if self._rate is None or len(recent) < self._rate.calls:
            return 0.0
        return max(recent[0] + self._rate.seconds - self._clock(), 0.0)

    @property
    def pending(self) -> Usage:
        """Calls that are not stored yet."""
        return Usage(self.id, sum(self.calls.values()) - self._stored)

    def stored(self, usage: Usage) -> None:
        """Take note that calls were stored."""
        self._stored += usage.calls


def calls_by_key(uses: Mapping[str, KeyUse], service: tuple[str, str]) -> dict[str, int]:
    """Return how often each key called a version, by the names of keys."""
    found = {use.name: use.calls.get(service, 0) for use in uses.values()}
    return {name: calls for name, calls in sorted(found.items()) if calls}
