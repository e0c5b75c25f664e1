"""Checks of the machine: limits of processes, and what could confine code."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Final

from jupyter_mlsvc_server.confinement import NONE, SANDBOX, USER, Confinement, why_no_sandbox
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.formats.confine import SCOPES_ABI, landlock_abi

_FEW_DESCRIPTORS: Final = 4096
_MANY_DESCRIPTORS: Final = 65_536
_FOR_A_VERSION: Final = 3
"""Descriptors of a loaded service version."""


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
    """Tell how code is confined here."""
    name = "confinement"
    confinement = Confinement(data_dir=setup.data_dir, config=setup.config)
    abi = landlock_abi()
    machine = f"Landlock, ABI {abi}" if abi else "no Landlock"
    problem = why_no_sandbox()
    machine += f", and no user namespaces ({problem})" if problem else ", and user namespaces"
    said = f"Code of sessions and services runs at level {confinement.level}; the machine has "
    if confinement.level == NONE:
        yield Finding(
            name,
            State.WARN,
            f"{said}{machine}. It may do what the server's account may do.",
            "Give the server an account of its own that can read nothing else, and each person a "
            "server of their own.",
        )
    elif not abi:
        yield Finding(
            name,
            State.FAIL,
            f"{said}{machine}. The server does not start.",
            "Take Linux 5.13 or later, or leave Confinement.level out.",
        )
    elif confinement.level == SANDBOX and problem:
        yield Finding(
            name,
            State.FAIL,
            f"{said}{machine}. The server does not start.",
            "Allow user namespaces (sysctl: user.max_user_namespaces, and where it exists "
            "kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns), "
            "or set Confinement.level to basic.",
        )
    elif confinement.level == USER and (problem := confinement.why_no_users()):
        yield Finding(
            name,
            State.FAIL,
            f"{said}{machine}. The server does not start: {problem}.",
            "Do that, or set Confinement.level to basic.",
        )
    elif abi < SCOPES_ABI:
        yield Finding(
            name,
            State.WARN,
            f"{said}{machine}, which lets it send signals to the server.",
            "Take Linux 6.12 or later.",
        )
    else:
        yield Finding(name, State.OK, f"{said}{machine}.")
