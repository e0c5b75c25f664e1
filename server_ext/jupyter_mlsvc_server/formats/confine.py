"""Confinement: takes from this process what people's code must not have, for good.

The guard of a session's kernel, and templates, call :func:`confine` themselves: no further process
is needed. What a confined process starts is confined alike, and nothing of it can be undone.

Steps, in this order::

    limits         of open files, processes, memory, file size; no core
    user           by the policy, another one than the server's
    capabilities   dropped from all sets; root does not get them back by running a program
    no new rights  by programs that are set-uid or have capabilities of their own
    network        where the policy has none, no sockets but those of Unix (seccomp)
    Landlock       files that are not in the policy can't be opened, made, moved or removed;
                   signals, ptrace and abstract sockets end at the confined processes; TCP by the
                   policy

Landlock has come in steps, and the number of its interface (ABI) says what this kernel knows. What
it never restricts: ``stat``, ``chmod``, and connections to Unix sockets that have a path.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

VARIABLE: Final = "MLSVC_CONFINEMENT"
"""Environment variable with the policy of a command."""

SCOPES_ABI: Final = 6
"""The first interface that keeps signals and abstract sockets in."""

READ_ONLY_ABI: Final = 3
"""The first interface that keeps all of a file's content from being changed."""

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_FILE: Final = 1 << 5
_MAKE_REG: Final = 1 << 8
_TRUNCATE: Final = 1 << 14
_IOCTL_DEV: Final = 1 << 15

_FIRST_FILE_ACCESSES: Final = (1 << 13) - 1
_REFER: Final = 1 << 13
_LATER_FILE_ACCESSES: Final = ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV))
"""From which interface on moving between folders, truncation and control of devices are known."""
_TCP: Final = 0b11
_TCP_ABI: Final = 4
_SCOPES: Final = 0b11

_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_SHARED: Final = _WRITE_FILE | _READ_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_CHANGES: Final = (_FIRST_FILE_ACCESSES & ~_READ) | _REFER | _TRUNCATE
_WRITE: Final = _READ | _CHANGES
_DEVICE: Final = _WRITE_FILE | _READ_FILE | _READ_DIR | _IOCTL_DEV
LINK: Final = "link"
"""The access of a link: none."""
_ACCESSES: Final = {
    "read": _READ,
    "write": _WRITE,
    "shared": _SHARED,
    "device": _DEVICE,
    "list": _READ_DIR,
}

_PR_SET_SECUREBITS: Final = 28
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_PR_SET_DUMPABLE: Final = 4
_NO_ROOT: Final = 0b11101111
"""Root is nobody special, and that is locked (SECBIT_NOROOT, …, without SECBIT_KEEP_CAPS)."""
_CAPABILITY_VERSION: Final = 0x20080522
_MAX_CAPABILITIES: Final = 64

_SYSTEM_CALLS: Final = {
    "x86_64": (0xC000003E, 41, 53, 425, 317),
    "aarch64": (0xC00000B7, 198, 199, 425, 277),
}
"""By machine: what seccomp calls it, and the numbers of ``socket``, ``socketpair``,
``io_uring_setup``, which makes sockets as well, and ``seccomp``."""
_OTHER_CALLS: Final = 0x40000000
"""From which number on calls are of another kind, with other numbers (x86's x32)."""
_UNIX: Final = 1
_PR_SET_SECCOMP: Final = 22
_BY_FILTER: Final = 2
_IS_KNOWN: Final = 2
_LET: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_NOT_LESS: Final = 0x35
_RETURN: Final = 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
"""Where a filter finds what is called."""

_LIMITS: Final = {
    "files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
    "memory": resource.RLIMIT_DATA,
    "processes": getattr(resource, "RLIMIT_NPROC", -1),
    "core": resource.RLIMIT_CORE,
}


class Policy(NamedTuple):
    """What a confined process may do.

    Attributes
    ----------
    files
        Accesses and paths: ``read`` (and run), ``write``, ``shared`` (files in it may be made,
        but not listed), ``device``, ``list`` (names only). Of a folder the access is to all
        below it. A ``link`` gives no access: it is what others are found by.
    limits
        Numbers by name: ``files``, ``file_bytes``, ``memory``, ``processes``, ``core``.
    network
        Whether there is any.
    sandboxed
        Whether it also gets namespaces of its own (see ``sandbox``).
    user
        User and group that it becomes; 0 for those that it is.
    group
        Group that it also belongs to then.
    cgroup
        Folder of the control group that it joins; empty for the one that it is in.
    """

    files: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    network: bool = True
    sandboxed: bool = False
    user: int = 0
    group: int = 0
    cgroup: str = ""

    def encoded(self) -> str:
        """Write it as lines of text."""
        lines = [f"{access} {path}" for access, path in self.files if "\n" not in path]
        lines += [f"limit {name} {number}" for name, number in self.limits]
        lines += [f"network {int(self.network)}", f"sandboxed {int(self.sandboxed)}"]
        lines += [f"user {self.user}", f"group {self.group}", f"cgroup {self.cgroup}"]
        return "\n".join(lines)

    @classmethod
    def decoded(cls, text: str) -> Policy:
        """Read what :meth:`encoded` wrote."""
        files, limits, flags = [], [], {"network": True, "sandboxed": False}
        ids, cgroup = {"user": 0, "group": 0}, ""
        for line in text.split("\n"):
            word, _, rest = line.partition(" ")
            if word == "limit":
                name, _, number = rest.partition(" ")
                limits.append((name, int(number)))
            elif word in flags:
                flags[word] = rest == "1"
            elif word in ids:
                ids[word] = int(rest)
            elif word == "cgroup":
                cgroup = rest
            else:
                files.append((word, rest))
        return cls(
            tuple(files),
            tuple(limits),
            **flags,
            user=ids["user"],
            group=ids["group"],
            cgroup=cgroup,
        )


