"""Proxies before the server, whose word counts for the address of a client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence


class TrustedProxies:
    """Finds the address of a client behind proxies.

    Parameters
    ----------
    networks
        Addresses, or networks, of proxies that are believed.

    Raises
    ------
    ValueError
        One of them is neither.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(each.strip(), strict=False) for each in networks]

    def client_of(self, peer: str, forwarded: Sequence[str], *, is_trusted: bool = False) -> str:
        """Return the address of a client.

        Parameters
        ----------
        peer
            Who is connected; empty for a Unix socket.
        forwarded
            Values of ``X-Forwarded-For``. A proxy appends whom it was asked by, so that the last
            address which is no proxy's is the client's. What is before it may be made up.
        is_trusted
            Whether the peer is believed, whatever its address is.
        """
        address, is_believed = peer, is_trusted or self.trusts(peer)
        names = [name.strip() for value in forwarded for name in value.split(",")]
        while is_believed and names:
            named = _plain(names.pop())
            if not named:
                break
            address, is_believed = named, self.trusts(named)
        return address

    def trusts(self, address: str) -> bool:
        """Whether an address is a proxy's."""
        if not self._networks or not (plain := _plain(address)):
            return False
        parsed = ipaddress.ip_address(plain)
        return any(parsed in network for network in self._networks)


def _plain(address: str) -> str:
    """Read an address, which may have a port; empty where it is none."""
    text = address
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
