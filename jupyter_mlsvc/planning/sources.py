"""Where each name that a service needs comes from."""

from __future__ import annotations

import time
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from jupyter_mlsvc.planning.needs import Needs
from jupyter_mlsvc.planning.place import Place
from jupyter_mlsvc.planning.request import Request
from jupyter_mlsvc.wire.digests import digests
from jupyter_mlsvc.wire.inventory import described
from jupyter_mlsvc.wire.models import InventoryObject

Reason = Literal["missing", "differs", "not compared"]

_SIZING_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """An object of the notebook that the service needs and does not find elsewhere.

    Attributes
    ----------
    reason : str
        ``missing``: the session has none of the name; ``differs``: it has another;
        ``not compared``: it has one that can't be compared.
    """

    name: str
    reason: Reason
    is_module: bool = False


@dataclass(slots=True)
class Sources:
    """The names that a service needs, by where they come from."""

    place: list[str] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)


class Here:
    """Objects of the notebook, described when somebody asks for them."""

    def __init__(self, objects: Mapping[str, Any], namespace: dict[str, Any]) -> None:
        self.objects = objects
        self.needs = Needs(objects, namespace)
        self._deadline = time.monotonic() + _SIZING_SECONDS

    def __contains__(self, name: object) -> bool:
        return name in self.objects

    def describe(self, name: str) -> InventoryObject:
        """Describe an object; one without a type where there is none of the name."""
        if name not in self.objects:
            return InventoryObject(name=name, type="")
        return described(name, self.objects[name], self._deadline)


def find_sources(needed: Iterable[str], request: Request, here: Here, place: Place) -> Sources:
    """Sort names by where they come from.

    What the place has of them must be known; see :meth:`Place.look`.
    """
    found = Sources()
    # Of a snapshot nothing is changed, so all but what it lacks is the snapshot's.
    keeps = {name for name in place.objects if request.keeps(name) or place.snapshot is not None}
    names = here.needs.follow([*needed, *(request.send or ())], keeps)
    differing = _compare([name for name in names if name in here], here, place)
    for name in names:
        is_kept = name in keeps and name in differing
        if name in here and not is_kept:
            found.modules |= here.needs.of(name).modules
        is_sent = name in differing and not is_kept and not _is_left(request, name)
        if is_sent and place.snapshot is None:
            value = here.objects[name]
            found.transfers.append(
                Transfer(name, differing[name], isinstance(value, types.ModuleType))
            )
        elif name in place.objects:
            found.place.append(name)
            if is_kept:
                found.kept.append(name)
        elif name not in place.left_out:
            found.missing.append(name)
    return found


def _is_left(request: Request, name: str) -> bool:
    """Whether somebody who compared by himself does not send it."""
    return request.send is not None and name not in request.send


def _compare(names: Collection[str], here: Here, place: Place) -> dict[str, Reason]:
    """Return the names whose values differ from those of the place, and why."""
    shared = [name for name in names if name in place.objects]
    ours = digests({name: here.objects[name] for name in shared}, exact=True)
    found: dict[str, Reason] = {}
    for name in names:
        there = place.objects.get(name)
        if there is None:
            found[name] = "missing"
        elif there.digest is None or ours[name] is None:
            found[name] = "not compared"
        elif there.digest != ours[name]:
            found[name] = "differs"
    return found
