"""Where refresh tokens of identity providers stay between notebooks."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

_SERVICE: Final = "jupyter-mlsvc"


class TokenVault:
    """The system's keyring where it has one and ``keyring`` is installed, else a file of mode 0600.

    Parameters
    ----------
    file : Path, optional
        That file; one in the folder for data of the person where it is left out.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or _data_folder() / "logins.json"

    def read(self, key: str) -> str | None:
        """Return what is kept under a name."""
        with suppress(_NoKeyring):
            if (found := _in_keyring("get_password", key)) is not None:
                return str(found)
        return self._read_file().get(key)

    def write(self, key: str, secret: str) -> None:
        """Keep a secret under a name."""
        try:
            _in_keyring("set_password", key, secret)
        except _NoKeyring:
            self._write_file(self._read_file() | {key: secret})

    def forget(self, key: str) -> None:
        """Keep nothing under a name any more."""
        with suppress(_NoKeyring):
            if _in_keyring("get_password", key) is not None:
                _in_keyring("delete_password", key)
        kept = self._read_file()
        if kept.pop(key, None) is not None:
            self._write_file(kept)

    def _read_file(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}

    def _write_file(self, kept: dict[str, str]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0600, whatever the umask; it is there as a whole or as it was.
        descriptor, path = tempfile.mkstemp(dir=self._file.parent, prefix=".logins")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(kept))
            Path(path).replace(self._file)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise


class _NoKeyring(Exception):
    """The system has no keyring that works."""


def _in_keyring(call: str, *arguments: str) -> Any:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        raise _NoKeyring from None
    try:
        return getattr(keyring, call)(_SERVICE, *arguments)
    except (KeyringError, OSError, RuntimeError) as error:
        raise _NoKeyring from error


def _data_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "jupyter-mlsvc"
