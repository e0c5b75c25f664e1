"""What a cell suggests about a service made of it, as JSON for a dialog."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import Snapshot
from jupyter_mlsvc.client.versions import named_versions, next_version
from jupyter_mlsvc.config import DEFAULT_SESSION, default_session_name
from jupyter_mlsvc.errors import ConnectionFailed, MlsvcError, NotFound
from jupyter_mlsvc.magics.cells import CellContent, read_contents
from jupyter_mlsvc.magics.connection import MlsvcConnection, connection_of
from jupyter_mlsvc.planning.descriptions import declared_columns
from jupyter_mlsvc.planning.place import Place
from jupyter_mlsvc.planning.planner import Plan, Planner
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.wire.models import ColumnDefinition, InventoryObject

Json = dict[str, Any]

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._ -]+")


def suggest(
    code: str = "",
    *,
    session: str | None = None,
    snapshot: str | None = None,
    sources: list[str] | None = None,
) -> Json:
    """Find out what a service made of a cell would look like.

    Nothing is run, and nothing changes here or on the server.

    Parameters
    ----------
    code : str
        The cell, with magic lines such as ``%%publish Iris V1.0 -i flower:vector`` where it has
        them; what they say counts.
    session : str, optional
        Session, by name or id, whose objects the service is to have; that of the cell, else the
        current or default one, where it is left out.
    snapshot : str, optional
        Snapshot, by name or id, to take in place of a session; that of the cell where both are
        left out.
    sources : list of str, optional
        Several cells, in place of ``code``.

    Returns
    -------
    dict
        ``name``, ``version``, ``versions`` (there are, oldest first), ``session`` (None where
        there is no server, or a snapshot in its place; one that does not exist is not started),
        ``sessions``, ``snapshot`` (its id, or None), ``snapshots`` (``id`` and ``name``,
        newest first), ``code`` (without magic lines), ``initCode``, ``description``, ``alias``,
        ``files``, ``runtimeType``, ``inputs``, ``outputs``, ``otherNames`` (names that the code
        reads and that are no inputs, by where they come from), ``objects`` and ``snapshotSize``
        (of session or snapshot), ``sendable`` (objects of the notebook that the code needs and
        the session lacks or has otherwise), ``problems`` (sentences with which nothing is
        published unless that is forced), ``warnings``, ``connected``, ``error``. Sizes are in
        bytes. Inputs and outputs whose type is a guess have ``known`` false; inputs that may be
        left out have ``optional`` true and a ``default``. ``columns`` of an input are those of a
        frame, and ``shows`` is ``data`` or ``synthetic`` where callers are to see that.
        ``tags`` are words to find the service by.

        ``kind`` is ``code``, ``function`` (``function`` names it, and the code calls it) or
        ``model`` (``model`` names the variable, ``response`` what it predicts). ``setupCode``,
        ``isolation``, ``effects``, ``network``, ``readOnly``, ``keepBodies``, ``concurrency`` and
        ``deadlineSeconds`` are those of the cell; the last two may be None.
    """
    connection = connection_of()
    cells = [code] if sources is None else sources
    content = read_contents(cells)
    if session is None:
        snapshot = snapshot or content.request.snapshot
    server = _Server.look(connection, content.request, session or content.request.session, snapshot)
    if content.request.runtime is None and server.runtime is not None:
        content = read_contents(cells, server.runtime)
    return _Suggestion(connection, content, server).to_json()


@dataclass(slots=True)
class _Server:
    """What the server has, as far as it answers."""

    wanted: str
    session: Session | None = None
    sessions: list[Session] = field(default_factory=list)
    snapshot: Snapshot | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    place: Place = field(default_factory=Place)
    error: str | None = None
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def look(
        cls,
        connection: MlsvcConnection,
        request: Request,
        session: str | None,
        snapshot: str | None,
    ) -> _Server:
        """Ask the server; never raises."""
        current = connection.current
        if current is not None and request.runtime in {None, current.runtime_type}:
            session = session or current.name
        found = cls(session or connection.default_name(request.runtime))
        try:
            client = connection.client
            found.sessions = list(client.sessions.list())
            found.session = connection.pick(found.wanted, found.sessions)
            found.snapshots = sorted(
                client.snapshots.list(), key=lambda each: each.creation_time or "", reverse=True
            )
            if snapshot is None:
                found._look_into_session(connection)
            else:
                found._look_into_snapshot(snapshot)
        except MlsvcError as error:
            found.error = error.in_notebook()
        return found

    @property
    def runtime(self) -> str | None:
        """Language of the snapshot or session; None where there is neither."""
        found = self.snapshot or self.session
        return None if found is None else found.runtime_type

    def _look_into_snapshot(self, wanted: str) -> None:
        self.session = None
        self.snapshot = next(
            (each for each in self.snapshots if wanted in {each.name, each.id}), None
        )
        if self.snapshot is None:
            self.warnings.append(f"You have no snapshot {wanted!r}.")
            return
        self.place = Place.of_snapshot(self.snapshot)

    def _look_into_session(self, connection: MlsvcConnection) -> None:
        session = self.session
        if session is None:
            return
        self.place = Place(session)
        if session.state == "busy":
            self.warnings.append(
                f"Session {session.name!r} is busy, so what it holds is not known now."
            )
            return
        try:
            summary = session.summary()
        except ConnectionFailed:
            self.warnings.append(
                f"Session {session.name!r} did not answer in time, so what it holds is not known."
            )
            return
        objects = {item.name: item for item in summary.objects}
        here = connection.own_objects()

        def compare(names: Iterable[str]) -> dict[str, InventoryObject]:
            shared = [name for name in names if name in objects and name in here]
            if not shared or session.is_r:
                return {}
            found = session.comparison(shared)
            return {item.name: item for item in found.objects}

        self.place = Place(session, objects=objects, compare=compare)


def versions_of(connection: MlsvcConnection, service: str) -> list[str]:
    """Return the versions of a service, oldest first; none where there is no such service."""
    if not service:
        return []
    with suppress(NotFound):
        return [each.version for each in connection.client.services.versions(service)]
    return []


class _Suggestion:
    """Writes a plan as JSON."""

    def __init__(self, connection: MlsvcConnection, content: CellContent, server: _Server) -> None:
        self._connection = connection
        self._content = content
        self._server = server

    def to_json(self) -> Json:
        """Return the suggestion."""
        server, request = self._server, self._content.request
        plan = self._plan()
        expanded = plan.request
        name = request.name or self._name(expanded, plan.definition.outputs)
        versions = self._versions(name)
        warnings = [
            *(*self._content.problems, *server.warnings, *plan.warnings),
            *(*plan.definition.guesses, *plan.problems),
        ]
        kind = "code" if expanded.function is None else "function"
        if request.version and request.version in versions:
            warnings.append(f"{name} {request.version} is published already; take another version.")
        sources, session = plan.sources, server.session
        objects = server.place.objects
        return {
            "name": name,
            "version": request.version or next_version(versions),
            "versions": named_versions(versions),
            "session": None
            if server.error is not None or server.snapshot is not None
            else {
                "name": server.wanted if session is None else session.name,
                "runtimeType": plan.runtime if session is None else session.runtime_type,
                "exists": session is not None,
            },
            "sessions": list(dict.fromkeys(each.name for each in server.sessions)),
            "snapshot": None if server.snapshot is None else server.snapshot.id,
            "snapshots": [{"id": each.id, "name": each.name} for each in server.snapshots],
            "runtimeType": plan.runtime,
            "kind": kind if expanded.model is None else "model",
            "function": expanded.function,
            "model": expanded.model_name,
            "response": expanded.response,
            "code": plan.definition.code,
            "initCode": request.init_code,
            "setupCode": request.setup_code,
            "isolation": request.isolation,
            "effects": request.effects,
            "network": request.network,
            "readOnly": request.read_only,
            "keepBodies": request.keep_bodies,
            "concurrency": request.concurrency,
            "deadlineSeconds": request.deadline_seconds,
            "description": expanded.description or "",
            "alias": expanded.alias or "",
            "files": request.files,
            "inputs": [_input_row(each, plan) for each in plan.definition.inputs],
            "tags": request.tags or [],
            "outputs": [_output_row(each) for each in plan.definition.outputs],
            "otherNames": {
                "session": sources.place,
                "notebook": [each.name for each in sources.transfers],
                "missing": sources.missing,
            },
            "objects": [_row(item) for item in _by_size(objects.values())],
            "snapshotSize": sum(item.size or 0 for item in objects.values()),
            "sendable": [
                {**_row(plan.here.describe(each.name)), "reason": each.reason}
                for each in sources.transfers
            ],
            "problems": plan.problems,
            "warnings": warnings,
            "connected": server.error is None,
            "error": server.error,
        }

    def _plan(self) -> Plan:
        planner = Planner(self._connection)
        request, server = self._content.request, self._server
        try:
            return planner.plan(request, server.place)
        except MlsvcError as error:
            server.error = server.error or error.in_notebook()
            return planner.plan(request, Place())

    def _name(self, request: Request, outputs: list[Parameter]) -> str:
        if own := request.function or request.model_name:
            return own
        stem = default_session_name()
        if stem == DEFAULT_SESSION or stem.startswith("Untitled"):
            stem = outputs[0].name if outputs else "service"
        return _NOT_IN_NAMES.sub("-", stem).strip(" -")[:128] or "service"

    def _versions(self, name: str) -> list[str]:
        if self._server.error is None:
            with suppress(MlsvcError):
                return versions_of(self._connection, name)
        return []


def _input_row(each: Parameter, plan: Plan) -> Json:
    request = plan.request
    columns = declared_columns(
        each,
        plan.here,
        plan.definition.code,
        shows_values=request.example == "data",
        ranges=request.ranges,
    )
    row = {
        "name": each.name,
        "type": each.type,
        "example": each.example,
        "source": each.source,
        "known": each.known,
    }
    if description := request.descriptions.get(each.name, each.description):
        row["description"] = description
    if shown := "data" if each.expression else request.example:
        row["shows"] = shown
    if columns:
        row["columns"] = [
            msgspec.to_builtins(_described(column, each.name, request)) for column in columns
        ]
    return row if each.default is UNSET else {**row, "optional": True, "default": each.default}


def _described(column: ColumnDefinition, name: str, request: Request) -> ColumnDefinition:
    texts = request.descriptions
    text = texts.get(f"{name}.{column.name}") or texts.get(column.name)
    return msgspec.structs.replace(column, description=text) if text else column


def _output_row(each: Parameter) -> Json:
    return {"name": each.name, "type": each.type, "example": each.example, "known": each.known}


def _by_size(items: Iterable[InventoryObject]) -> list[InventoryObject]:
    return sorted(items, key=lambda item: (-(item.size or 0), item.name))


def _row(item: InventoryObject) -> Json:
    return {
        "name": item.name,
        "type": item.type,
        "size": item.size or 0,
        "parameterType": item.parameter_type,
    }
