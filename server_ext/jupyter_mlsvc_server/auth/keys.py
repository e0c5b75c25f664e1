"""The secret of a data folder: it signs ids of sessions, and is the first key of access tokens."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.auth.errors import UnusableSecretFile
from jupyter_mlsvc_server.formats.private_files import write_new

KEY_BYTES: Final = 64
"""Length of a key: as many bytes as the hash of HS512 has."""


def signing_key(path: Path) -> bytes:
    """Read the key from its file; the first call makes it.

    Raises
    ------
    UnusableSecretFile
        It can't be read, or is no key.
    """
    write_new(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    if len(key) < KEY_BYTES:
        raise _damaged(path)
    return key


def _damaged(path: Path) -> UnusableSecretFile:
    return UnusableSecretFile(
        path,
        "cannot be read as a signing key. Restore it, or delete it: a new one is made at the "
        "next start, which does not know the sessions of before.",
    )
