"""Sockets that the server listens on."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc.wire.addresses import is_this_machine
from jupyter_mlsvc_server.formats.host import socket_address

_BACKLOG: Final = 2048
"""Connections that wait to be taken, such as while the server starts."""


def listen_on_port(address: str, port: int) -> list[socket.socket]:
    """Listen at every address that a name stands for.

    Parameters
    ----------
    address
        Name or number of an interface; empty stands for all.
    port
        0 takes a free one, the same at all addresses.

    Raises
    ------
    OSError
        The port is in use, or the address is none of this machine.
    """
    listening: list[socket.socket] = []
    with contextlib.ExitStack() as failed:
        for family, place in _places(address, port):
            one = failed.enter_context(socket.socket(family, socket.SOCK_STREAM))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Or it would take the port of the address that is IPv4's.
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound = listening[0].getsockname()[1] if listening else port
            try:
                one.bind((place[0], bound, *place[2:]))
            except OSError as error:
                # A name of two families is served where this machine has only one of them.
                if error.errno == errno.EADDRNOTAVAIL and listening:
                    continue
                raise
            one.listen(_BACKLOG)
            listening.append(one)
        failed.pop_all()
    return listening


def is_only_local(listening: Iterable[socket.socket]) -> bool:
    """Return whether only programs of this machine reach the sockets."""
    return all(is_this_machine(each.getsockname()[0]) for each in listening)


def listen_at_path(path: Path) -> socket.socket:
    """Listen on a Unix socket that only this user can reach; one that was left there goes.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _places(address: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Find where to listen: IPv4 first, whose port is chosen where any will do; each once."""
    found = socket.getaddrinfo(
        address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    places = {(family, place) for family, _, _, _, place in found}
    return sorted(places, key=lambda each: (each[0] != socket.AF_INET, each[1]))
