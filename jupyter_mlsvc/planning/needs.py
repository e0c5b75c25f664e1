"""Names that code needs, with those that the notebook's functions, classes and objects need."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Mapping
from typing import Any

from jupyter_mlsvc.capture import assigned_names, needed_names
from jupyter_mlsvc.wire.objects import References, references_of


class Needs:
    """Follows names through the objects of a notebook.

    Parameters
    ----------
    objects : mapping
        Objects of the notebook, by name.
    namespace : dict
        Globals of its functions.
    """

    def __init__(self, objects: Mapping[str, Any], namespace: dict[str, Any]) -> None:
        self._objects = objects
        self._namespace = namespace
        self._known: dict[str, References] = {}

    def follow(self, names: Iterable[str], stop: Container[str] = ()) -> list[str]:
        """Return the names and those that their objects need, in the order they were found.

        Parameters
        ----------
        stop
            Names whose objects here do not count.
        """
        todo, seen = sorted(names), dict[str, None]()
        while todo:
            name = todo.pop(0)
            if name in seen:
                continue
            seen[name] = None
            if name in self._objects and name not in stop:
                todo += sorted(self.of(name).names & self._objects.keys())
        return list(seen)

    def of(self, name: str) -> References:
        """Return what the object of a name refers to."""
        if name not in self._known:
            value = self._objects[name]
            self._known[name] = (
                References() if _is_plain(value) else references_of(value, self._namespace)
            )
        return self._known[name]


def names_of_code(code: str, *first: str, own: Iterable[str] = ()) -> set[str]:
    """Return the names that code needs, and that the pieces which run before it need.

    Parameters
    ----------
    own
        Names of the notebook, which hide builtins of the same names.
    """
    needed: set[str] = set()
    given: set[str] = set()
    for source in (*first, code):
        needed |= needed_names(source, own) - given
        given |= assigned_names(source)
    return needed


def _is_plain(value: object) -> bool:
    """Whether an object holds data alone, so that there is nothing to find in it."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return not value.dtype.hasobject
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series)
