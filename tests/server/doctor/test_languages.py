"""The doctor on the languages: kernels that start, and packages of R."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.doctor import languages
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State


def r_that(folder: Path, script: str) -> Setup:
    """A setup whose R is a script."""
    program = folder / "R"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Setup(data_dir=folder, config=Config(LocalEngine={"r_command": str(program)}))


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "state", "shown"),
    [
        ("true", State.OK, "jsonlite and IRkernel"),
        ("printf IRkernel", State.FAIL, "has no IRkernel"),
        ("exit 3", State.FAIL, "does not run"),
    ],
)
def test_r_has_to_have_its_packages(tmp_path: Path, script: str, state: State, shown: str) -> None:
    (found,) = languages.check_r_packages(r_that(tmp_path, script))
    assert (found.state, shown in found.message) == (state, True)


def test_r_need_not_be_installed(tmp_path: Path) -> None:
    config = Config(LocalEngine={"r_command": "no-such-R"})
    (found,) = languages.check_r_packages(Setup(data_dir=tmp_path, config=config))
    assert found.state is State.INFO


def kernels(folder: Path, **specs: str) -> list[Finding]:
    config = Config(KernelFactory={"kernel_specs": specs})
    return [*languages.check_kernels(Setup(data_dir=folder / "data", config=config))]


@pytest.mark.kernel
def test_a_kernel_is_started_as_a_session_would(tmp_path: Path) -> None:
    python, r = kernels(tmp_path, R="")
    assert (python.state, r.state) == (State.OK, State.INFO), python.message
    assert not (tmp_path / "data").exists()


def test_python_without_a_kernel_is_wrong(tmp_path: Path) -> None:
    python, r = kernels(tmp_path, Python="no-such-kernel", R="no-such-kernel")
    assert (python.state, r.state) == (State.FAIL, State.INFO)


@pytest.mark.process
def test_a_kernel_that_ends_is_told_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "kernels" / "broken"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["/bin/sh", "-c", "echo it is out of order; exit 1"], "display_name": "Broken",'
        ' "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    python, _ = kernels(tmp_path, Python="broken", R="")
    assert (python.state, "it is out of order" in python.message) == (State.FAIL, True), python
