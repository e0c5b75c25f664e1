"""The doctor on the machine: limits, and what could confine code."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from jupyter_mlsvc_server.doctor import machine
from jupyter_mlsvc_server.doctor.findings import Setup, State

SETUP = Setup(data_dir=Path())


@pytest.mark.parametrize(
    ("limits", "state", "mend"),
    [
        ((1024, 524_288), State.WARN, "ulimit -n 65536,"),
        ((1024, 2048), State.WARN, "ulimit -n 2048,"),
        ((1024, resource.RLIM_INFINITY), State.WARN, "ulimit -n 65536,"),
        ((65_536, 65_536), State.OK, ""),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), State.OK, ""),
    ],
)
def test_descriptors_have_to_suffice(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], state: State, mend: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    (found,) = machine.check_descriptors(SETUP)
    assert (found.state, mend in found.mend) == (state, True)


@pytest.mark.parametrize(
    ("abi", "bubblewrap", "shown"),
    [
        (0, None, "no Landlock, and no bubblewrap"),
        (4, "/usr/bin/bwrap", "Landlock, ABI 4, and /usr/bin/bwrap"),
    ],
)
def test_confinement_is_told_by_what_there_is(
    monkeypatch: pytest.MonkeyPatch, abi: int, bubblewrap: str | None, shown: str
) -> None:
    monkeypatch.setattr(machine, "landlock_abi", lambda: abi)
    monkeypatch.setattr(shutil, "which", lambda _name: bubblewrap)
    (found,) = machine.check_confinement(SETUP)
    assert (found.state, shown in found.message) == (State.INFO, True)


def test_landlock_has_a_version_or_is_not_there() -> None:
    assert 0 <= machine.landlock_abi() < 1000
