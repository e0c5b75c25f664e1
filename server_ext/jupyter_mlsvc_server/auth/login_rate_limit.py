"""Rate limit of failed logins, against guessing of passwords."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque

from jupyter_mlsvc_server.errors import TooManyRequests
from jupyter_mlsvc_server.storage.clock import Clock


class LoginRateLimit:
    """Counter of failed logins of each name, known or not, in a sliding window.

    Its memory is bounded: a fixed size a name, and the name that failed longest ago goes first.

    Parameters
    ----------
    failures
        How many may fail within the window; 0 refuses none.
    window
        Seconds after which a failure no longer counts.
    names
        How many names are remembered.
    clock
        The clock of the window.
    """

    def __init__(
        self,
        *,
        failures: int,
        window: float,
        names: int = 10_000,
        clock: Clock = time.monotonic,
    ) -> None:
        self._failures = failures
        self._window = window
        self._names = names
        self._clock = clock
        self._failed: OrderedDict[bytes, deque[float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Raise if logins under a name failed too often.

        Raises
        ------
        TooManyRequests
            With the seconds until the next attempt is allowed.
        """
        times = self._failed.get(_key(name))
        if not self._failures or times is None or len(times) < self._failures:
            return
        wait = times[0] + self._window - self._clock()
        if wait > 0:
            raise TooManyRequests(
                "Too many logins failed under this user name. Wait before you try again.",
                retry_after=math.ceil(wait),
            )

    def failed(self, name: str) -> None:
        """Count a failed login of a name."""
        if not self._failures:
            return
        key = _key(name)
        times = self._failed.setdefault(key, deque(maxlen=self._failures))
        times.append(self._clock())
        self._failed.move_to_end(key)
        if len(self._failed) > self._names:
            self._failed.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget the failed logins of a name."""
        self._failed.pop(_key(name), None)


def _key(name: str) -> bytes:
    # Names come from anybody and may be long.
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
