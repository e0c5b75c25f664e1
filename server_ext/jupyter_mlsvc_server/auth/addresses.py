"""What counts as one address."""

from __future__ import annotations

import ipaddress
from typing import Final

_IPV6_PREFIX: Final = 64
"""Bits of an address that one customer of a provider has."""


def network_of(address: str) -> str:
    """Return what is counted as one address: for IPv6 the whole network of a customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        if not parsed.is_loopback:
            return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return str(parsed)


def is_shared(network: str) -> bool:
    """Whether many may have an address: what is local may be a proxy that says for whom it asks."""
    return network in {"", "127.0.0.1", "::1"}
