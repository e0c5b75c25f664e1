"""The kernel's side of a publish dialog: what a cell suggests, and publishing what was confirmed.

Both functions take and give JSON data, need no ``%load_ext``, and leave nothing in the notebook's
namespace. They use the connection of the magics, so a session is the same for both.
"""

from __future__ import annotations

import importlib.util
import re
import time
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from jupyter_mlsvc.capture import assigned_names, needed_names
from jupyter_mlsvc.cell_reading import CellReading, read_cell, without_assignments
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import Snapshot, skipped_text
from jupyter_mlsvc.config import DEFAULT_SESSION, default_session_name
from jupyter_mlsvc.errors import ConnectionFailed, InvalidInput, MlsvcError, NotFound
from jupyter_mlsvc.magics.cells import CellContent, read_content
from jupyter_mlsvc.magics.connection import MlsvcConnection, connection_of
from jupyter_mlsvc.magics.exchange import send
from jupyter_mlsvc.wire.inventory import described
from jupyter_mlsvc.wire.models import InventoryObject, ParameterDefinition
from jupyter_mlsvc.wire.objects import names_looked_up

Json = dict[str, Any]

_SIZING_SECONDS: Final = 1.0
_FIRST_VERSION: Final = "V1.0"
_UNKNOWN: Final = "vector"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._ -]+")
_LAST_NUMBER: Final = re.compile(r"(\d+)(?!.*\d)")
_LIBRARIES: Final = frozenset({"np", "pd", "plt", "sns", "sp", "tf", "sk", "xgb", "lgb"})


# --- what a cell suggests ----------------------------------------------------------------------


