"""A PostgreSQL server on a Unix socket, with an empty database, for tests that need a real one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from tests.waiting import wait_until

_OF_DEBIAN: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = ("fsync=off", "listen_addresses=", "shared_buffers=16MB", "max_connections=200")


def programs() -> Path | None:
    """Folder of PostgreSQL's programs, which Debian has on nobody's path; None without them."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    return max(_OF_DEBIAN.glob("*/bin"), default=None)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a server; gives the URL of its database for ``Database.url``."""
    # The path of a socket has room for a hundred characters.
    with tempfile.TemporaryDirectory(prefix="mlsvc-pg-") as short:
        data, as_somebody = Path(short, "data"), _as_somebody(short)
        options = ["-U", "mlsvc", "-A", "trust", "--no-sync"]
        subprocess.run(
            [*as_somebody, _program("initdb"), "-D", data, *options],
            check=True,
            capture_output=True,
            cwd="/",
        )
        settings = [word for each in _SETTINGS for word in ("-c", each)]
        with (folder / "postgresql.log").open("wb") as log:
            process = subprocess.Popen(
                [*as_somebody, _program("postgres"), "-D", data, "-k", short, *settings],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        try:
            wait_until(lambda: _answers(short))
            yield f"postgresql+psycopg://mlsvc@/postgres?host={short}"
        finally:
            # Fast: it waits for no client.
            process.send_signal(signal.SIGINT)
            process.wait(60)


def new_database(server: str, name: str, *options: str) -> str:
    """Make a database on a server, which :func:`postgresql` gave; returns its URL."""
    url = sa.make_url(server)
    command: list[str | Path] = [
        _program("createdb"),
        "-h",
        str(url.query["host"]),
        "-U",
        "mlsvc",
        *options,
        name,
    ]
    subprocess.run(command, check=True)
    return url.set(database=name).render_as_string()


def _answers(folder: str) -> bool:
    return subprocess.run([_program("pg_isready"), "-q", "-h", folder], check=False).returncode == 0


def _program(name: str) -> Path:
    folder = programs()
    assert folder is not None, "PostgreSQL is not installed"
    return folder / name


def _as_somebody(folder: str) -> list[str]:
    """Command before a program that may not run as root; empty where this is not root."""
    if os.geteuid() != 0:
        return []
    # Another name only: it reads what root does.
    mapped = ["unshare", "--user", "--map-user=1", "--map-group=1"]
    if subprocess.run([*mapped, "true"], check=False, capture_output=True).returncode == 0:
        return mapped
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
