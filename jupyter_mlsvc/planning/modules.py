"""Modules that stand as files beside the notebook; a service needs these files as well."""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jupyter_mlsvc.client.session import Session

_LEFT_OUT: Final = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MAX_BYTES: Final = 20 * 2**20
"""A package with more than this in it is no helper of a notebook."""
_WRITE: Final = """exec({code!r}, {{}})"""
_WRITE_FILE: Final = """import base64, pathlib
file = pathlib.Path({name!r})
file.parent.mkdir(parents=True, exist_ok=True)
file.write_bytes(base64.b64decode({data!r}))
"""
_RELOAD: Final = """import importlib, sys
importlib.invalidate_caches()
for name in {names!r}:
    if name in sys.modules:
        importlib.reload(sys.modules[name])
"""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file beside the notebook, with its name relative to the notebook's folder."""

    name: str
    path: Path

    @property
    def module(self) -> str:
        """Name of the module that it holds."""
        parts = list(Path(self.name).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def local_files(modules: Iterable[str], sources: Iterable[str], folder: Path) -> list[LocalFile]:
    """Find the files of modules that stand in a folder, with those that these import.

    Parameters
    ----------
    modules
        Names of modules that objects refer to.
    sources
        Code whose imports count as well.
    folder
        That of the notebook.
    """
    todo = [name.partition(".")[0] for name in modules]
    for source in sources:
        todo += _imported(source)
    seen: set[str] = set()
    found: list[LocalFile] = []
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in _files_of(name, folder):
            found.append(LocalFile(path.relative_to(folder).as_posix(), path))
            if path.suffix == ".py":
                with suppress(OSError, UnicodeDecodeError):
                    todo += _imported(path.read_text(encoding="utf-8"))
    return sorted(found, key=lambda each: each.name)


def send_files(session: Session, files: Iterable[LocalFile]) -> list[str]:
    """Put files into a session's folder where they differ; return the names of those that did."""
    there = set(session.list_files())
    sent: list[LocalFile] = []
    for each in files:
        data = each.path.read_bytes()
        if each.name in there and session.download_file(each.name) == data:
            continue
        if "/" in each.name:
            text = base64.b64encode(data).decode("ascii")
            code = _WRITE_FILE.format(name=each.name, data=text)
            session.execute(_WRITE.format(code=code))
        else:
            session.upload_file(each.path, each.name)
        sent.append(each)
    if sent:
        # The session may have imported what the files held before.
        names = [each.module for each in sent if each.path.suffix == ".py"]
        session.execute(_WRITE.format(code=_RELOAD.format(names=names)))
    return [each.name for each in sent]


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    if not name.isidentifier() or _is_installed(name):
        return
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is not None and folder not in Path(loaded).resolve().parents:
        return
    if (module := folder / f"{name}.py").is_file():
        yield module
    elif (folder / name / "__init__.py").is_file():
        files = [
            path
            for path in sorted((folder / name).rglob("*"))
            if path.is_file() and not _LEFT_OUT.intersection(path.parts)
        ]
        if sum(path.stat().st_size for path in files) <= _MAX_BYTES:
            yield from files


def _is_installed(name: str) -> bool:
    """Whether a distribution of this name is installed, if only from a folder like this one."""
    if name in sys.stdlib_module_names:
        return True
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _imported(source: str) -> list[str]:
    """Name the modules, without what is below them, that a source imports."""
    found: list[str] = []
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found += [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.append(node.module.partition(".")[0])
    return found
