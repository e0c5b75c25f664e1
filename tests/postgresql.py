"""A PostgreSQL server on a Unix socket, with an empty database, for tests that need a real one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.waiting import wait_until

_OF_DEBIAN: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = ("fsync=off", "listen_addresses=", "shared_buffers=16MB", "max_connections=40")


def programs() -> Path | None:
    """Folder of PostgreSQL's programs, which Debian has on nobody's path; None without them."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    return max(_OF_DEBIAN.glob("*/bin"), default=None)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a server; gives the URL of its database for ``Database.url``."""
    # The path of a socket has room for a hundred characters, and the account has to get there.
    with tempfile.TemporaryDirectory(prefix="mlsvc-pg-") as short:
        data, account = Path(short, "data"), _account()
        if account is not None:
            shutil.chown(short, account)
        _run("initdb", "-D", data, "-U", "mlsvc", "-A", "trust", "--no-sync", account=account)
        settings = [word for each in _SETTINGS for word in ("-c", each)]
        with (folder / "postgresql.log").open("wb") as log:
            process = subprocess.Popen(
                [_program("postgres"), "-D", data, "-k", short, *settings],
                stdout=log,
                stderr=log,
                user=account,
            )
        try:
            wait_until(lambda: _answers(short))
            yield f"postgresql+psycopg://mlsvc@/postgres?host={short}"
        finally:
            process.terminate()
            process.wait(60)


def _answers(folder: str) -> bool:
    return subprocess.run([_program("pg_isready"), "-q", "-h", folder], check=False).returncode == 0


def _run(name: str, *arguments: str | Path, account: str | None) -> None:
    subprocess.run(
        [_program(name), *arguments], check=True, capture_output=True, user=account, cwd="/"
    )


def _program(name: str) -> Path:
    folder = programs()
    assert folder is not None, "PostgreSQL is not installed"
    return folder / name


def _account() -> str | None:
    """Name of the account that it runs as: it refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None
