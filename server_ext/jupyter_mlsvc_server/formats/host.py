"""Names and shapes that the server and its hosts share.

A host is a Jupyter server that runs the server, or one that attached to it. Both processes find
each other by the data folder: a lock there says that a server runs, a Unix socket reaches it.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

USER_HEADER: Final = "X-Mlsvc-User"
"""Header that says for whom a host asks; percent-encoded UTF-8. Only hosts are believed."""
SECRET_HEADER: Final = "X-Mlsvc-Host-Secret"  # noqa: S105 - the header's name
"""Header of the secret that makes a connection one of a host."""

ISSUER: Final = "jupyter-mlsvc"
"""Issuer in the access tokens of this project."""
AUDIENCE: Final = "jupyter-mlsvc-api"
"""Audience of these: the API, and nothing else that trusts the issuer."""
LOCAL_PREFIX: Final = "mlsvc-"
"""Start of the tokens that kernels of a host get."""

HOSTED_OPTION: Final = "--MlsvcApp.hosted=True"
"""Option of a server that a host runs."""
DATA_DIR_IN_USE: Final = 75
"""Exit code of a server whose data folder another one uses (``EX_TEMPFAIL``)."""

_MAX_TOKEN: Final = 4096  # characters; ours have some 330
_MAX_ADDRESS: Final = 100  # bytes; a Unix socket's address has room for 108


class HostStatus(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """State of the server, as a line of a host's lease says it.

    Attributes
    ----------
    public_url
        Address of the public API; empty where that is closed.
    server_version
        Version of the server that runs.
    last_activity
        When anything was last in use (ISO 8601); None for never.
    sessions, batches
        Counts of what would be lost by stopping now.
    problem
        What does not work though the server runs, such as a busy port.
    """

    public_url: str
    server_version: str
    last_activity: str | None = None
    sessions: int = 0
    batches: int = 0
    problem: str | None = None


class HostToken(msgspec.Struct):
    """Answer of ``POST /host/token``: a token for kernels of the host."""

    token: str


class HostFarewell(msgspec.Struct):
    """Answer of ``POST /host/leave``: whether the server ends once this host is gone."""

    ends: bool
    pid: int


class ChildInput(msgspec.Struct):
    """What a host writes to the standard input of the server that it starts.

    Attributes
    ----------
    sections
        Configuration by class and setting.
    secrets
        Variables that are for the server alone.
    """

    sections: dict[str, dict[str, Any]] = {}
    secrets: dict[str, str] = {}


class StartProblem(msgspec.Struct):
    """Why a hosted server does not start, in a sentence; written to its standard output."""

    message: str


def data_dir_path(configured: str = "") -> Path:
    """Return the data folder: as configured, else ``MLSVC_DATA_DIR``, else Jupyter's."""
    chosen = configured or os.environ.get("MLSVC_DATA_DIR")
    if not chosen:
        from jupyter_core.paths import jupyter_data_dir

        chosen = str(Path(jupyter_data_dir()) / "mlsvc")
    return Path(chosen).expanduser().resolve()


def lock_path(data_dir: Path) -> Path:
    """Return the file that the server of a data folder holds a lock of."""
    return data_dir / "server.lock"


def socket_path(data_dir: Path) -> Path:
    """Return the Unix socket that hosts reach the server of a data folder by."""
    return data_dir / "server.sock"


def secret_path(socket: Path) -> Path:
    """Return the file with the secret of those who ask by a Unix socket in a user's name.

    The socket takes connections from all processes of its account. People's code is one of them,
    and may be kept from files but not from sockets.
    """
    return socket.with_name("server.secret")


def socket_secret(socket: Path) -> str:
    """Return the secret of the server that runs; empty where it can't be read."""
    try:
        return secret_path(socket).read_text("ascii")
    except OSError:
        return ""


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Give an address to bind or connect to; a long path is reached through its open folder."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def looks_like_ours(token: str) -> bool:
    """Return whether a bearer token, valid or not, is one of this project's.

    Jupyter has bearer tokens of its own.
    """
    if token.startswith(LOCAL_PREFIX):
        return True
    if len(token) > _MAX_TOKEN or token.count(".") != 2:
        return False
    claims = token.split(".")[1]
    try:
        decoded = msgspec.json.decode(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and decoded.get("iss") == ISSUER
