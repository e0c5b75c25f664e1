"""What surrounds a workspace: which modules can be imported elsewhere, and which are reached."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Importable:
    """Answers whether a module can be imported where a workspace is restored.

    Parameters
    ----------
    search_path
        Folders that are on the path there; by default ``sys.path``.
    """

    def __init__(self, search_path: Sequence[str] | None = None) -> None:
        self._search_path = list(sys.path if search_path is None else search_path)
        self._known: dict[str, bool] = {"__main__": True}

    def __call__(self, module: str) -> bool:
        """Whether the module of this name, or the package it is in, can be found."""
        top = module.partition(".")[0]
        if top not in self._known:
            self._known[top] = top in sys.stdlib_module_names or self._finds(top)
        return self._known[top]

    def _finds(self, top: str) -> bool:
        for finder in sys.meta_path:
            path = self._search_path if finder is importlib.machinery.PathFinder else None
            try:
                if finder.find_spec(top, path) is not None:
                    return True
            except Exception:  # noqa: BLE001, S112  # finders of others raise whatever they like
                continue
        return False


def submodules_of(bindings: Mapping[str, Any]) -> Iterator[str]:
    """Name the loaded modules that are reached through packages bound by their own names.

    ``import xml.etree.ElementTree`` binds ``xml`` alone; importing ``xml`` again would not bring
    the rest back.
    """
    for name, module in bindings.items():
        if issubclass(type(module), types.ModuleType) and vars(module).get("__name__") == name:
            prefix = name + "."
            for loaded in sorted(set(sys.modules)):
                if loaded.startswith(prefix) and _is_reached(module, loaded[len(prefix) :]):
                    yield loaded


def _is_reached(package: types.ModuleType, path: str) -> bool:
    here: object = package
    for part in path.split("."):
        if part.startswith("_") or not isinstance(here, types.ModuleType):
            return False
        here = vars(here).get(part)
    return here is sys.modules.get(f"{package.__name__}.{path}")
