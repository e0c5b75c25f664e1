"""Packages that a session installs for itself.

They go into a folder of its working directory, so that snapshots keep them and services published
from a snapshot have them. The folder is last on the path: what the server has is never replaced by
it, neither in a session nor in a service.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from jupyter_mlsvc_server.formats.manifest import FileEntry

if TYPE_CHECKING:
    from importlib.metadata import Distribution

FOLDER: Final = ".mlsvc-packages"
"""Name of the folder in the working directory."""


def split(files: Iterable[FileEntry]) -> tuple[list[FileEntry], list[FileEntry]]:
    """Split the files of a working directory from those of packages, which nobody changes."""
    own: list[FileEntry] = []
    packages: list[FileEntry] = []
    for file in files:
        (packages if file.path.startswith(f"{FOLDER}/") else own).append(file)
    return own, packages


class PackageFinder(MetaPathFinder):
    """Finds modules in a folder that may come later, after all other finders.

    Parameters
    ----------
    folder
        Where packages are, or will be.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module at the top of the folder; those in packages are found by their paths."""
        if path is not None or not self.is_used():
            return None
        return PathFinder.find_spec(fullname, [self._folder], target)

    def is_used(self) -> bool:
        """Return whether there is anything, and put the folder on the path if there is."""
        if not os.path.isdir(self._folder):
            return False
        if self._folder not in sys.path:
            sys.path.append(self._folder)
            # That there was no folder is remembered.
            sys.path_importer_cache.pop(self._folder, None)
        return True


def use(folder: Path) -> PackageFinder:
    """Let modules be imported from a folder, whether it is there yet or not."""
    finder = PackageFinder(str(folder))
    sys.meta_path.append(finder)
    finder.is_used()
    return finder


class SessionPackages:
    """Installs packages for one session alone.

    Parameters
    ----------
    shell
        The IPython shell of its kernel.
    folder
        Where packages go. The environment tells pip so.
    """

    def __init__(self, shell: Any, folder: Path) -> None:
        self._shell = shell
        self._folder = folder
        self._finder = use(folder)
        self._seen: tuple[int, int] | None = None

    def register(self) -> None:
        """Take the place of IPython's own magics, which change the server's Python."""
        shell = self._shell
        shell.register_magic_function(self._pip, "line", "pip")
        for name in ("conda", "mamba", "micromamba", "uv"):
            shell.register_magic_function(self._refuse(name), "line", name)
        # However pip was called: !pip, %%bash and subprocess read the same environment.
        shell.events.register("post_run_cell", self._after_cell)

    def _pip(self, line: str) -> None:
        """Run pip; what it installs is for this session, its snapshots and their services."""
        words = line.split()
        if "uninstall" in words[:3]:
            self._uninstall([word for word in words if not word.startswith("-")][1:])
            return
        self._shell.system(f"{sys.executable} -m pip {line}")
        self._tidy()

    def _refuse(self, name: str) -> Any:
        def refuse(line: str) -> None:
            from IPython.core.error import UsageError

            raise UsageError(
                f"%{name} would change the server's Python for everybody. "
                "%pip install installs packages for this session."
            )

        refuse.__doc__ = f"Say what to do in place of %{name}."
        return refuse

    def _uninstall(self, names: list[str]) -> None:
        from IPython.core.error import UsageError

        own = {_key(each): each for each in _installed([str(self._folder)])}
        for name in names:
            found = own.get(_normal(name))
            if found is None:
                raise UsageError(f"{name} is no package of this session, so it stays.")
            text = f"Uninstalled {found.name} {found.version} from this session."
            _remove(found)
            print(text)  # noqa: T201 - a cell
        importlib.invalidate_caches()

    def _after_cell(self, _result: object) -> None:
        self._tidy()

    def _tidy(self) -> None:
        """Drop what the server has anyway, once something was installed, and say what differs."""
        try:
            status = os.stat(self._folder)
        except OSError:
            return
        seen = (status.st_mtime_ns, status.st_ino)
        if seen == self._seen:
            return
        self._finder.is_used()
        importlib.invalidate_caches()
        path = [folder for folder in sys.path if folder != str(self._folder)]
        servers = {_key(each): each.version for each in _installed(path)}
        for each in _installed([str(self._folder)]):
            version = servers.get(_key(each))
            if version is None:
                continue
            text = (
                f"{each.name} {each.version} was left out: the server has {version}, which "
                "sessions and services share."
            )
            is_other = version != each.version
            _remove(each)
            if is_other:
                print(text, file=sys.stderr)  # noqa: T201 - a cell
        status = os.stat(self._folder)
        self._seen = (status.st_mtime_ns, status.st_ino)


def _installed(path: list[str]) -> list[Distribution]:
    # Imported late: workers import this module as well, and never ask.
    from importlib.metadata import distributions

    return list(distributions(path=path))


def _key(distribution: Distribution) -> str:
    return _normal(distribution.name or "")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _remove(distribution: Distribution) -> None:
    """Remove the files of a package, and folders that are empty then."""
    folders: set[Path] = set()
    for file in distribution.files or ():
        path = Path(str(file.locate()))
        path.unlink(missing_ok=True)
        folders.add(path.parent)
        cached = path.parent / "__pycache__"
        for compiled in cached.glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        folders.add(cached)
    for start in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        folder = start
        while folder.name != FOLDER:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                break
            folder = folder.parent
