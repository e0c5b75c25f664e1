"""Password hashes, and passwords that come from files and the environment."""

from __future__ import annotations

import base64
import os
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from jupyter_mlsvc_server.auth.errors import InvalidPassword, UnusableSecretFile

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1024


class Passwords:
    """Argon2 hashes with the library's recommended cost; each call takes a core some 50 ms."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self.nobodys = self._hash_that_nothing_fits()

    def hash(self, password: str) -> str:
        """Hash a new password.

        Raises
        ------
        InvalidPassword
            It is too short or too long.
        """
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise InvalidPassword(MIN_LENGTH, MAX_LENGTH)
        return self._hasher.hash(_bytes(password))

    def fits(self, hashed: str, password: str) -> bool:
        """Compare, in a time that does not depend on the outcome."""
        try:
            return self._hasher.verify(hashed, _bytes(password[: MAX_LENGTH + 1]))
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, hashed: str) -> bool:
        """Whether a hash was made with another cost than is used now."""
        return self._hasher.check_needs_rehash(hashed)

    def _hash_that_nothing_fits(self) -> str:
        # What an unknown user's password is compared with takes the time of a real comparison.
        hasher = self._hasher
        cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        salt, digest = (
            base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
            for size in (hasher.salt_len, hasher.hash_len)
        )
        return f"$argon2id$v=19${cost}${salt}${digest}"


def read_password_file(path: Path) -> str:
    """Read a password from the first line of a file that nobody else can read.

    Raises
    ------
    UnusableSecretFile
        It can't be read, is empty, or others may read it.
    """
    with open_secret_file(path, "a password") as file:
        password = file.readline().rstrip("\r\n")
    if not password:
        raise UnusableSecretFile(path, "should have a password on its first line.")
    return password


@contextmanager
def open_secret_file(path: Path, content: str) -> Iterator[TextIO]:
    """Open a text file with secrets that nobody else can read.

    Parameters
    ----------
    content
        What it holds, for the message.

    Raises
    ------
    UnusableSecretFile
        It can't be read, or others may read it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UnusableSecretFile(
                    path, f"holds {content} and others may read it: chmod 600 it."
                )
            yield file
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UnusableSecretFile(path, f"cannot be read: {reason}.") from error


def _bytes(password: str) -> bytes:
    # Keyboards compose letters in different ways; the same letters are the same password.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
