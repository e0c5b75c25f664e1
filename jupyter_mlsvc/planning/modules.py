"""Modules that stand as files beside the notebook; a service needs these files as well."""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from jupyter_mlsvc.client.session import Session

_LEFT_OUT: Final = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MAX_BYTES: Final = 20 * 2**20
"""A package with more than this in it is no helper of a notebook."""
_MISSING: Final = object()
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


def edited_names(file: LocalFile) -> list[str]:
    """Name what a module that is loaded here has otherwise than its file has it now.

    The file goes along with a service, so what these names stand for here is not what is published.
    """
    module = sys.modules.get(file.module)
    if module is None or file.path.suffix != ".py":
        return []
    with suppress(OSError, SyntaxError, ValueError):
        source = file.path.read_bytes()
        code = compile(source, str(file.path), "exec", dont_inherit=True)
        return sorted({*_other_constants(module, source), *_other_functions(module, code, "")})
    return []


def _other_constants(module: ModuleType, source: bytes) -> Iterator[str]:
    written: dict[str, object] = {}
    for statement in ast.parse(source).body:
        # A name that is set again, or from more than a literal, says nothing.
        for name in _assigned(statement):
            written[name] = _MISSING if name in written else _literal(statement)
    for name, value in written.items():
        here = vars(module).get(name, _MISSING)
        if value is not _MISSING and (type(here) is not type(value) or here != value):
            yield name


def _literal(statement: ast.stmt) -> object:
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        with suppress(ValueError, TypeError):
            return ast.literal_eval(statement.value)
    return _MISSING


def _assigned(statement: ast.stmt) -> Iterator[str]:
    """Yield the plain names that a statement assigns to."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name


def _other_functions(holder: Any, code: CodeType, prefix: str) -> Iterator[str]:
    for inner in code.co_consts:
        if not isinstance(inner, CodeType) or not inner.co_name.isidentifier():
            continue
        name = f"{prefix}{inner.co_name}"
        here = inspect.unwrap(vars(holder).get(inner.co_name, _MISSING))
        here = getattr(here, "__func__", here)
        if isinstance(here, type):
            yield from _other_functions(here, inner, f"{name}.")
        elif isinstance(here, FunctionType):
            if _meaning(here.__code__) != _meaning(inner):
                yield name
        elif here is _MISSING:
            yield name


def _meaning(code: CodeType) -> tuple[object, ...]:
    """Return what a function does, apart from where it stands in its file."""
    constants = [
        _meaning(each) if isinstance(each, CodeType) else (type(each), repr(each))
        for each in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, code.co_flags, *constants


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
