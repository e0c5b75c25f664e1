"""Limits of failed logins, against guessing of passwords.

Nobody can shut another one out: what is refused depends on the address that a login comes from.
Guesses from many addresses under one name slow logins of that name down, but for an address that
logged in under it before.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from jupyter_mlsvc_server.auth.addresses import is_shared
from jupyter_mlsvc_server.errors import TooManyRequests
from jupyter_mlsvc_server.storage.clock import Clock

_KEPT: Final = 10_000
"""Names, addresses and pairs of them that are remembered, of each kind."""
_SHORTEST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 3.0


Share = Callable[[str, Sequence[str]], None]
"""Tells the other servers of the database what became of a login, and digests of its name, its
address and both."""


class LoginLimits:
    """Counters of failed logins by name, by address, and by both, in a sliding window.

    Parameters
    ----------
    failures
        How many may fail under a name from one address within the window; 0 sets no limit at all.
    address_failures
        How many may fail from one address, under whatever names.
    window
        Seconds after which a failure no longer counts.
    kept
        How many names and addresses are remembered; who failed longest ago goes first.
    clock
        The clock of the window.

    Attributes
    ----------
    share
        Tells other servers, where there are any: what fails at one of them counts at all.
    """

    def __init__(
        self,
        *,
        failures: int,
        address_failures: int,
        window: float,
        kept: int = _KEPT,
        clock: Clock = time.monotonic,
    ) -> None:
        self._is_off = not failures
        self._by_pair = _Failures(failures, window, kept, clock)
        self._by_address = _Failures(address_failures, window, kept, clock)
        self._by_name = _Failures(2 * failures, window, kept, clock)
        self._name_failures = failures
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._kept = kept
        self.share: Share = lambda _what, _keys: None

    def knows(self, name: str, network: str) -> bool:
        """Whether somebody logged in under a name from there before."""
        return _key(name, network) in self._known

    def check(self, name: str, network: str) -> float:
        """Return the seconds that a login is to be delayed.

        Raises
        ------
        TooManyRequests
            Too many failed from there; it has the seconds until the next attempt is allowed.
        """
        if self._is_off:
            return 0.0
        wait = self._by_pair.seconds_left(_key(name, network))
        if wait > 0:
            raise TooManyRequests(
                f"{self._name_failures} logins failed under this user name from your address "
                f"({_shown(network)}). Wait {math.ceil(wait)} s before you try again.",
                retry_after=math.ceil(wait),
            )
        if self.knows(name, network):
            return 0.0
        wait = self._by_address.seconds_left(_key(network))
        if wait > 0 and not is_shared(network):
            raise TooManyRequests(
                f"{self._by_address.most} logins failed from your address ({_shown(network)}). "
                f"Wait {math.ceil(wait)} s before you try again.",
                retry_after=math.ceil(wait),
            )
        over = self._by_name.count(_key(name)) - self._name_failures
        by_name = min(_SHORTEST_DELAY * 2.0**over, _LONGEST_DELAY) if over >= 0 else 0.0
        return _LONGEST_DELAY if wait > 0 else by_name

    def failed(self, name: str, network: str) -> None:
        """Count a failed login."""
        if not self._is_off:
            self._note("failed", name, network)

    def forgive(self, name: str, network: str) -> None:
        """Count a login no longer that was counted as failed."""
        self._note("forgiven", name, network)

    def succeeded(self, name: str, network: str) -> None:
        """Know a name and an address, and forget what failed under that name from there."""
        self._note("succeeded", name, network)

    def take(self, what: str, keys: Sequence[str]) -> None:
        """Take note of a login at another server, as it shared it."""
        pair, by_name, by_address = map(bytes.fromhex, keys)
        if what == "failed":
            self._by_pair.add(pair)
            self._by_name.add(by_name)
            self._by_address.add(by_address)
        elif what == "forgiven":
            self._by_pair.take_back(pair)
            self._by_name.take_back(by_name)
            self._by_address.take_back(by_address)
        elif what == "succeeded":
            self._by_pair.forget(pair)
            self._known[pair] = None
            self._known.move_to_end(pair)
            if len(self._known) > self._kept:
                self._known.popitem(last=False)

    def _note(self, what: str, name: str, network: str) -> None:
        keys = [key.hex() for key in (_key(name, network), _key(name), _key(network))]
        self.take(what, keys)
        self.share(what, keys)


class _Failures:
    """When what failed last, for a bounded number of keys."""

    def __init__(self, most: int, window: float, kept: int, clock: Clock) -> None:
        self.most = most
        self._window = window
        self._kept = kept
        self._clock = clock
        self._times: OrderedDict[bytes, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, key: bytes) -> None:
        if not self.most:
            return
        self._times.setdefault(key, deque(maxlen=self.most)).append(self._clock())
        self._times.move_to_end(key)
        if len(self._times) > self._kept:
            self._times.popitem(last=False)

    def take_back(self, key: bytes) -> None:
        """Forget the latest; nothing where it is forgotten already."""
        if times := self._times.get(key):
            times.pop()

    def count(self, key: bytes) -> int:
        since = self._clock() - self._window
        return sum(failed > since for failed in self._times.get(key, ()))

    def seconds_left(self, key: bytes) -> float:
        """Give the seconds until fewer count than may fail."""
        times = self._times.get(key)
        if not self.most or times is None or len(times) < self.most:
            return 0.0
        return max(0.0, times[0] + self._window - self._clock())

    def forget(self, key: bytes) -> None:
        self._times.pop(key, None)


def _key(*parts: str) -> bytes:
    # Names come from anybody and may be long.
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.digest()


def _shown(network: str) -> str:
    return network or "this machine"
