"""An sdist and a wheel, built once from what is tracked, as a release would be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, **environment: str) -> str:
    """Run a command to its end and give what it wrote; fail with that when it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(kind: str, source: Path, output: Path, *options: str, **environment: str) -> Path:
    command = (sys.executable, "-m", "build", f"--{kind}", *options)
    run(*command, "-o", output, source, **environment)
    (built,) = output.iterdir()
    return built


def source_files() -> Sequence[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, built from a copy so that nothing in the working tree changes.

    It is built in an environment of its own, which shows that ``build-system`` names all it takes.
    """
    source = tmp_path_factory.mktemp("source")
    for name in source_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name)
    packages = REPOSITORY / "labextension" / "node_modules"
    if packages.is_dir() and packages.stat().st_dev == source.stat().st_dev:
        # jlpm finds them as the lock says, and need not unpack them once more.
        copy = source / "labextension" / "node_modules"
        shutil.copytree(packages, copy, symlinks=True, copy_function=os.link)
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist with no Node on PATH."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    nothing = tmp_path_factory.mktemp("no-programs")
    # With the sdist an environment of its own was tried; what the lock brings has all of it.
    isolation = ["--no-isolation"] if find_spec("hatch_jupyter_builder") else []
    output = tmp_path_factory.mktemp("wheel")
    return build("wheel", source, output, *isolation, PATH=str(nothing))
