"""Tables of the documentation, made from what they describe.

``python -m tests.docs.tables`` writes them into the pages of server_ext/docs/reference.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from traitlets import Undefined
from traitlets.config import Configurable

import jupyter_mlsvc
import jupyter_mlsvc_server
from jupyter_mlsvc.magics.batch import BatchMagics
from jupyter_mlsvc.magics.consume import ConsumeMagics
from jupyter_mlsvc.magics.mlsvc import COMMANDS
from jupyter_mlsvc.magics.publish import PublishMagics
from jupyter_mlsvc.magics.remote_exec import RemoteExecMagics
from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc_server.api.permissions import needed
from jupyter_mlsvc_server.api.routing import BodySize, Operation, Route
from jupyter_mlsvc_server.auth.policy import Reach, reach
from jupyter_mlsvc_server.auth.principal import Principal, Role
from tests.serving import tables_of_all_nouns

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "server_ext" / "docs"
_REACHES: Final = {Reach.NOBODYS: "no", Reach.OWN: "own", Reach.ANYBODYS: "any"}
_VARIABLE: Final = re.compile(r"MLSVC_[A-Z0-9_]+")


def settings_table() -> str:
    """Every setting of the server's classes."""
    return _settings(jupyter_mlsvc_server, skip=("migrations", ".cli", ".key_cli", "doctor.app"))


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


def roles_table() -> str:
    """Whose things each role may touch with each call of the core API."""
    people = [Principal("", "", role) for role in Role]
    rows = []
    for operation in OPERATIONS:
        if operation.public:
            continue
        action = needed(operation.method.upper(), operation.path)
        reaches = ["any" if action is None else _REACHES[reach(each, action)] for each in people]
        call = f"`{operation.method.upper()} {operation.path}`"
        rows.append((call, "" if action is None else str(action), *reaches))
    return _table(("call", "is to", *map(str, Role)), rows)


def bodies_table() -> str:
    """How large the body of each call may be, and what is counted by caller."""
    sizes = {
        BodySize.SMALL: "8 KiB",
        BodySize.NORMAL: "1 MiB",
        BodySize.LARGE: "`MlsvcApp.max_body_bytes`",
        BodySize.UPLOAD: "`MlsvcApp.max_upload_bytes`",
    }
    rows = [
        (
            f"`{method} {each.path}`",
            sizes[operation.body] if operation.is_public else "401",
            "as without" if operation.is_public else sizes[operation.body],
            f"`{operation.counted_by}`" if operation.counted_by else "",
        )
        for each, method, operation in with_bodies()
    ]
    return _table(("call", "without a token", "with a token or key", "counted by caller"), rows)


def with_bodies() -> Iterator[tuple[Route, str, Operation]]:
    """Give the operations that take a body."""
    for table in tables_of_all_nouns():
        for each in table:
            for method, operation in each.operations.items():
                if method in {"POST", "PUT", "PATCH"}:
                    yield each, method, operation


def commands_table() -> str:
    """Every subcommand of ``%mlsvc``."""
    return _table(
        ("form", "what it does"),
        [(_code(f"%mlsvc {command.form}"), command.summary) for command in COMMANDS],
    )


def options_table(magic: object) -> str:
    """Every argument of a magic."""
    parser = magic.parser  # type: ignore[attr-defined]  # IPython's decorator puts it there
    rows = [
        # argparse fills help in by %, so a percent sign stands there twice.
        (_form(action), _sentence((action.help or "").replace("%%", "%")))
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    return _table(("argument", "what it is"), rows)


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


def _form(action: argparse.Action) -> str:
    if not action.option_strings:
        return _code(str(action.metavar or action.dest))
    value = "|".join(action.choices or ()) or action.metavar or action.dest.upper()
    after = "" if action.nargs == 0 else f" {value}"
    return ", ".join(_code(name + after) for name in action.option_strings)


def _code(text: str) -> str:
    return f"`{_sentence(text)}`"


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


PAGES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "reference/settings.md": {"settings": settings_table},
    "reference/bodies.md": {"bodies": bodies_table},
    "reference/rest.md": {"operations": operations_table, "roles": roles_table},
    "reference/magics.md": {
        "commands": commands_table,
        "remote_exec": partial(options_table, RemoteExecMagics.remote_exec),
        "publish": partial(options_table, PublishMagics.publish),
        "consume": partial(options_table, ConsumeMagics.consume),
        "batch": partial(options_table, BatchMagics.batch),
        "magics": magics_table,
    },
}
"""Tables of each page, by the mark that stands before them."""


def _write(page: Path, tables: Mapping[str, Callable[[], str]]) -> None:
    text = page.read_text()
    for mark, table in tables.items():
        start = f"<!-- {mark} -->\n"
        before, _, rest = text.partition(start)
        after = rest.partition("<!-- end -->")[2]
        text = f"{before}{start}\n{table()}\n\n<!-- end -->{after}"
    page.write_text(text)


if __name__ == "__main__":
    for name, tables in PAGES.items():
        _write(DOCS / name, tables)
