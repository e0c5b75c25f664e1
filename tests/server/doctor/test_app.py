"""The command: what it writes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlsvc_server.doctor.app import CHECKS, SLOW_CHECKS, as_text
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State, run_check, worst
from jupyter_mlsvc_server.launch import ServerProcess

WELL = Finding("disk", State.OK, "9 GiB are free.")
ILL = Finding("public port", State.FAIL, "It is taken.", "Choose another.")


def test_findings_are_lines_with_what_mends_them() -> None:
    assert as_text([WELL, ILL]).splitlines() == [
        "ok    disk         9 GiB are free.",
        "fail  public port  It is taken.",
        "                   -> Choose another.",
        "",
        "Wrong: 1 of 2.",
    ]
    assert as_text([WELL]).endswith("\nNothing is wrong.")


def test_the_worst_finding_counts() -> None:
    assert worst([]) is State.OK
    assert worst([WELL, ILL, WELL]) is State.FAIL


def test_a_check_that_breaks_is_a_finding() -> None:
    def check(_setup: Setup) -> Iterator[Finding]:
        yield WELL
        raise OSError("of the check")

    (found,) = run_check("disk", check, Setup(data_dir=Path()))
    assert (found.check, found.state) == ("disk", State.FAIL)
    assert "of the check" in found.message


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jupyter_mlsvc_server", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.kernel
def test_a_running_server_is_found_well(mlsvc_server: ServerProcess) -> None:
    place = [f"--data-dir={mlsvc_server.data_dir}"]
    port = f"--MlsvcApp.public_port={mlsvc_server.public_port}"
    done = doctor("--json", "--quick", *place, port)
    report = json.loads(done.stdout)
    states = {each["check"]: each["state"] for each in report["findings"]}
    assert set(CHECKS) <= set(states), done.stderr
    assert not set(SLOW_CHECKS) & set(states)
    expected = ("server", "public port", "database", "accounts", "connection files")
    assert {states[check] for check in expected} == {"ok"}, report
    assert done.returncode == (report["state"] == "fail")


@pytest.mark.process
def test_something_wrong_ends_with_status_1(tmp_path: Path) -> None:
    (tmp_path / "mlsvc.db").write_text("no database")
    done = doctor("--quick", f"--data-dir={tmp_path}")
    assert done.returncode == 1
    assert "fail  database" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Wrong: ")
