"""Tables of the documentation, made from what they describe.

``python -m tests.notebooks.tables`` writes them into README.md and server_ext/docs/rest.md.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from traitlets import Undefined
from traitlets.config import Configurable

import jupyter_mlsvc
import jupyter_mlsvc_server
from jupyter_mlsvc.wire.operations import OPERATIONS

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
REST: Final = ROOT / "server_ext" / "docs" / "rest.md"
_VARIABLE: Final = re.compile(r"MLSVC_[A-Z0-9_]+")


def settings_table() -> str:
    """Every setting of the server's classes."""
    return _settings(jupyter_mlsvc_server, skip=("migrations", "auth.cli"))


def magics_table() -> str:
    """Every setting of the magics."""
    return _settings(jupyter_mlsvc, skip=("labextension",))


def operations_table() -> str:
    """Every call of the core API."""
    rows = [
        (
            f"`{operation.method.upper()} {operation.path}`",
            operation.id + (" (ours)" if operation.addition else ""),
            str(operation.status),
            operation.summary,
        )
        for operation in OPERATIONS
    ]
    return _table(("call", "operation", "success", "what it does"), rows)


def variables() -> set[str]:
    """Names of the environment variables that the code reads or sets."""
    found: set[str] = set()
    for package in (jupyter_mlsvc, jupyter_mlsvc_server):
        for source in Path(package.__path__[0]).rglob("*.py"):
            found |= set(_VARIABLE.findall(source.read_text()))
    return found


def between(text: str, mark: str) -> str:
    """What stands between a mark and the next end mark."""
    return text.partition(f"<!-- {mark} -->\n")[2].partition("<!-- end -->")[0].strip()


def _settings(package: ModuleType, skip: tuple[str, ...]) -> str:
    rows = [
        (f"`{owner.__name__}.{name}`", _default(trait), _sentence(trait.help))
        for owner in _configurables(package, skip)
        for name, trait in sorted(owner.class_own_traits(config=True).items())
        if trait.this_class is owner
    ]
    return _table(("setting", "default", "what it does"), rows)


def _configurables(package: ModuleType, skip: tuple[str, ...]) -> Iterator[type[Configurable]]:
    found: dict[str, type[Configurable]] = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if any(part in module.name for part in (*skip, "__main__", "pytest_plugin")):
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            is_ours = kind.__module__ == module.name
            if is_ours and issubclass(kind, Configurable):
                found[kind.__name__] = kind
    yield from (found[name] for name in sorted(found))


def _default(trait: Any) -> str:
    value = trait.default_value
    if value is Undefined or trait.name in {"public_ip", "public_port", "data_dir"}:
        return ""
    if inspect.isclass(value):
        return f"`{value.__name__}`"
    if isinstance(value, str):
        return f"`{value.rpartition('.')[2]}`" if value else ""
    return f"`{value}`"


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write(path: Path, tables: dict[str, str]) -> None:
    text = path.read_text()
    for mark, table in tables.items():
        start = f"<!-- {mark} -->\n"
        before, _, rest = text.partition(start)
        after = rest.partition("<!-- end -->")[2]
        text = f"{before}{start}\n{table}\n\n<!-- end -->{after}"
    path.write_text(text)


if __name__ == "__main__":
    _write(README, {"settings": settings_table(), "magics": magics_table()})
    _write(REST, {"operations": operations_table()})