def landlock_abi() -> int:
    """Return the number of the system's Landlock interface; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    abi: int = _libc().syscall(_CREATE_RULESET, None, 0, _VERSION)
    return max(abi, 0)


def join_cgroup(policy: Policy) -> None:
    """Have this process be limited with others; to be called where it sees the system's files.

    Raises
    ------
    OSError
        That failed.
    """
    if policy.cgroup:
        with open(f"{policy.cgroup}/cgroup.procs", "w", encoding="ascii") as members:
            members.write("0")


def confine(policy: Policy) -> None:
    """Confine this thread, and all that it starts from now on.

    Raises
    ------
    OSError
        That failed; the process must not run the code of others.
    """
    for name, number in policy.limits:
        _limit(_LIMITS[name], number)
    _drop_capabilities(policy)
    _check(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if not policy.network and can_close_network():
        _close_network()
    abi = landlock_abi()
    if abi:
        _restrict(policy, abi)


def narrow(policy: Policy, folder: str, instead: Iterable[tuple[str, str]]) -> None:
    """Keep this thread, which is confined, to parts of a folder from now on.

    Others that are confined by the same policy can't be reached by signals any more either.

    Parameters
    ----------
    policy
        By which it is confined; all else in it stays.
    folder
        A folder of the policy.
    instead
        Accesses and paths that are left of it.

    Raises
    ------
    OSError
        That failed; the process must not run the code of others.
    """
    kept = (each for each in policy.files if each[1] != folder)
    if abi := landlock_abi():
        _restrict(Policy((*kept, *instead), *policy[1:]), abi)


def keep_from_writing(policy: Policy, but: Iterable[str]) -> None:
    """Let this thread, which is confined, write nothing but some folders and devices from now on.

    Parameters
    ----------
    policy
        By which it is confined; its devices stay.
    but
        What may be written.

    Raises
    ------
    OSError
        That failed; the process must not run the code of others.
    """
    libc = _libc()
    ruleset = _check(libc.syscall(_CREATE_RULESET, (ctypes.c_uint64 * 1)(_CHANGES), 8, 0))
    try:
        for path in but:
            _allow(libc, ruleset, _CHANGES, path)
        for name, path in policy.files:
            if name == "device":
                _allow(libc, ruleset, _WRITE_FILE, path)
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def can_close_network() -> bool:
    """Whether code can be kept from all sockets but those of Unix."""
    known = _SYSTEM_CALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if known is None:
        return False
    refuse = ctypes.c_uint32(_REFUSE)
    available: int = _libc().syscall(known[-1], _IS_KNOWN, 0, ctypes.byref(refuse))
    return available == 0


def hide_memory() -> None:
    """Keep other processes of the same user from the memory and environment of this one."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _limit(which: int, number: int) -> None:
    """Set a limit, unless a lower one is there already."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        number = min(number, hard)
    resource.setrlimit(which, (number, number))


def _drop_capabilities(policy: Policy) -> None:
    libc = _libc()
    # They need capabilities themselves, which an ordinary user does not have: nothing to drop.
    for capability in range(_MAX_CAPABILITIES):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0)
    if policy.user:
        os.setgroups([policy.group])
        os.setresgid(policy.user, policy.user, policy.user)
        os.setresuid(policy.user, policy.user, policy.user)
        # Without this what /proc has of this process is root's.
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check(libc.capset(header, (ctypes.c_uint32 * 6)()))


def _close_network() -> None:
    """Refuse this thread, and all that it starts, sockets that are not of Unix."""
    machine, makes_one, makes_two, ring, _ = _SYSTEM_CALLS[os.uname().machine]
    refuse = _REFUSE | errno.EACCES
    # A jump says how many steps are left out, where the test holds and where it does not.
    steps = [
        (_LOAD, 0, 0, _MACHINE),
        (_IF_EQUAL, 0, 8, machine),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_NOT_LESS, 6, 0, _OTHER_CALLS),
        (_IF_EQUAL, 5, 0, ring),
        (_IF_EQUAL, 1, 0, makes_one),
        (_IF_EQUAL, 0, 2, makes_two),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_EQUAL, 0, 1, _UNIX),
        (_RETURN, 0, 0, _LET),
        (_RETURN, 0, 0, refuse),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    text = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(steps), ctypes.addressof(text))
    _check(_libc().prctl(_PR_SET_SECCOMP, _BY_FILTER, program, 0, 0))


def _restrict(policy: Policy, abi: int) -> None:
    libc = _libc()
    handled = _FIRST_FILE_ACCESSES
    for first, access in _LATER_FILE_ACCESSES:
        handled |= access if abi >= first else 0
    attributes = (ctypes.c_uint64 * 3)(
        handled,
        _TCP if abi >= _TCP_ABI and not policy.network else 0,
        _SCOPES if abi >= SCOPES_ABI else 0,
    )
    # An older system knows a shorter structure.
    size = 8 * (1 + (abi >= _TCP_ABI) + (abi >= SCOPES_ABI))
    ruleset = _check(libc.syscall(_CREATE_RULESET, attributes, size, 0))
    try:
        for name, path in policy.files:
            if name != LINK:
                _allow(libc, ruleset, _ACCESSES[name] & handled, path)
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, accesses: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        # What is not there needs no rule, and what can't be reached can't be opened either.
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP}:
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            accesses &= _OF_FILES
        rule = accesses.to_bytes(8, sys.byteorder) + descriptor.to_bytes(4, sys.byteorder)
        _check(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)
