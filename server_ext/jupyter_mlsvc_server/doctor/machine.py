"""Checks of the machine: limits of processes, and what could confine code."""

from __future__ import annotations

import ctypes
import resource
import shutil
import sys
from collections.abc import Iterator
from typing import Final

from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State

_FEW_DESCRIPTORS: Final = 4096
_MANY_DESCRIPTORS: Final = 65_536
_FOR_A_VERSION: Final = 3
"""Descriptors of a loaded service version."""

_LANDLOCK_CREATE_RULESET: Final = 444
"""Number of the system call, the same on all processors."""
_LANDLOCK_VERSION: Final = 1


def check_descriptors(setup: Setup) -> Iterator[Finding]:
    """Look how many files and connections a process may have open."""
    name = "descriptors"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = (
        min(hard, _MANY_DESCRIPTORS) if hard != resource.RLIM_INFINITY else _MANY_DESCRIPTORS
    )
    if soft == resource.RLIM_INFINITY or soft >= _FEW_DESCRIPTORS:
        yield Finding(name, State.OK, f"A process may have {soft:,} open.")
    else:
        yield Finding(
            name,
            State.WARN,
            f"A process may have {soft:,} open, which is enough for some "
            f"{soft // _FOR_A_VERSION:,} loaded service versions without callers.",
            f"Raise it: ulimit -n {reachable}, or LimitNOFILE={_MANY_DESCRIPTORS} in the unit of "
            "systemd.",
        )


def check_confinement(setup: Setup) -> Iterator[Finding]:
    """Tell what this machine has to confine code with."""
    abi = landlock_abi()
    landlock = f"Landlock, ABI {abi}" if abi else "no Landlock"
    bubblewrap = shutil.which("bwrap") or "no bubblewrap"
    yield Finding(
        "confinement",
        State.INFO,
        f"The machine has {landlock}, and {bubblewrap}. Code of sessions and services runs as the "
        "account of the server.",
        "Give the server an account of its own that can read nothing else.",
    )


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel has; 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    call = ctypes.CDLL(None, use_errno=True).syscall
    return max(int(call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)), 0)
