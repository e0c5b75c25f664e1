"""Python environments for programs that nobody here wrote, with their own dependencies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, requirements: Sequence[str]) -> Path:
    """Make a virtual environment, or find the one made before; give its Python.

    Parameters
    ----------
    folder
        Where environments stay from run to run.
    requirements
        What pip installs into it; others make another environment.
    """
    wanted = "\n".join([sys.version, *requirements])
    place = folder / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    python = place / "bin" / "python"
    finished = place / "finished"
    if not finished.exists():
        # What an interrupted run left is replaced.
        # Our pip installs there: one of its own, and compiling all that is never imported, would
        # take longer than the packages.
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)])
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
        _run([*pip, "--disable-pip-version-check", "--no-compile", *requirements])
        finished.touch()
    return python


def variables(**own: str) -> dict[str, str]:
    """The environment of a foreign program: nothing that leads to our packages or server."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "MLSVC_", "JUPYTER_", "VIRTUAL_ENV"))
    }
    return inherited | own


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, env=variables(), capture_output=True, text=True, timeout=280, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
