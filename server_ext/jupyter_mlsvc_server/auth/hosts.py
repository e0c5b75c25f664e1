"""Hosts that reach a server over the network: which there are, and for whom they may ask.

A Jupyter server that runs apart from the server proves itself by a secret. Each line of the file
with the hosts has a user's name and a secret, ``NAME:SECRET``; the host with that secret asks in
that name only. ``*`` in place of a name lets a host ask for whoever Jupyter says it is. That is
for a Jupyter server that nobody but the operator controls.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.auth.errors import UnusableSecretFile
from jupyter_mlsvc_server.auth.passwords import open_secret_file
from jupyter_mlsvc_server.auth.principal import Role

_ANYBODY: Final = "*"
_MIN_SECRET: Final = 24  # characters


class Hosts:
    """Knows hosts by the digests of their secrets.

    Parameters
    ----------
    entries
        Names and secrets.
    role
        What the people may do for whom hosts ask.
    """

    def __init__(self, entries: list[tuple[str, str]], role: Role) -> None:
        self._entries = [(name, _digest(secret)) for name, secret in entries]
        self.role = role

    @classmethod
    def read(cls, path: Path, role: Role) -> Hosts:
        """Read the file.

        Raises
        ------
        UnusableSecretFile
            It can't be read, others may read it, or a line of it is wrong.
        """
        with open_secret_file(path, "secrets") as file:
            lines = file.read().splitlines()
        entries = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, secret = line.strip().rpartition(":")
            if not name or len(secret) < _MIN_SECRET:
                raise UnusableSecretFile(
                    path,
                    f"has no NAME:SECRET in line {number}, with a secret of at least "
                    f"{_MIN_SECRET} characters.",
                )
            entries.append((name, secret))
        return cls(entries, role)

    def knows(self, secret: str) -> bool:
        """Return whether the secret is a host's."""
        return bool(self._names(secret))

    def may_ask_for(self, secret: str, name: str) -> bool:
        """Return whether the host with the secret may ask in a name."""
        return bool({name, _ANYBODY} & self._names(secret))

    def _names(self, secret: str) -> set[str]:
        # Each is compared, in constant time: how long it takes tells nothing.
        digest = _digest(secret)
        return {name for name, known in self._entries if hmac.compare_digest(known, digest)}


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
