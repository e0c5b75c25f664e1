"""Makes a plan of a request, and publishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from jupyter_mlsvc.client.looks import size
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import skipped_text
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.object_transfer import Moved, send
from jupyter_mlsvc.planning.definition import Definition
from jupyter_mlsvc.planning.errors import NotPublishable
from jupyter_mlsvc.planning.place import Notebook, Place
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.sources import Here, Reason, Sources, find_sources
from jupyter_mlsvc.planning.wording import did_you_mean, listed
from jupyter_mlsvc.wire.models import ParameterDefinition

Tell = Callable[[str], None]

_REASONS: Final[dict[Reason, str]] = {
    "missing": "{place} did not have it",
    "differs": "it differed from that of {place}",
    "not compared": "it can't be compared with that of {place}",
}


@dataclass(slots=True)
class Plan:
    """What publishing a request will do.

    Attributes
    ----------
    place : Place
        The session or snapshot that the service is made from, with what the notebook adds.
    """

    request: Request
    place: Place
    runtime: str
    definition: Definition
    sources: Sources
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sent:
    """An object that went along, in bytes, and why."""

    name: str
    size: int
    reason: Reason


@dataclass(slots=True)
class Published:
    """A service that was published, and what there is to know about that."""

    service: Service
    inputs: list[Parameter] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)


class Planner:
    """Plans and publishes for one notebook.

    Parameters
    ----------
    notebook
        Where names come from first.
    tell
        Gets a sentence for each thing there is to know.
    """

    def __init__(self, notebook: Notebook, tell: Tell = lambda _: None) -> None:
        self._notebook = notebook
        self._tell = tell

    # --- plans -------------------------------------------------------------------------------

    def plan(self, request: Request, place: Place | None = None) -> Plan:
        """Find out what a request needs; nothing changes here or on the server.

        Parameters
        ----------
        place
            Where names come from besides the notebook; found by the request by default.
        """
        place = self._find_place(request) if place is None else place
        runtime = request.runtime or place.runtime or "Python"
        if place.session is not None and place.session.runtime_type != runtime:
            place = Place()
        if runtime == "Python":
            request = request.as_python_has_names()
        here = Here(self._notebook.own_objects(), self._notebook.namespace)
        definition = Definition(request, here, runtime)
        place.look(here.needs.follow(definition.names))
        definition.decide(place)
        inputs = {each.name for each in definition.inputs}
        sources = find_sources(definition.needed - inputs, request, here, place)
        plan = Plan(request, place, runtime, definition, sources)
        plan.warnings += definition.warnings
        plan.problems += definition.problems
        # Of a snapshot that is not found the server knows whether it is unknown or another's.
        if sources.missing and (request.snapshot is None or place.snapshot is not None):
            plan.problems += self._missing(plan, here)
        return plan

    def _find_place(self, request: Request) -> Place:
        if request.snapshot is not None:
            snapshot = self._notebook.client.snapshots.find(request.snapshot)
            return Place() if snapshot is None else Place.of_snapshot(snapshot)
        if request.session is not None:
            return Place.of_session(self._notebook, self._notebook.switch(request.session))
        session = None if request.without_session else self._notebook.existing()
        if session is None or request.runtime not in {None, session.runtime_type}:
            return Place()
        return Place.of_session(self._notebook, session)

    def _missing(self, plan: Plan, here: Here) -> list[str]:
        names = plan.sources.missing
        label = plan.place.label
        lack = "the notebook lacks" if label is None else f"neither the notebook nor {label} has"
        if plan.place.snapshot is not None:
            lack = f"{label} lacks"
        known = {*here.objects, *plan.place.objects}
        hints = "".join(did_you_mean(name, known) for name in names)
        return [f"The code reads {listed(names)}, which {lack}.{hints}"]

    # --- publishing --------------------------------------------------------------------------

    def publish(self, request: Request) -> Published:
        """Publish a request.

        Raises
        ------
        NotPublishable
            The service would fail for certain, and the request does not force it.
        MlsvcError
            The server refused, or something can't be sent to it.
        """
        plan = self.plan(request)
        for warning in plan.warnings:
            self._tell(warning)
        self._require_publishable(plan)
        definition, sent = plan.definition, list[Sent]()
        what = " ".join(filter(None, ("Publishing", request.name, request.version)))
        with self.prepared(plan, sent) as snapshot_id, self._notebook.waiting(what):
            service = self._notebook.client.services.publish(
                request.name,
                request.version or None,
                code=definition.code,
                inputs=[_declared(each) for each in definition.inputs],
                outputs=[_declared(each) for each in definition.outputs],
                snapshot_id=snapshot_id,
                description=request.description,
                init_code=request.init_code or None,
                alias=request.alias,
                output_files=request.files,
                runtime_type=plan.runtime,
            )
        return Published(service, definition.inputs, sent)

    def update(
        self,
        request: Request,
        changes: dict[str, Any],
        declared: Sequence[str],
        *,
        takes_objects: bool,
    ) -> Service:
        """Change a service in place.

        Parameters
        ----------
        request
            The service as it will be.
        changes
            What changes besides inputs, outputs and objects, for ``client.services.update``.
        declared
            Which of ``inputs`` and ``outputs`` change.
        takes_objects
            Whether the service gets the objects that its code needs now.

        Raises
        ------
        NotPublishable, MlsvcError
            As for :meth:`publish`.
        """
        plan = self.plan(request, None if takes_objects else Place())
        if not takes_objects:
            # The objects that the service has are on the server, so what is missing is not known.
            plan.problems = list(plan.definition.problems)
        self._require_publishable(plan)
        definition = plan.definition
        for name in declared:
            changes[name] = [_declared(each) for each in getattr(definition, name)]
        what = f"Updating {request.name} {request.version}"
        with ExitStack() as stack:
            if takes_objects:
                snapshot_id = stack.enter_context(self.prepared(plan))
                changes |= {} if snapshot_id is None else {"snapshot_id": snapshot_id}
            stack.enter_context(self._notebook.waiting(what))
            services = self._notebook.client.services
            return services.update(request.name, request.version or "", **changes)

    def _require_publishable(self, plan: Plan) -> None:
        if plan.request.force:
            for problem in plan.problems:
                self._tell(problem)
        elif plan.problems:
            raise NotPublishable(plan.problems)

    @contextmanager
    def prepared(self, plan: Plan, sent: list[Sent] | None = None) -> Iterator[str | None]:
        """Send what differs, and give the id of a snapshot for the service; deleted afterwards.

        A session is made for what is sent where there is none, and closed again.
        """
        place, request = plan.place, plan.request
        if plan.runtime == "Python" and not plan.definition.is_readable:
            # The server says where it is no Python; nothing need travel for that.
            yield None
            return
        if request.snapshot is not None:
            yield request.snapshot if place.snapshot is None else place.snapshot.id
            return
        if place.session is not None:
            self._send(plan, place.session, sent)
            with self._passing_snapshot(place.session, request) as snapshot_id:
                yield snapshot_id
            return
        if not plan.sources.transfers:
            yield None
            return
        label = " ".join(filter(None, ("publishing", request.name, request.version)))
        with self._notebook.client.sessions.create(label) as session:
            self._send(plan, session, sent)
            with self._passing_snapshot(session, request) as snapshot_id:
                yield snapshot_id

    def _send(self, plan: Plan, session: Session, sent: list[Sent] | None) -> None:
        namespace = self._notebook.namespace
        moved: list[tuple[Moved, Reason]] = []
        with self._notebook.told_when_gone(session):
            for each in plan.sources.transfers:
                made = send(session, each.name, namespace[each.name], namespace)
                if not each.is_module:
                    moved.append((made, each.reason))
                if sent is not None:
                    sent.append(Sent(each.name, made.size, each.reason))
        label = plan.place.label
        if label is None:
            if moved:
                names = [f"{item.name} ({size(item.size)})" for item, _ in moved]
                self._tell(f"Taken from this notebook: {listed(names)}.")
            return
        for item, reason in moved:
            because = _REASONS[reason].format(place=label)
            self._tell(f"Sent {item.name}, {size(item.size)}: {because}.")

    @contextmanager
    def _passing_snapshot(self, session: Session, request: Request) -> Iterator[str]:
        label = " ".join(filter(None, (request.name, request.version))) or None
        notebook = self._notebook
        what = f"Taking a snapshot of session {session.name!r}"
        with notebook.told_when_gone(session), notebook.waiting(what):
            snapshot = notebook.client.snapshots.create(session.id, label)
        try:
            if snapshot.skipped:
                self._tell(f"Left out of the snapshot: {skipped_text(snapshot.skipped)}")
            yield snapshot.id
        finally:
            # What became of the service does not depend on tidying up.
            with suppress(MlsvcError):
                snapshot.delete()


def _declared(each: Parameter) -> Any:
    return ParameterDefinition(name=each.name, type=(each.type or "") if each.known else "")
