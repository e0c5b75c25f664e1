"""The doctor on the machine: limits, and what could confine code."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest
from traitlets.config import Config

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
    ("level", "abi", "problem", "state"),
    [
        ("none", 7, "", State.WARN),
        ("basic", 0, "", State.FAIL),
        ("basic", 4, "", State.WARN),
        ("basic", 7, "Operation not permitted", State.OK),
        ("sandbox", 7, "Operation not permitted", State.FAIL),
        ("sandbox", 7, "", State.OK),
    ],
)
def test_confinement_is_told_by_level_and_machine(
    monkeypatch: pytest.MonkeyPatch, level: str, abi: int, problem: str, state: State
) -> None:
    monkeypatch.setattr(machine, "landlock_abi", lambda: abi)
    monkeypatch.setattr(machine, "why_no_sandbox", lambda: problem)
    config = Config({"Confinement": {"level": level}})
    (found,) = machine.check_confinement(msgspec.structs.replace(SETUP, config=config))
    assert (found.state, f"level {level}" in found.message) == (state, True)
    assert problem in found.message
