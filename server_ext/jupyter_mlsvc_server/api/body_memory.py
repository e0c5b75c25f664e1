"""Memory for bodies of requests: one budget for all, and a share of it for each caller."""

from __future__ import annotations

from typing import Final

from jupyter_mlsvc_server.errors import Busy, TooManyRequests

_SHARES: Final = 2
"""Into how many the budget is split, of which a caller gets one."""


class BodyMemory:
    """Counts the bytes of bodies that are held until their requests have been answered.

    Parameters
    ----------
    most
        Bytes of all bodies together.
    largest
        Largest body that there may be; the budget always has room for one of that size.
    """

    def __init__(self, most: int, *, largest: int = 0) -> None:
        self._share = max(most // _SHARES, largest)
        self._most = max(most, largest)
        self._by_caller: dict[str, int] = {}
        self.held = 0
        """Bytes of all."""

    def take(self, caller: str, size: int) -> bool:
        """Count further bytes of a caller's, if there is room for them."""
        if not size:
            return True
        own = self._by_caller.get(caller, 0) + size
        if own > self._share or self.held + size > self._most:
            return False
        self._by_caller[caller] = own
        self.held += size
        return True

    def release(self, caller: str, size: int) -> None:
        """Count bytes no more that were taken."""
        if not size:
            return
        self.held -= size
        left = self._by_caller[caller] - size
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]

    def refusal(self, caller: str, size: int) -> TooManyRequests:
        """Make the error for bytes that there was no room for."""
        own = self._by_caller.get(caller, 0)
        if own + size > self._share:
            return TooManyRequests(
                f"Your requests that wait for answers hold {own:,} bytes; those of one caller may "
                f"hold {self._share:,}. Send fewer at once.",
                retry_after=1,
            )
        return Busy(
            f"The bodies of all requests hold {self.held:,} bytes, of {self._most:,} that they may "
            "hold (MlsvcApp.max_held_bytes). Try again in a moment.",
            retry_after=1,
        )
