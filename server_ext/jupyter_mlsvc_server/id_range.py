"""Ids of users and groups that belong to nobody else, for the code of people."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

_FIRST: Final = 1000
"""Ids below are of the system."""
_LAST: Final = 2**31 - 1
_FEWEST: Final = 2

_NEEDED: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""What root has to be able to, by the numbers of capabilities."""


class IdRange(NamedTuple):
    """Ids from the first to the last, each of a user and of a group.

    The first one is of a group alone, to which all of the users belong.
    """

    first: int
    last: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a text such as ``2000000-2065535``.

        Raises
        ------
        ValueError
            It is none; the message says why.
        """
        first, _, last = text.partition("-")
        try:
            found = cls(int(first), int(last))
        except ValueError:
            raise ValueError(f"{text!r} is no range such as 2000000-2065535") from None
        if not _FIRST <= found.first <= found.last - _FEWEST + 1 <= _LAST - _FEWEST + 1:
            raise ValueError(f"{text} has to go up, and lie between {_FIRST} and {_LAST}")
        return found

    @property
    def group(self) -> int:
        """The group to which all of the users belong."""
        return self.first

    @property
    def users(self) -> range:
        """The ids of users."""
        return range(self.first + 1, self.last + 1)

    def meets(self, first: int, last: int) -> bool:
        """Whether another range has an id in common with it."""
        return self.first <= last and first <= self.last

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.first}-{self.last}"


def why_no_users(ids: IdRange, root: Path = Path("/")) -> str:
    """Say why code can't run as the users of a range; empty where it can.

    Parameters
    ----------
    ids
        The range.
    root
        Where the system's files are.
    """
    if os.geteuid() != 0:
        return "the server has to run as root, which alone may run code as others. Run it so"
    if lacking := _lacking_capabilities(root / "proc/self/status"):
        return f"root lacks CAP_{', CAP_'.join(lacking)}. Have the container give it that"
    for kind in ("uid_map", "gid_map"):
        if not _is_mapped(ids, root / "proc/self" / kind):
            return (
                f"the container that the server runs in has no ids {ids} (/proc/self/{kind}). Name "
                "others"
            )
    for what, name, first, last in _taken(root):
        if ids.meets(first, last):
            return f"{what} {name} has ids of {ids}. Name others"
    return ""


def _taken(root: Path) -> Iterator[tuple[str, str, int, int]]:
    """List the ids that somebody has."""
    yield from (("the user", each.pw_name, each.pw_uid, each.pw_uid) for each in pwd.getpwall())
    yield from (("the group", each.gr_name, each.gr_gid, each.gr_gid) for each in grp.getgrall())
    for name in ("etc/subuid", "etc/subgid"):
        for line in _lines(root / name):
            owner, first, count = (*line.split(":"), "", "")[:3]
            if first.isdigit() and count.isdigit():
                yield f"/{name} of", owner, int(first), int(first) + int(count) - 1


def _lacking_capabilities(status: Path) -> list[str]:
    held = next((line.split()[1] for line in _lines(status) if line.startswith("CapEff:")), "0")
    return [name for name, number in _NEEDED.items() if not int(held, 16) >> number & 1]


def _is_mapped(ids: IdRange, path: Path) -> bool:
    maps = (line.split() for line in _lines(path))
    return any(
        int(first) <= ids.first and ids.last < int(first) + int(count) for first, _, count in maps
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def closed_to_others(paths: Iterable[Path]) -> str:
    """Name a folder above some paths, or one of them, that other users can't enter."""
    for path in paths:
        for folder in reversed((path, *path.parents)):
            try:
                is_closed = folder.is_dir() and not folder.stat().st_mode & 0o001
            except OSError:
                is_closed = True
            if is_closed:
                return str(folder)
    return ""