def suggest(code: str, *, session: str | None = None, snapshot: str | None = None) -> Json:
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

    Returns
    -------
    dict
        ``name``, ``version``, ``session`` (None where there is no server, or a snapshot in its
        place), ``sessions``, ``snapshot`` (its id, or None), ``snapshots`` (``id`` and ``name``,
        newest first), ``code`` (without magic lines), ``initCode``, ``description``, ``alias``,
        ``files``, ``runtimeType``, ``inputs``, ``outputs``, ``otherNames`` (names that the code
        reads and that are no inputs, by where they are), ``objects`` and ``snapshotSize`` (of
        session or snapshot), ``sendable`` (objects of the notebook that the code needs and the
        session lacks), ``warnings``, ``connected``, ``error``. Sizes are in bytes.
    """
    connection = connection_of()
    content = read_content(code)
    if session is None:
        snapshot = snapshot or content.snapshot
    server = _Server.look(connection, content, session or content.session, snapshot)
    if content.runtime is None and server.runtime is not None:
        content = read_content(code, server.runtime)
    return _Suggestion(connection, content, server).to_json()


@dataclass(slots=True)
class _Server:
    """What the server has, as far as it answers."""

    wanted: str
    session: Session | None = None
    sessions: list[Session] = field(default_factory=list)
    snapshot: Snapshot | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    objects: dict[str, InventoryObject] = field(default_factory=dict)
    versions: list[str] = field(default_factory=list)
    error: str | None = None
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def look(
        cls,
        connection: MlsvcConnection,
        content: CellContent,
        session: str | None,
        snapshot: str | None,
    ) -> _Server:
        """Ask the server; never raises."""
        current = connection.current
        if current is not None and content.runtime in {None, current.runtime_type}:
            session = session or current.name
        found = cls(session or connection.default_name(content.runtime))
        try:
            client = connection.client
            found.sessions = list(client.sessions.list())
            found.session = next(
                (each for each in reversed(found.sessions) if found.wanted in {each.name, each.id}),
                None,
            )
            found.snapshots = sorted(
                client.snapshots.list(), key=lambda each: each.creation_time or "", reverse=True
            )
            found.versions = _versions(connection, content.name)
            if snapshot is None:
                found._look_into_session(connection)
            else:
                found._look_into_snapshot(snapshot)
        except MlsvcError as error:
            found.error = str(error)
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
        self.objects = {
            item.name: InventoryObject(name=item.name, type=item.type, size=item.size)
            for item in self.snapshot.contents().objects
            if item.kept
        }

    def _look_into_session(self, connection: MlsvcConnection) -> None:
        if self.session is None:
            return
        if self.session.state == "busy":
            self.warnings.append(
                f"Session {self.session.name!r} is busy, so what it holds is not known now."
            )
            return
        try:
            summary = connection.client.sessions.summary(self.session.id)
        except ConnectionFailed:
            self.warnings.append(
                f"Session {self.session.name!r} did not answer in time, so what it holds is not "
                "known."
            )
        else:
            self.objects = {item.name: item for item in summary.objects}


def _versions(connection: MlsvcConnection, service: str) -> list[str]:
    if not service:
        return []
    with suppress(NotFound):
        return [each.version for each in connection.client.services.versions(service)]
    return []


class _Suggestion:
    """Decides what the names of a cell are for."""

    def __init__(self, connection: MlsvcConnection, content: CellContent, server: _Server) -> None:
        self._connection = connection
        self._content = content
        self._server = server
        self._code = content.code
        self._here = connection.own_objects()
        self._deadline = time.monotonic() + _SIZING_SECONDS
        self._warnings = [*content.problems, *server.warnings]
        self._runtime = content.runtime or "Python"
        self._reading = CellReading()
        self._needed: set[str] = set()
        if self._runtime == "Python":
            self._read()

    def _read(self) -> None:
        """Read the code, as far as it is Python."""
        init_code = self._content.init_code
        with suppress(SyntaxError, ValueError):
            self._reading = read_cell(self._code)
        self._needed = needed_names(self._code) | needed_names(init_code)
        self._needed -= assigned_names(init_code)

    def to_json(self) -> Json:
        """Give the suggestion."""
        inputs = self._inputs()
        outputs = self._outputs()
        others = self._others({each["name"] for each in inputs})
        name = self._content.name or self._name(outputs)
        version = self._version(name)
        server, session = self._server, self._server.session
        return {
            "name": name,
            "version": version,
            "session": None
            if server.error is not None or server.snapshot is not None
            else {
                "name": server.wanted if session is None else session.name,
                "runtimeType": self._runtime if session is None else session.runtime_type,
                "exists": session is not None,
            },
            "sessions": list(dict.fromkeys(each.name for each in server.sessions)),
            "snapshot": None if server.snapshot is None else server.snapshot.id,
            "snapshots": [{"id": each.id, "name": each.name} for each in server.snapshots],
            "runtimeType": self._runtime,
            "code": self._code,
            "initCode": self._content.init_code,
            "description": self._content.description,
            "alias": self._content.alias,
            "files": self._content.files,
            "inputs": inputs,
            "outputs": outputs,
            "otherNames": others,
            "objects": [_row(item) for item in _by_size(server.objects.values())],
            "snapshotSize": sum(item.size or 0 for item in server.objects.values()),
            "sendable": [_row(self._described(each)) for each in others["notebook"]],
            "warnings": self._warnings,
            "connected": server.error is None,
            "error": server.error,
        }

    # --- inputs ------------------------------------------------------------------------------

    def _inputs(self) -> list[Json]:
        content = self._content
        if content.inputs:
            return [self._input(each.name, "cell", each.type) for each in content.inputs]
        names = content.sent or sorted(filter(self._is_likely_input, self._needed))
        found = [self._input(name, self._place(name)) for name in names]
        return found or self._inputs_of_literals()

    def _is_likely_input(self, name: str) -> bool:
        """Whether a name that the code reads changes from call to call, by all one can see."""
        if name in self._reading.called | self._reading.looked_up or name.isupper():
            return False
        if self._place(name) == "unknown":
            return name not in _LIBRARIES and not _is_module(name)
        return self._found(name).parameter_type is not None

    def _inputs_of_literals(self) -> list[Json]:
        """Take values that the cell sets by writing them down for examples of inputs."""
        skipped = self._reading.looked_up | set(self._reading.outputs)
        items = {
            name: described(name, value, self._deadline)
            for name, value in self._reading.literals.items()
            if name not in skipped and not name.isupper()
        }
        found = [
            {
                "name": name,
                "type": item.parameter_type,
                "example": item.example,
                "source": "cell",
            }
            for name, item in items.items()
            if item.parameter_type is not None
        ]
        if found:
            names = [each["name"] for each in found]
            self._code = without_assignments(self._code, names)
            self._warnings.append(
                f"The cell sets {_listed(names)} itself. As an input it comes with each call, so "
                "its line was taken out of the code."
                if len(names) == 1
                else f"The cell sets {_listed(names)} itself. As inputs they come with each call, "
                "so their lines were taken out of the code."
            )
        return found

    def _input(self, name: str, source: str, kind: str | None = None) -> Json:
        item = self._found(name)
        kind = kind or item.parameter_type
        if kind is None:
            self._warnings.append(
                f"The type of the input {name!r} is not known; it is declared as {_UNKNOWN}."
            )
        # An example of another type than the declared one would not be accepted.
        example = item.example if kind == item.parameter_type else None
        return {"name": name, "type": kind or _UNKNOWN, "example": example, "source": source}

    # --- outputs -----------------------------------------------------------------------------

    def _outputs(self) -> list[Json]:
        content = self._content
        if content.outputs:
            return [self._output(each.name, each.type) for each in content.outputs]
        names = content.fetched or self._reading.outputs
        if not names and self._runtime != "Python":
            self._warnings.append(
                f"Code in {self._runtime} is read by the server only: say what its inputs and "
                "outputs are."
            )
        elif not names and self._reading.ends_with_value:
            self._warnings.append(
                "The value of the last line has no name. Assign it to a variable to make it an "
                "output."
            )
        elif not names and self._code.strip():
            self._warnings.append("The code sets no variable that could be an output.")
        return [self._output(name) for name in names]

    def _output(self, name: str, kind: str | None = None) -> Json:
        # Where the cell ran last is where its result is.
        item = self._found(name, prefer_session=self._content.is_remote)
        kind = kind or item.parameter_type or self._reading.types.get(name)
        if kind is None:
            self._warnings.append(
                f"The type of the output {name!r} is not known until the cell has run; it is "
                f"declared as {_UNKNOWN}."
            )
        example = item.example if kind == item.parameter_type else None
        return {"name": name, "type": kind or _UNKNOWN, "example": example}

    # --- names -------------------------------------------------------------------------------

    def _others(self, inputs: set[str]) -> dict[str, list[str]]:
        """Sort the names that the service has to find in its snapshot by where they are now."""
        found: dict[str, list[str]] = {"session": [], "notebook": [], "missing": []}
        todo, seen = sorted(self._needed - inputs), set(inputs)
        while todo:
            name = todo.pop(0)
            if name in seen:
                continue
            seen.add(name)
            place = self._place(name)
            found["missing" if place == "unknown" else place].append(name)
            if place == "notebook":
                # What a function of the notebook uses has to go with it.
                todo += sorted(_used_by(self._here[name]) & self._here.keys())
        if found["missing"]:
            both = "neither the notebook nor the session has"
            lacks = both if self._server.objects else "the notebook lacks"
            self._warnings.append(f"The code reads {_listed(found['missing'])}, which {lacks}.")
        return found

    def _place(self, name: str) -> str:
        if name in self._server.objects:
            return "session"
        return "notebook" if name in self._here else "unknown"

    def _found(self, name: str, *, prefer_session: bool = True) -> InventoryObject:
        there = self._server.objects.get(name)
        if there is not None and (prefer_session or name not in self._here):
            return there
        return self._described(name)

    def _described(self, name: str) -> InventoryObject:
        if name not in self._here:
            return InventoryObject(name=name, type="")
        return described(name, self._here[name], self._deadline)

    # --- name and version --------------------------------------------------------------------

    def _name(self, outputs: list[Json]) -> str:
        stem = default_session_name()
        if stem == DEFAULT_SESSION or stem.startswith("Untitled"):
            stem = outputs[0]["name"] if outputs else "service"
        return _NOT_IN_NAMES.sub("-", stem).strip(" -")[:128] or "service"

    def _version(self, name: str) -> str:
        versions = self._server.versions
        if not self._content.name and self._server.error is None:
            with suppress(MlsvcError):
                versions = _versions(self._connection, name)
        wanted = self._content.version
        if wanted and wanted in versions:
            self._warnings.append(f"{name} {wanted} is published already; take another version.")
        return wanted or next_version(versions)


def next_version(versions: list[str]) -> str:
    """Suggest the version that follows on some, oldest first: V1.1 after V1.0, 8 after 7."""
    version = versions[-1] if versions else _FIRST_VERSION
    while version in versions:
        version, count = _LAST_NUMBER.subn(lambda found: str(int(found[1]) + 1), version)
        if not count:
            version += ".1"
    return version


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _used_by(value: object) -> set[str]:
    return names_looked_up(value) if isinstance(value, types.FunctionType) else set()


def _by_size(items: Iterable[InventoryObject]) -> list[InventoryObject]:
    return sorted(items, key=lambda item: (-(item.size or 0), item.name))


def _row(item: InventoryObject) -> Json:
    return {
        "name": item.name,
        "type": item.type,
        "size": item.size or 0,
        "parameterType": item.parameter_type,
    }


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


# --- publishing --------------------------------------------------------------------------------


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a dialog confirmed; members that it leaves out or that are None have no effect."""

    name: str
    version: str | None = None
    code: str
    init_code: str | None = None
    inputs: list[Json] = []
    outputs: list[Json] = []
    description: str | None = None
    alias: str | None = None
    files: list[str] | None = None
    session: str | None = None
    snapshot: str | None = None
    send: list[str] | None = None
    runtime_type: str | None = None


