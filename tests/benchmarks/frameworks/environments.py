"""Virtual environments made of a list of requirements, once for each list."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[3] / ".bench"
"""Where they are kept between runs."""

_STAMP = ".made-of"

_ASK_VERSIONS = """\
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class EnvironmentFailed(RuntimeError):
    """An environment could not be made; the message is one line."""


@dataclass(frozen=True)
class Environment:
    """One environment.

    Parameters
    ----------
    folder
        Where it is, or will be.
    requirements
        What is installed into it, as pip takes it.
    """

    folder: Path
    requirements: Sequence[str]

    def program(self, name: str) -> str:
        """Path of one of its programs."""
        return str(self.folder / "bin" / name)

    @property
    def fingerprint(self) -> str:
        """Differs where the requirements or the Python they are installed for do."""
        made_of = [platform.python_version(), *sorted(self.requirements)]
        return hashlib.sha256("\n".join(made_of).encode()).hexdigest()

    @property
    def is_made(self) -> bool:
        """Whether it is there, whole and of these requirements."""
        try:
            return (self.folder / _STAMP).read_text() == self.fingerprint
        except OSError:
            return False

    def make(self) -> None:
        """Make it, in the place of one of other requirements; nothing is built from source.

        Raises
        ------
        EnvironmentFailed
            Something can't be installed.
        """
        if self.is_made:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", str(self.folder)])
        pip = [self.program("python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        self._run([*pip, "install", "--only-binary", ":all:", *self.requirements])
        # Last, so that half an environment is never taken for a whole one.
        (self.folder / _STAMP).write_text(self.fingerprint)

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Versions of those of some packages that are installed."""
        asked = self._run([self.program("python"), "-c", _ASK_VERSIONS, *packages])
        found: dict[str, str] = json.loads(asked)
        return found

    def variables(self) -> dict[str, str]:
        """Environment variables for its programs, which then find each other first."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(self.folder)}

    def _run(self, command: Sequence[str]) -> str:
        finished = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.variables()
        )
        if finished.returncode:
            raise EnvironmentFailed(last_error(finished.stderr or finished.stdout))
        return finished.stdout


def last_error(output: str) -> str:
    """The line of a program's output that says best why it ended."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "notice" not in line]
    return (errors or lines or ["It ended without a word."])[-1][:300]
