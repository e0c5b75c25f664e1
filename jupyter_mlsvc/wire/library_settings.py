"""Options of libraries that change results and that nothing carries from process to process.

A kernel notes when it is captured which of them are not as they are in a new process, and so does
a notebook that publishes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

_OF_LOOKS: Final = frozenset(
    {"display", "print_changed_only", "working_memory", "pairwise_dist_chunk_size"}
)
"""Options of scikit-learn that change no result."""

_OF_PANDAS: Final = ("mode.", "future.", "compute.")
_NUMPY_ERRORS: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
SETTERS: Final[Mapping[str, frozenset[str]]] = {
    "scikit-learn": frozenset({"set_config", "config_context"}),
    "pandas": frozenset({"set_option", "option_context", "options"}),
    "numpy": frozenset({"seterr", "errstate"}),
}
"""Names of what sets the options; code that has them is left to itself."""
_MAX_LENGTH: Final = 100


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """An option of a library that was not as in a new process, with both values as text."""

    library: str
    name: str
    value: str
    usual: str


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
        library=library, name=name, value=repr(value)[:_MAX_LENGTH], usual=repr(usual)[:_MAX_LENGTH]
    )
