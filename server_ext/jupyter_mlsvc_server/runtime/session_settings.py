"""Settings of a session that change results and that no snapshot holds.

A kernel notes when it is captured which options of libraries are not as they are in a new process.
The publish check names them, and environment variables that the code reads and services lack.
"""

from __future__ import annotations

import dis
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, Final

from jupyter_mlsvc_server.runtime.manifest import Setting

_OF_LOOKS: Final = frozenset(
    {"display", "print_changed_only", "working_memory", "pairwise_dist_chunk_size"}
)
"""Options of scikit-learn that change no result."""

_OF_PANDAS: Final = ("mode.", "future.", "compute.")
_NUMPY_ERRORS: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_SETTERS: Final[Mapping[str, frozenset[str]]] = {
    "scikit-learn": frozenset({"set_config", "config_context"}),
    "pandas": frozenset({"set_option", "option_context", "options"}),
    "numpy": frozenset({"seterr", "errstate"}),
}
"""Names of what sets the options; code that has them is left to itself."""

_READERS: Final = frozenset({"environ", "getenv", "environb", "getenvb"})
_NEAR: Final = 4
"""Instructions after a name of ``_READERS`` among which that of the variable is."""

_IN_R: Final = re.compile(r"""Sys\.getenv\(\s*(?:x\s*=\s*)?["']([^"']+)["']""")
_LONGEST: Final = 100


def changed_settings() -> tuple[Setting, ...]:
    """Return the options of loaded libraries that are not as in a new process."""
    found: list[Setting] = []
    for look in (_of_sklearn, _of_pandas, _of_numpy):
        try:
            found += look()
        except Exception:  # noqa: BLE001, S112 - these are parts of libraries that may change
            continue
    return tuple(found)


def _of_sklearn() -> Iterator[Setting]:
    config = sys.modules.get("sklearn._config")
    if config is None:
        return
    usual = vars(config)["_global_config"]
    for name, value in config.get_config().items():
        if name not in _OF_LOOKS and name in usual and value != usual[name]:
            yield _setting("scikit-learn", name, value, usual[name])


def _of_pandas() -> Iterator[Setting]:
    config = sys.modules.get("pandas._config.config")
    if config is None:
        return
    deprecated = vars(config).get("_deprecated_options", {})
    for name, option in vars(config)["_registered_options"].items():
        # Reading a deprecated one warns, and it most likely has no effect any more.
        if name.startswith(_OF_PANDAS) and name not in deprecated:
            value = sys.modules["pandas"].get_option(name)
            if value != option.defval:
                yield _setting("pandas", name, value, option.defval)


def _of_numpy() -> Iterator[Setting]:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return
    for name, value in numpy.geterr().items():
        if value != _NUMPY_ERRORS.get(name, value):
            yield _setting("numpy", f"seterr {name}", value, _NUMPY_ERRORS[name])


def _setting(library: str, name: str, value: Any, usual: Any) -> Setting:
    return Setting(
        library=library, name=name, value=repr(value)[:_LONGEST], usual=repr(usual)[:_LONGEST]
    )


def variables_read(codes: Iterable[CodeType]) -> list[str]:
    """Return the environment variables that compiled code reads by a name written there."""
    found: list[str] = []
    for code in codes:
        left = 0
        for instruction in dis.get_instructions(code):
            value = instruction.argval
            if isinstance(value, str) and value in _READERS:
                left = _NEAR
            elif left and instruction.opname == "LOAD_CONST" and isinstance(value, str):
                found.append(value)
                left = 0
            elif left:
                left -= 1
    return list(dict.fromkeys(found))


def variables_read_in_r(source: str) -> list[str]:
    """Return the environment variables that code in R reads by a name written there."""
    return list(dict.fromkeys(_IN_R.findall(source)))


def notes_on_settings(settings: Iterable[Setting], names: frozenset[str]) -> list[str]:
    """Say which settings of the session the code does without; ``names`` are all that it names."""
    return [
        f"The session has {each.library} set to {each.name} = {each.value}. A snapshot does not "
        f"hold that: calls run with {each.usual} unless the code sets it."
        for each in settings
        if names.isdisjoint(_SETTERS.get(each.library, frozenset()))
    ]


def notes_on_variables(names: Iterable[str]) -> list[str]:
    """Say which environment variables that the code reads are not there in services."""
    return [
        f"The code reads the environment variable {name}, which services do not have. "
        "The server's ScoringSettings.environment can give it to them."
        for name in names
        if name not in os.environ
    ]
