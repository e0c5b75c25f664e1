"""What differs between this process and a session: objects, Python, packages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire.models import InventoryObject, SessionInventory

Kind = Literal["only here", "only there", "type", "value", "not compared"]

_KINDS: Final[Sequence[Kind]] = ("type", "value", "only here", "only there", "not compared")
_NOT_THERE: Final = "-"


@dataclass(frozen=True, slots=True)
class Difference:
    """One name that is not the same on both sides.

    Attributes
    ----------
    name : str
    kind : str
        ``only here``, ``only there``, ``type``, ``value``, or ``not compared`` where the value is
        too large or can't be looked into.
    here, there : str
        Types of the objects; empty where there is none.
    """

    name: str
    kind: Kind
    here: str = ""
    there: str = ""


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """A package, or Python itself, whose version differs; empty where it is not installed."""

    name: str
    here: str
    there: str


class WorkspaceDiff:
    """Differences between a workspace here and the one of a session.

    Attributes
    ----------
    objects : list of Difference
        Those that differ, by kind.
    same : list of str
        Names whose objects have one type and value on both sides.
    versions : list of VersionDifference
        Python, and the packages that are loaded on one side at least, where versions differ.
    """

    def __init__(self, session: str, here: SessionInventory, there: SessionInventory) -> None:
        self._session = session
        mine = {item.name: item for item in here.objects}
        theirs = {item.name: item for item in there.objects}
        found = [_compare(name, mine.get(name), theirs.get(name)) for name in mine | theirs]
        self.objects = sorted(
            (item for item in found if isinstance(item, Difference)),
            key=lambda item: (_KINDS.index(item.kind), item.name),
        )
        self.same = sorted(item for item in found if isinstance(item, str))
        self.versions = list(_versions(here, there))

    def names(self, kind: Kind) -> list[str]:
        """Names that differ in one way."""
        return [item.name for item in self.objects if item.kind == kind]

    def __repr__(self) -> str:
        parts = [self._title()]
        if self.objects:
            parts.append(formatting.text_table(*self._object_table()))
        if self.versions:
            parts.append(formatting.text_table(*self._version_table()))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<strong>{html.escape(self._title())}</strong>"]
        if self.objects:
            parts.append(formatting.html_table(*self._object_table()))
        if self.versions:
            parts.append(formatting.html_table(*self._version_table()))
        return "".join(parts)

    def _title(self) -> str:
        same = f"{len(self.same)} {'object is' if len(self.same) == 1 else 'objects are'} the same"
        if not self.objects and not self.versions:
            return f"This kernel and session {self._session!r} do not differ: {same}."
        return f"This kernel and session {self._session!r}: {same}, {len(self.objects)} differ"

    def _object_table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [formatting.cell(item.name), item.kind, _shown(item.here), _shown(item.there)]
            for item in self.objects
        ]
        return ["name", "differs", "type here", "type there"], rows

    def _version_table(self) -> tuple[list[str], list[list[str]]]:
        rows = [[item.name, _shown(item.here), _shown(item.there)] for item in self.versions]
        return ["package", "here", "there"], rows


def _shown(text: str) -> str:
    return formatting.cell(text or _NOT_THERE)


def _compare(
    name: str, here: InventoryObject | None, there: InventoryObject | None
) -> Difference | str:
    """Give the difference, or the name where there is none."""
    if here is None or there is None:
        side: Kind = "only there" if here is None else "only here"
        return Difference(name, side, here.type if here else "", there.type if there else "")
    kind: Kind
    if here.type != there.type:
        kind = "type"
    elif here.digest is None or there.digest is None:
        kind = "not compared"
    elif here.digest != there.digest:
        kind = "value"
    else:
        return name
    return Difference(name, kind, here.type, there.type)


def _versions(here: SessionInventory, there: SessionInventory) -> Iterator[VersionDifference]:
    if here.python_version != there.python_version:
        yield VersionDifference("Python", here.python_version, there.python_version)
    mine, theirs = _by_key(here.installed), _by_key(there.installed)
    loaded = _by_key({**there.packages, **here.packages})
    for key in sorted(loaded):
        name = loaded[key][0]
        versions = mine.get(key, ("", ""))[1], theirs.get(key, ("", ""))[1]
        if versions[0] != versions[1]:
            yield VersionDifference(name, *versions)


def _by_key(versions: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Order packages by their names as pip compares them."""
    return {
        re.sub(r"[-_.]+", "-", name).lower(): (name, version) for name, version in versions.items()
    }
