"""Tables of routes: which operation answers which path and method.

A noun's file has a class whose ``table`` gives its routes. Paths are matched as they are written
in the request, and each parameter is decoded afterwards, so that ``%2F`` never splits one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.routing import compile_path

from jupyter_mlsvc_server.errors import BadRequest

Verb = Callable[..., Awaitable[Response]]
"""Answers a request; takes it, and the parameters of its path by name."""


class BodySize(Enum):
    """How large the body of an operation may be."""

    SMALL = "small"
    """As long as names and passwords are; all that needs no credentials takes no more."""
    NORMAL = "normal"
    """As long as what people write."""
    LARGE = "large"
    """As the setting says for bodies with code, or with values."""
    UPLOAD = "upload"
    """As the setting says for uploads, which are written to a file as they come."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A verb, and what counts before it runs.

    Attributes
    ----------
    is_public
        Whether it needs no credentials.
    needs_ready
        Whether the managers have to have started.
    body
        How large its body may be.
    reads_text
        Whether its body is a text, so that its charset matters.
    is_document
        Whether it describes services, so that a server may let anybody read it.
    counted_by
        Setting of how many of what it makes, or of how many that fail, a caller may have.
    checks_body
        Whether the body's headers are checked before it runs; else when it reads the body.
    """

    verb: Verb
    is_public: bool = False
    needs_ready: bool = True
    body: BodySize = BodySize.NORMAL
    reads_text: bool = True
    checks_body: bool = True
    is_document: bool = False
    counted_by: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A path, with names in braces where it has parameters, and its operations by method."""

    path: str
    operations: Mapping[str, Operation]


Routes = Sequence[Route]


def route(path: str, **verbs: Verb | Operation) -> Route:
    """Make a route; verbs are named by their methods, such as ``get``."""
    return Route(
        path,
        {
            method.upper(): verb if isinstance(verb, Operation) else Operation(verb)
            for method, verb in verbs.items()
        },
    )


def public(verb: Verb, *, needs_ready: bool = True) -> Operation:
    """Make an operation that needs no credentials."""
    return Operation(verb, is_public=True, needs_ready=needs_ready, body=BodySize.SMALL)


def document(verb: Verb) -> Operation:
    """Make an operation that describes services."""
    return Operation(verb, is_document=True)


def large(verb: Verb) -> Operation:
    """Make an operation that takes a body with code, or with values."""
    return Operation(verb, body=BodySize.LARGE)


def counted(by: str, verb: Verb | Operation) -> Operation:
    """Name the setting that limits an operation by caller."""
    operation = verb if isinstance(verb, Operation) else Operation(verb)
    return replace(operation, counted_by=by)


def upload(verb: Verb, *, reads_text: bool = False) -> Operation:
    """Make an operation that takes a body of any length, and writes it to a file."""
    return Operation(verb, body=BodySize.UPLOAD, reads_text=reads_text)


class Match(NamedTuple):
    """A route that a path has, and the path's parameters as they are written there."""

    route: Route
    parameters: dict[str, str]

    def decoded_parameters(self) -> dict[str, str]:
        """Decode the parameters.

        Raises
        ------
        BadRequest
            One of them is not UTF-8.
        """
        return {name: _decoded(name, text) for name, text in self.parameters.items()}


class Router:
    """Finds the route of a path.

    Parameters
    ----------
    tables
        Routes of all nouns.
    any_case
        Whether paths match in any case; parameters keep the case they have.
    base_path
        What proxies leave before a path; paths without it are found as well.
    """

    def __init__(
        self, tables: Iterable[Routes], *, any_case: bool = False, base_path: str = ""
    ) -> None:
        self._base = f"{base_path}/"
        flags = re.IGNORECASE if any_case else re.NOFLAG
        self._routes = [
            (re.compile(compile_path(each.path)[0].pattern, flags).fullmatch, each)
            for table in tables
            for each in table
        ]

    def find(self, path: str) -> Match | None:
        """Find the route of a path as it was sent; a slash at its end is forgiven."""
        if path.startswith(self._base):
            path = path[len(self._base) - 1 :]
        path = path.removesuffix("/") if len(path) > 1 else path
        for match, each in self._routes:
            found = match(path)
            if found is not None:
                return Match(each, found.groupdict())
        return None


def _decoded(name: str, text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadRequest(f"The path's {name} is {text[:100]!r}, which is not UTF-8.") from None
