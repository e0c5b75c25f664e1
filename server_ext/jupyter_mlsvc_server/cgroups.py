"""Limits of what the processes of a session or service version take together (cgroup v2, Linux).

The server has to be in a group of its own that it may divide: one that systemd delegates, or the
topmost one of a container. It moves itself into a group below that, because a group with limits
for those below it must not have processes itself::

    OWN/            limits for those below
        server/     the server, and what it starts but code of people
        code-…/     a session, or a service version
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_WANTED: Final = ("memory", "pids", "cpu")
_OURS: Final = "server"
_CODE: Final = "code-"
_PERIOD: Final = 100_000
"""Microseconds in which processor time is counted."""
_NO_LIMIT: Final = 2**60
"""Bytes from which on a limit is none; version 1 has such a number where nobody set one."""


class NoCgroups(Exception):
    """There are none that the server may divide; the message says why."""


class Cgroups:
    """The groups below the server's own.

    Parameters
    ----------
    root
        Where the system's files are.

    Attributes
    ----------
    controllers : tuple of str
        What can be limited: ``memory``, ``pids``, ``cpu``.

    Raises
    ------
    NoCgroups
        The system, or who has started the server, does not let it have any.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._folder = _own(root)
        there = _read(self._folder / "cgroup.controllers").split()
        wanted = [name for name in _WANTED if name in there]
        if not wanted:
            raise NoCgroups("its own cgroup has no controllers")
        try:
            self._move_below()
        except OSError as error:
            raise NoCgroups(f"its own cgroup can't be divided ({error.strerror})") from error
        self.controllers = tuple(name for name in wanted if self._enable(name))
        if not self.controllers:
            raise NoCgroups("its own cgroup lets it limit nothing")

    def _move_below(self) -> None:
        for left in self._folder.glob(f"{_CODE}*"):
            self.close(left)
        (self._folder / _OURS).mkdir(exist_ok=True)
        for pid in _read(self._folder / "cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                (self._folder / _OURS / "cgroup.procs").write_text(pid)

    def _enable(self, controller: str) -> bool:
        try:
            (self._folder / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            return False
        return True

    def open(self, name: str, limits: Mapping[str, float]) -> Path:
        """Make a group.

        Parameters
        ----------
        name
            What it is called.
        limits
            By controller: bytes of ``memory``, number of ``pids``, processors of ``cpu``.

        Raises
        ------
        OSError
            The system refuses.
        """
        folder = self._folder / f"{_CODE}{name}"
        folder.mkdir()
        for controller in self.controllers:
            limit = limits.get(controller)
            if limit:
                cpu = f"{round(limit * _PERIOD)} {_PERIOD}"
                text = cpu if controller == "cpu" else str(int(limit))
                (folder / f"{controller}.max").write_text(text)
        return folder

    def close(self, folder: Path) -> None:
        """End what is left in a group, and remove it."""
        with contextlib.suppress(OSError):
            (folder / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            folder.rmdir()


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the bytes that the system lets this process and others of its groups have.

    None where no group has a limit, of either version.
    """
    own = _path_of(root)
    if own is None:
        limits = [_read(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")]
    else:
        folder = root / "sys/fs/cgroup" / own.strip("/")
        limits = [_read(each / "memory.max") for each in (folder, *folder.parents)]
    numbers = [int(each) for each in limits if each.strip().isdigit()]
    return min((each for each in numbers if each < _NO_LIMIT), default=None)


def _path_of(root: Path) -> str | None:
    """Return the path of this process's group, by version 2."""
    lines = _read(root / "proc/self/cgroup").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), None)


def _own(root: Path) -> Path:
    own = _path_of(root)
    if own is None or not (root / "sys/fs/cgroup/cgroup.controllers").is_file():
        raise NoCgroups("the system has no cgroups of version 2")
    if own.endswith(f"/{_OURS}"):
        own = own.removesuffix(_OURS)  # of a server before, in the same place
    folder = root / "sys/fs/cgroup" / own.strip("/")
    if own.strip("/") and not _is_delegated(folder):
        raise NoCgroups("who started the server keeps its cgroup (systemd: Delegate=yes)")
    if not os.access(folder, os.W_OK):
        raise NoCgroups("its own cgroup is read-only")
    return folder


def _is_delegated(folder: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError, AttributeError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
