"""Groups of processes with limits, in a folder that stands for the system's."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc_server import cgroups
from jupyter_mlsvc_server.cgroups import Cgroups, NoCgroups


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system as a container sees it: its group is the topmost one."""
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        "sys/fs/cgroup/cgroup.procs": "7\n9\n",
        "sys/fs/cgroup/cgroup.subtree_control": "",
    }
    for name, text in files.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_group_has_the_limits_of_the_settings_and_goes(system: Path) -> None:
    own = system / "sys/fs/cgroup"
    groups = Cgroups(system)
    assert groups.controllers == ("memory", "pids", "cpu")
    assert (own / "server/cgroup.procs").read_text() == "9"  # each on its own, the last one last
    folder = groups.open("one", {"memory": 2**30, "pids": 100, "cpu": 1.5})
    limits = {path.name: path.read_text() for path in folder.iterdir()}
    expected = {"memory.max": str(2**30), "pids.max": "100", "cpu.max": "150000 100000"}
    assert limits == expected
    for path in folder.iterdir():
        path.unlink()  # the system's own files go with the folder
    groups.close(folder)
    left = folder / "cgroup.kill"
    assert not folder.exists() or left.read_text() == "1"


def test_what_has_no_limit_gets_none(system: Path) -> None:
    folder = Cgroups(system).open("one", {"memory": 0, "pids": 100})
    assert [path.name for path in folder.iterdir()] == ["pids.max"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("proc/self/cgroup", "9:memory:/x\n", "version 2"),
        ("proc/self/cgroup", "0::/user.slice/session\n", "Delegate"),
        ("sys/fs/cgroup/cgroup.controllers", "io\n", "no controllers"),
    ],
)
def test_why_there_are_none_is_said(system: Path, name: str, text: str, words: str) -> None:
    (system / name).write_text(text)
    with pytest.raises(NoCgroups, match=words):
        Cgroups(system)


def test_a_group_that_systemd_delegates_is_divided(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = system / "sys/fs/cgroup/system.slice/mlsvc"
    own.mkdir(parents=True)
    for path in (system / "sys/fs/cgroup").glob("cgroup.*"):
        if path.name != "cgroup.controllers":
            (own / path.name).write_text(path.read_text())
    (own / "cgroup.controllers").write_text("memory pids\n")
    (system / "proc/self/cgroup").write_text("0::/system.slice/mlsvc\n")
    monkeypatch.setattr(cgroups, "_is_delegated", lambda folder: folder == own)
    assert Cgroups(system).controllers == ("memory", "pids")