def publish(**request: Any) -> Json:
    """Publish what a dialog confirmed.

    A snapshot of the session is taken for it and deleted again: the service has its content.

    Parameters
    ----------
    name, version : str
        The server makes up a version where it is left out.
    code, initCode : str
    inputs, outputs : list of dict
        ``name`` and ``type``; with ``example`` in an input, ``call`` has it.
    description, alias : str
    files : list of str
        Files that the code writes and callers get.
    session : str or None
        Session whose objects the service is to have, by name or id; it is started where there is
        none. None publishes without one.
    snapshot : str or None
        Snapshot to publish in place of a session, by name or id; nothing is sent to it.
    send : list of str
        Variables of this notebook to set in the session first.
    runtimeType : str
        Language of the code; that of the session or snapshot, else Python, where it is left out.

    Returns
    -------
    dict
        ``name``, ``version``, ``url``, ``call`` (a ``%consume`` line, below one that loads the
        magics where they are not loaded), ``notes`` (sentences) and ``error``: None, or a dict
        with ``message`` where nothing was published.
    """
    answer: Json = {
        "name": request.get("name"),
        "version": request.get("version"),
        "url": None,
        "call": None,
        "notes": [],
        "error": None,
    }
    try:
        wanted = msgspec.convert(request, PublishRequest)
        connection = connection_of()
        service = _published(connection, wanted, answer["notes"])
    except msgspec.ValidationError as error:
        answer["error"] = {"message": f"The request does not fit: {error}."}
    except (MlsvcError, InvalidInput) as error:
        answer["error"] = {"message": str(error)}
    else:
        call = consume_line(service.name, service.version, wanted.inputs)
        if not connection.has_magics:
            call = f"%load_ext jupyter_mlsvc\n{call}"
        answer |= {
            "name": service.name,
            "version": service.version,
            "url": service.url,
            "call": call,
        }
    return answer


