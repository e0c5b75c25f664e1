"""Addresses of clients behind proxies."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.api.proxies import TrustedProxies

CLIENT = "198.51.100.7"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (CLIENT, [], CLIENT),
        (CLIENT, ["1.2.3.4"], CLIENT),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [CLIENT], CLIENT),
        ("10.0.0.1", [f"1.2.3.4, {CLIENT}"], CLIENT),
        ("10.0.0.1", ["1.2.3.4", f"{CLIENT}, 10.0.0.2"], CLIENT),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [f"{CLIENT}, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [f"{CLIENT}:4711"], CLIENT),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", [CLIENT], CLIENT),
        ("::1", [CLIENT], CLIENT),
        ("", [CLIENT], ""),
    ],
)
def test_only_configured_proxies_are_believed(
    peer: str, forwarded: list[str], address: str
) -> None:
    proxies = TrustedProxies(["10.0.0.0/8", "::1"])
    assert proxies.client_of(peer, forwarded) == address


def test_a_host_is_believed_and_nobody_else_without_a_configuration() -> None:
    proxies = TrustedProxies()
    assert proxies.client_of("", [CLIENT], is_trusted=True) == CLIENT
    assert proxies.client_of("127.0.0.1", [CLIENT]) == "127.0.0.1"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="here"):
        TrustedProxies(["here"])
