"""How a version of a service differs from another one, or from what a session holds."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.contents import ServiceContents
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.wire.harmless import harmless_lines
from jupyter_mlsvc.wire.models import ParameterDefinition, SessionInventory

_CONTEXT: Final = 3
"""Unchanged lines that are shown on either side of changed ones."""

_CONTENTS: Final = ("environment", "objects", "files")
"""Parts that a version tells those who may change it."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared.

    Attributes
    ----------
    title : str
        What it is.
    parts : dict
        Texts by the names of their parts; a part that is not known is left out.
    """

    title: str
    parts: Mapping[str, str]

    @classmethod
    def of_service(
        cls, service: Service, contents: ServiceContents | None, *, sized: bool = True
    ) -> Side:
        """Take a version, with what it holds where that is known; sessions tell no sizes."""
        parts = {
            "description": service.description or "",
            "code": service.code or "",
            "before each call": service.init_code or "",
            "setup": service.setup_code or "",
            "inputs and outputs": _schema(service),
        }
        if contents is not None:
            packages = _packages(f"{contents.runtime_type} {contents.runtime_version}", contents)
            objects = {
                each.name: f"{each.type}, {formatting.size(each.size)}" if sized else each.type
                for each in contents.objects
                if each.kept
            }
            files = [f"{each.path}, {formatting.size(each.size)}" for each in contents.files]
            parts |= {"objects": _objects(objects), "files": "\n".join(sorted(files))}
            if contents.runtime_version:
                parts["environment"] = packages
        return cls(f"{service.name} {service.version}", parts)

    @classmethod
    def of_session(cls, name: str, inventory: SessionInventory) -> Side:
        """Take what a session of Python holds."""
        objects = {each.name: each.type for each in inventory.objects}
        packages = _packages(f"Python {inventory.python_version}", inventory)
        parts = {"environment": packages, "objects": _objects(objects)}
        return cls(f"session {name!r}", parts)


class Comparison:
    """How two sides differ, part by part; values of objects are not compared.

    Attributes
    ----------
    changes : dict
        For each part that differs, its lines: those of the left side only begin with ``-``, those
        of the right side only with ``+``.
    same : list of str
        Parts that do not differ.
    unknown : list of str
        Parts that one side does not tell: a version that you may not change, or a session.
    """

    def __init__(self, left: Side, right: Side) -> None:
        self._title = f"{left.title} (-) and {right.title} (+)"
        both = [name for name in left.parts if name in right.parts]
        self.same = [name for name in both if left.parts[name] == right.parts[name]]
        self.changes = {
            name: list(_changes(left.parts[name], right.parts[name]))
            for name in both
            if name not in self.same
        }
        self.unknown = [name for name in _CONTENTS if name not in both]

    def __repr__(self) -> str:
        parts = [f"{name}:\n{_text(lines)}" for name, lines in self.changes.items()]
        return "\n\n".join([self._title, *parts, *self._notes()])

    def _repr_html_(self) -> str:
        parts = [
            f"<p>{html.escape(name)}</p><pre>{html.escape(_text(lines))}</pre>"
            for name, lines in self.changes.items()
        ]
        notes = [f"<p>{html.escape(note)}</p>" for note in self._notes()]
        return "".join([f"<strong>{html.escape(self._title)}</strong>", *parts, *notes])

    def _notes(self) -> Iterator[str]:
        if self.same:
            yield f"The same: {', '.join(self.same)}."
        if self.unknown:
            yield f"Not compared: {', '.join(self.unknown)}."


def _changes(left: str, right: str) -> Iterator[str]:
    lines = difflib.unified_diff(left.splitlines(), right.splitlines(), n=_CONTEXT, lineterm="")
    # The first two name the files.
    yield from list(lines)[2:]


def _text(lines: Sequence[str]) -> str:
    return harmless_lines("\n".join(lines))


def _schema(service: Service) -> str:
    lines = [_parameter("in", each) for each in service.inputs]
    lines += [_parameter("out", each) for each in service.outputs]
    return "\n".join([*lines, *(f"file {name}" for name in service.output_files)])


def _parameter(kind: str, definition: ParameterDefinition) -> str:
    rest = msgspec.to_builtins(definition)
    line = f"{kind} {rest.pop('name')}: {rest.pop('type', None) or 'json'}"
    if not rest:
        return line
    more = msgspec.json.format(msgspec.json.encode(rest)).decode()
    return f"{line} {more}"


def _objects(types: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {kind}" for name, kind in sorted(types.items()))


def _packages(runtime: str, found: ServiceContents | SessionInventory) -> str:
    lines = [f"{name} {installed}" for name, installed in sorted(found.packages.items())]
    return "\n".join([runtime, *lines])