def _published(connection: MlsvcConnection, wanted: PublishRequest, notes: list[str]) -> Service:
    inputs, outputs = _parameters(wanted.inputs), _parameters(wanted.outputs)
    with _snapshot(connection, wanted, notes) as (snapshot_id, runtime):
        return connection.client.services.publish(
            wanted.name,
            wanted.version or None,
            code=wanted.code,
            inputs=inputs,
            outputs=outputs,
            snapshot_id=snapshot_id,
            description=wanted.description or None,
            init_code=wanted.init_code or None,
            alias=wanted.alias or None,
            output_files=wanted.files or (),
            runtime_type=runtime,
        )


def _parameters(rows: Iterable[Json]) -> list[str | ParameterDefinition]:
    try:
        return [f"{row['name']}:{row['type']}" for row in rows]
    except KeyError as error:
        raise InvalidInput(f"An input or output has no {error}.") from None


@contextmanager
def _snapshot(
    connection: MlsvcConnection, wanted: PublishRequest, notes: list[str]
) -> Iterator[tuple[str | None, str]]:
    """Give the snapshot to publish, with what is to be sent in it, and its language."""
    namespace = connection.namespace
    names = wanted.send or []
    if wanted.snapshot is not None:
        if names or wanted.session is not None:
            raise InvalidInput("A snapshot goes without a session and without what is sent to it.")
        found = connection.client.snapshots.find(wanted.snapshot)
        runtime = wanted.runtime_type or (found.runtime_type if found else None)
        yield found.id if found else wanted.snapshot, runtime or "Python"
        return
    if unknown := [name for name in names if name not in namespace]:
        raise InvalidInput(f"There is no variable {_listed(unknown)} in this notebook to send.")
    if wanted.session is None and not names:
        yield None, wanted.runtime_type or "Python"
        return
    session = connection.session(wanted.session, wanted.runtime_type, quiet=True)
    with connection.told_when_gone(session):
        for name in names:
            send(session, name, namespace[name], namespace)
    label = " ".join(filter(None, (wanted.name, wanted.version)))
    snapshot = connection.snapshot(session, label, quiet=True)
    if snapshot.skipped:
        notes.append(f"Left out of the snapshot: {skipped_text(snapshot.skipped)}")
    try:
        yield snapshot.id, session.runtime_type or "Python"
    finally:
        # What became of the service does not depend on tidying up.
        with suppress(MlsvcError):
            snapshot.delete()


def consume_line(name: str, version: str, inputs: Iterable[Mapping[str, Any]]) -> str:
    """Write the ``%consume`` line that calls a service with the examples of its inputs."""
    words = [f'"{word}"' if " " in word else word for word in (name, version)]
    values = []
    for each in inputs:
        example = each.get("example")
        # A variable of the notebook, whose name has no dots as those of R may have.
        text = each["name"].replace(".", "_") if example is None else repr(example)
        values.append(f"{each['name']}={text}")
    return " ".join(["%consume", *words, *values])
