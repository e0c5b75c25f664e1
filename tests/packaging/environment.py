"""An environment that holds a wheel and what it requires, made of what is installed here already.

Pip would fetch and unpack all of it once more, and take what is newest that day.
"""

from __future__ import annotations

import contextlib
import os
import sys
import venv
from collections.abc import Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import run


class Environment:
    """A virtual environment with a wheel in it, and at first nothing of what that requires.

    Parameters
    ----------
    folder
        Where it is made.
    wheel
        What pip installs in it.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder)
        self.folder = folder
        self._python = folder / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", self._python)
        run(*pip, "install", "--quiet", "--no-compile", "--no-deps", "--no-index", wheel)
        (self._site,) = folder.glob("lib/python*/site-packages")
        (installed,) = metadata.distributions(name="jupyter-mlsvc", path=[str(self._site)])
        self.requires: list[str] = installed.requires or []

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables of a program in it."""
        return {
            "HOME": str(self.folder.parent),
            "PATH": f"{self._python.parent}:/usr/bin:/bin",
            "JUPYTER_PREFER_ENV_PATH": "1",
        }

    def python(self, *arguments: str) -> str:
        """Run its Python; return what that wrote."""
        return run(self._python, *arguments, **self.variables)

    def bring(self, requires: Iterable[str], extras: Collection[str] = ()) -> set[str]:
        """Add what requirements ask for, and all that it requires in turn; return the names."""
        found = needed(requires, extras)
        for distribution in found.values():
            self._link(distribution)
        return set(found)

    def _link(self, distribution: metadata.Distribution) -> None:
        for file in distribution.files or ():
            if ".." not in file.parts:
                self._link_file(self._site / file.parts[0], distribution.locate_file(file.parts[0]))
            elif "bin" not in file.parts:  # programs there name the Python of another environment
                place = Path(os.path.normpath(self._site / file))
                self._link_file(place, distribution.locate_file(file))

    def _link_file(self, place: Path, target: object) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            place.symlink_to(os.path.normpath(str(target)))


def needed(
    requires: Iterable[str], extras: Collection[str] = ()
) -> Mapping[str, metadata.Distribution]:
    """Return what requirements ask for, and all that it requires in turn, as it is here."""
    found: dict[str, metadata.Distribution] = {}
    seen = set()
    todo = [(line, frozenset({"", *extras})) for line in requires]
    while todo:
        line, asked = todo.pop()
        requirement = Requirement(line)
        marker = requirement.marker
        if (line, asked) in seen or not (
            marker is None or any(marker.evaluate({"extra": extra}) for extra in asked)
        ):
            continue
        seen.add((line, asked))
        distribution = metadata.distribution(requirement.name)
        assert requirement.specifier.contains(distribution.version, prereleases=True), line
        found[canonicalize_name(requirement.name)] = distribution
        inner = frozenset({"", *requirement.extras})
        todo += [(each, inner) for each in distribution.requires or ()]
    return found
