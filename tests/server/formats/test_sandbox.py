"""What runs in a sandbox: how it ends, and what it sees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jupyter_mlsvc_server.confinement import Confinement, why_no_sandbox
from jupyter_mlsvc_server.formats import confine
from jupyter_mlsvc_server.formats.guard import guarded

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if problem := why_no_sandbox():
        pytest.skip(f"needs user namespaces ({problem})")


def run(folder: Path, command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a shell command as a kernel is run, with one folder to write into."""
    confinement = Confinement(data_dir=folder / "data", level="sandbox", **settings)
    policy = confinement.policy(write=[folder / "own"])
    assert policy is not None
    (folder / "own").mkdir()
    return subprocess.run(
        guarded(["/bin/sh", "-c", command]),
        env={confine.VARIABLE: policy.encoded(), "PATH": os.environ["PATH"]},
        cwd=folder / "own",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", -9), ("kill -SEGV $$", -11)],
)
def test_it_ends_as_its_command_does(tmp_path: Path, command: str, code: int) -> None:
    assert run(tmp_path, command).returncode == code


def test_it_has_files_and_processes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    seen = run(
        tmp_path,
        f"echo here >file; ls -d /etc/shadow /home {tmp_path}/secret; cat /proc/1/comm; "
        "kill -KILL 1; echo $PWD; : >/dev/shm/x && ls /dev/pts",
    )
    assert seen.returncode == 0, seen.stderr
    _, own, *terminals = seen.stdout.split("\n")
    assert (own, terminals) == (str(tmp_path / "own"), ["ptmx", ""])
    assert (tmp_path / "own" / "file").read_text() == "here\n"
    assert not Path("/dev/shm/x").exists()


def test_a_link_leads_to_what_it_leads_to_outside(tmp_path: Path) -> None:
    (real := tmp_path / "real").mkdir()
    (real / "data").write_text("found")
    (tmp_path / "link").symlink_to("real")
    seen = run(tmp_path, f"cat {tmp_path}/link/data", readable_paths=[str(tmp_path / "link")])
    assert (seen.stdout, seen.stderr) == ("found", "")
