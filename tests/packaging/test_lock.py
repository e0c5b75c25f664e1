"""What ``make install`` installs is what pyproject.toml asks for, file by file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
EXTRAS: Final = ("server", "test", "bench", "lint", "docs")
ENTRIES: Final = (ROOT / ".ci" / "requirements.txt").read_text().replace("\\\n", "").splitlines()


def locked() -> list[Requirement]:
    return [
        Requirement(entry.partition("--hash")[0]) for entry in ENTRIES if not entry.startswith("#")
    ]


def asked() -> Iterator[Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        pyproject = tomllib.load(file)
    project = pyproject["project"]
    optional = project["optional-dependencies"]
    yield from map(Requirement, pyproject["build-system"]["requires"])
    yield from map(Requirement, project["dependencies"])
    yield from (Requirement(each) for extra in EXTRAS for each in optional[extra])


@pytest.mark.parametrize("python", ["3.11.9", "3.12.7", "3.13.2", "3.14.0"])
def test_the_lock_has_what_is_asked_for(python: str) -> None:
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}

    def holds(requirement: Requirement) -> bool:
        return requirement.marker is None or requirement.marker.evaluate(environment)

    found = {canonicalize_name(each.name): each.specifier for each in locked() if holds(each)}
    missing = [
        str(each)
        for each in asked()
        if holds(each)
        and not any(
            each.specifier.contains(pin.version, prereleases=True)
            for pin in found.get(canonicalize_name(each.name), ())
        )
    ]
    assert missing == [], "Run: make lock"


def test_each_release_is_known_by_its_files_and_by_no_address() -> None:
    for entry in ENTRIES:
        assert entry.startswith("#") or re.search(r"==\S.* --hash=sha256:[0-9a-f]{64}", entry)
        assert "://" not in entry
