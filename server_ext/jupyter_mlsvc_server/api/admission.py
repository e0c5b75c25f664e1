"""Which connections are taken: so many in all, and so many from one address."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from jupyter_mlsvc_server.api.proxies import TrustedProxies
from jupyter_mlsvc_server.auth.addresses import is_shared, network_of
from jupyter_mlsvc_server.errors import Busy, TooManyRequests


class Connection(Protocol):
    """A client's connection."""

    client: tuple[str, int] | None

    @property
    def idle_since(self) -> float | None:
        """When a client was last heard of whom nobody knows, and who asks nothing."""

    def end_idle(self) -> None:
        """Close it."""


class Admission:
    """Counts the connections of a server.

    Parameters
    ----------
    most
        How many there may be.
    most_of_address
        How many one address may have; who is on this machine, or a proxy, may have most of all.
    proxies
        Whose addresses many have.

    Attributes
    ----------
    refused
        How many were not taken.
    """

    def __init__(
        self,
        most: int,
        most_of_address: int,
        proxies: TrustedProxies,
    ) -> None:
        self.refused = 0
        self._most = most
        self._most_of_address = most_of_address
        self._proxies = proxies
        self._admitted: dict[Connection, str] = {}
        self._by_network = Counter[str]()

    def admit(self, connection: Connection) -> TooManyRequests | None:
        """Count a connection; where it is one too many, return what its client is told."""
        address = connection.client[0] if connection.client else ""
        network = network_of(address)
        is_of_many = is_shared(network) or self._proxies.trusts(address)
        most = self._most - self._most // 4 if is_of_many else self._most_of_address
        own = self._by_network[network]
        if own >= most and not self._end_idle(
            each for each, its in self._admitted.items() if its == network
        ):
            self.refused += 1
            return TooManyRequests(
                f"Your address has {own:,} connections here; {most:,} are taken. Use those that "
                "you have.",
                retry_after=1,
            )
        if len(self._admitted) >= self._most and not self._end_idle(self._admitted):
            self.refused += 1
            return Busy(
                f"{self._most:,} clients are connected (MlsvcApp.max_connections). Try again in a "
                "moment.",
                retry_after=1,
            )
        self._admitted[connection] = network
        self._by_network[network] += 1
        return None

    def forget(self, connection: Connection) -> None:
        """Count a connection no more, which may not have been admitted."""
        network = self._admitted.pop(connection, None)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    def _end_idle(self, connections: Iterable[Connection]) -> bool:
        """Make room for one: end what has been idle longest, of somebody whom nobody knows."""
        idle = [(since, each) for each in connections if (since := each.idle_since) is not None]
        if not idle:
            return False
        _, longest = min(idle, key=lambda each: each[0])
        # It is told of its end later, and another one may come before that.
        self.forget(longest)
        longest.end_idle()
        return True


def connections_possible(most: int) -> int:
    """Return how many connections leave descriptors for workers, kernels and files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else min(most, soft - soft // 4)
