"""Namespaces: a machine of its own for confined code, with its files and processes alone (Linux).

What bubblewrap does for a command, done for this process: templates are forked with libraries that
are loaded already, and to run a command would lose them. Landlock restricts inside what it does
outside (see ``confine``), so what a mount shows too much of can't be opened all the same.

::

    user     no privilege is needed; the ids stay what they are. Root, whose code becomes other
             users, needs none
    process  only its own processes are seen, and all end with the first one
    mount    a root folder that holds the files of the policy and nothing else, with /proc,
             /dev/pts and /dev/shm of its own
    IPC      shared memory, semaphores and message queues of its own
    network  by the policy: none
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import sys
from typing import Any, Final, Protocol

_NEW_MOUNTS: Final = 0x00020000
_NEW_IPC: Final = 0x08000000
_NEW_USER: Final = 0x10000000
_NEW_PROCESSES: Final = 0x20000000
_NEW_NETWORK: Final = 0x40000000

_PR_SET_DUMPABLE: Final = 4

_BIND: Final = 4096
_RECURSIVE: Final = 16384
_SLAVE: Final = 1 << 19
_NO_SUID: Final = 2
_NO_DEVICES: Final = 4
_NO_PROGRAMS: Final = 8
_DETACH: Final = 2
_PIVOT_ROOT: Final = 155 if os.uname().machine == "x86_64" else 41

_WORKSHOP: Final = "/tmp"  # noqa: S108  # a folder that is everywhere; what it holds is not seen
_OUTSIDE: Final = "/outside"
_INSIDE: Final = "/inside"
_MOST_LINKS: Final = 40

_LINKS: Final = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx",
}  # fmt: skip
_SHARED: Final = "/dev/shm"  # noqa: S108  # of nobody else
_OWN: Final = frozenset({"/proc", "/dev/pts", "/dev/ptmx", "/dev/fuse", _SHARED})
"""What is made anew, or has no use."""


def leave_processes(*, as_root: bool = False) -> None:
    """Have the next child of this process be the first one of a process namespace.

    It has to have one thread. Its own ids and rights stay what they are.

    Parameters
    ----------
    as_root
        Whether it is root that does so, and becomes another user later: without a user namespace.

    Raises
    ------
    OSError
        The system does not allow it.
    """
    if as_root:
        _check(_libc().unshare(_NEW_PROCESSES))
        return
    user, group = os.geteuid(), os.getegid()
    _check(_libc().unshare(_NEW_USER | _NEW_PROCESSES))
    # Without this the files of this process in /proc are root's.
    _libc().prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


class Shown(Protocol):
    """What of a policy is needed here; ``confine`` has the class."""

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Accesses and paths."""

    @property
    def network(self) -> bool:
        """Whether the network is that of the machine."""


def enter(policy: Shown) -> None:
    """Give this process, the first one of its namespace, files and devices of its own.

    Parameters
    ----------
    policy
        Says which files and folders there are; those that links lead to are there, too.

    Raises
    ------
    OSError
        That failed; the process must not run the code of others.
    """
    here = os.getcwd()
    _enter(
        [path for access, path in policy.files if access != "list"],
        0 if policy.network else _NEW_NETWORK,
    )
    with contextlib.suppress(OSError):
        os.chdir(here)


def _enter(paths: list[str], flags: int = 0) -> None:
    _check(_libc().unshare(_NEW_MOUNTS | _NEW_IPC | flags))
    umask = os.umask(0o022)  # the folders above what is shown are root's, where root makes them
    _mount(None, "/", None, _RECURSIVE | _SLAVE)
    _mount("tmpfs", _WORKSHOP, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=0755")
    os.chdir(_WORKSHOP)
    for name in (_OUTSIDE, _INSIDE):
        os.mkdir(name[1:])
    _check(_libc().syscall(_PIVOT_ROOT, b".", _OUTSIDE[1:].encode()))
    os.chdir("/")
    _mount("tmpfs", _INSIDE, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=0755")
    _furnish(paths)
    os.chdir(_INSIDE)
    # The new root goes below the old one, which is then taken away with all that it holds.
    _check(_libc().syscall(_PIVOT_ROOT, b".", b"."))
    _check(_libc().umount2(b".", _DETACH))
    os.chdir("/")
    os.umask(umask)


def _furnish(paths: list[str]) -> None:
    shown: set[str] = set()
    with os.scandir(_OUTSIDE) as entries:
        links = [f"/{entry.name}" for entry in entries if entry.is_symlink()]
    for path in sorted({*links, *paths}):
        if path not in _OWN:
            _show(path, shown)
    for folder in ("/proc", "/dev/pts", _SHARED):
        os.makedirs(_INSIDE + folder, exist_ok=True)
    _mount("proc", f"{_INSIDE}/proc", "proc", _NO_SUID | _NO_DEVICES | _NO_PROGRAMS)
    options = "newinstance,ptmxmode=0666,mode=620"
    _mount("devpts", f"{_INSIDE}/dev/pts", "devpts", _NO_SUID | _NO_PROGRAMS, options)
    _mount("tmpfs", _INSIDE + _SHARED, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=1777")
    for link, target in _LINKS.items():
        os.symlink(target, _INSIDE + link)


def _show(path: str, shown: set[str], depth: int = 0) -> None:
    """Make a path be there: its folders, the links on its way, and what they lead to."""
    at, parts = "", [part for part in path.split("/") if part]
    for number, part in enumerate(parts):
        if at in shown:
            return
        at = f"{at}/{part}"
        try:
            mode = os.lstat(_OUTSIDE + at).st_mode
        except OSError:
            return
        if stat.S_ISLNK(mode):
            target = os.readlink(_OUTSIDE + at)
            with contextlib.suppress(FileExistsError):
                os.symlink(target, _INSIDE + at)
            if depth < _MOST_LINKS:
                rest = os.path.join(os.path.dirname(at), target, *parts[number + 1 :])
                _show(os.path.normpath(rest), shown, depth + 1)
            return
        if number < len(parts) - 1:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_INSIDE + at)
            continue
        if not stat.S_ISDIR(mode):
            os.close(os.open(_INSIDE + at, os.O_CREAT | os.O_WRONLY, 0o600))
        elif not os.path.isdir(_INSIDE + at):
            os.mkdir(_INSIDE + at)
        _mount(_OUTSIDE + at, _INSIDE + at, None, _BIND | _RECURSIVE)
        shown.add(at)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    encoded: list[Any] = [
        None if each is None else os.fsencode(each) for each in (source, target, kind, options)
    ]
    source_, target_, kind_, options_ = encoded
    _check(_libc().mount(source_, target_, kind_, ctypes.c_ulong(flags), options_))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def main() -> None:
    """Try it, as a program: it ends with 0 where this system allows it, and else says why not.

    With ``root`` after its name it tries what root does.
    """
    try:
        leave_processes(as_root=sys.argv[1:] == ["root"])
        pid = os.fork()
        if pid:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        _enter([])
    except OSError as error:
        os.write(2, (error.strerror or str(error)).encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
