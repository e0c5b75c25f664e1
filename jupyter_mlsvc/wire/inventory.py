"""What a workspace has, in a form that two of them can be compared by: types, digests, versions."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from jupyter_mlsvc.wire.digests import digests
from jupyter_mlsvc.wire.kinds import example_of, parameter_type, written_size
from jupyter_mlsvc.wire.models import InventoryObject, SessionInventory

_SIZING_SECONDS: Final = 1.0


def take(values: Mapping[str, object]) -> SessionInventory:
    """Describe objects and what surrounds them; never raises and takes a few seconds at most.

    Parameters
    ----------
    values
        The objects by name.
    """
    found = digests(values)
    return SessionInventory(
        python_version=platform.python_version(),
        packages=package_versions(),
        installed=installed_versions(),
        objects=[
            InventoryObject(name=name, type=type_name(value), digest=found[name])
            for name, value in values.items()
        ],
    )


def summary(values: Mapping[str, object]) -> SessionInventory:
    """Describe objects to choose from, in a second or so: without digests and versions.

    Parameters
    ----------
    values
        The objects by name.
    """
    deadline = time.monotonic() + _SIZING_SECONDS
    return SessionInventory(
        python_version=platform.python_version(),
        objects=[described(name, value, deadline) for name, value in values.items()],
    )


def comparison(values: Mapping[str, object]) -> SessionInventory:
    """Describe objects as a summary does, with digests: to find out which of them differ.

    Parameters
    ----------
    values
        The objects by name.
    """
    found = digests(values, exact=True)
    deadline = time.monotonic() + _SIZING_SECONDS
    objects = [described(name, value, deadline) for name, value in values.items()]
    return SessionInventory(
        python_version=platform.python_version(),
        objects=[msgspec.structs.replace(item, digest=found[item.name]) for item in objects],
    )


def described(name: str, value: object, deadline: float) -> InventoryObject:
    """Describe one object for a summary; sizes are rough after the deadline."""
    try:
        kind, example = parameter_type(value), example_of(value)
    except Exception:  # noqa: BLE001  # objects of the user raise whatever they like
        kind, example = None, None
    return InventoryObject(
        name=name,
        type=type_name(value),
        size=written_size(value, deadline),
        parameter_type=kind,
        example=example,
    )


def type_name(value: object) -> str:
    """Name the class of an object, with its module unless that is ``builtins`` or the notebook."""
    kind = type(value)
    module = getattr(kind, "__module__", "builtins")
    name = kind.__qualname__
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


def installed_versions() -> dict[str, str]:
    """Read the versions of all distributions that can be imported from here."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        # The first on the path is the one that an import finds.
        if name := distribution.metadata["Name"]:
            found.setdefault(name, distribution.version)
    return found


def package_versions() -> dict[str, str]:
    """Read the versions of the distributions whose modules are loaded."""
    tops = {name.partition(".")[0] for name in list(sys.modules)} - sys.stdlib_module_names
    loaded = frozenset(top for top in tops if not top.startswith("_"))
    # Installing, upgrading and removing make or remove a folder in one of those on the path.
    return dict(_versions_of(loaded, tuple((folder, _changed_at(folder)) for folder in sys.path)))


@functools.lru_cache(maxsize=1)
def _versions_of(
    modules: frozenset[str], _path: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, str], ...]:
    """Read the versions of the distributions of top-level modules, in order of their names."""
    found: dict[str, str] = {}
    unknown: set[str] = set()
    for top in modules:
        try:
            distribution = importlib.metadata.distribution(top)
        except importlib.metadata.PackageNotFoundError:
            unknown.add(top)
        else:
            found[distribution.name] = distribution.version
    for distribution in _distributions_of(unknown):
        found[distribution.name] = distribution.version
    return tuple(sorted(found.items(), key=lambda item: item[0].lower()))


def _changed_at(folder: str) -> int:
    """Give the time of a folder's last change in nanoseconds; 0 where there is none."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _distributions_of(modules: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """Find distributions by the modules they install, by a look at their lists of files."""
    # importlib.metadata.packages_distributions() parses every file list, which takes far longer.
    if not modules:
        return
    for distribution in importlib.metadata.distributions():
        names = distribution.read_text("top_level.txt")
        if names is not None:
            hit = not modules.isdisjoint(names.split())
        else:
            record = "\n" + (distribution.read_text("RECORD") or "")
            hit = any(f"\n{name}/" in record or f"\n{name}.py," in record for name in modules)
        if hit:
            yield distribution
