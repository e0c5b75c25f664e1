"""Clocks, and time stamps as the contract and the database write them.

A stamp is UTC with seven digits and no zone. Managers whose rules depend on time are given the
clocks to go by, so that a test lets hours pass in no time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], float]
"""Seconds, as ``time.time`` or ``time.monotonic`` counts them."""

_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%f"


def now_text() -> str:
    """Write the present moment, such as ``2017-10-05T22:49:33.7832670``."""
    return to_text(datetime.now(UTC))


def to_text(moment: datetime) -> str:
    """Write a moment; texts sort as the moments do.

    Parameters
    ----------
    moment
        A time with a zone.
    """
    return moment.astimezone(UTC).strftime(_FORMAT) + "0"


def from_text(text: str) -> datetime:
    """Read what :func:`to_text` wrote."""
    return datetime.strptime(text[:26], _FORMAT).replace(tzinfo=UTC)
