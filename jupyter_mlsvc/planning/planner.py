"""Makes a plan of a request, and publishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.capture import assigned_names
from jupyter_mlsvc.client.formatting import size
from jupyter_mlsvc.client.parameters import require_type
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import skipped_text
from jupyter_mlsvc.errors import Conflict, InvalidInput, MlsvcError, NotFound
from jupyter_mlsvc.object_transfer import Moved, NotSendable, send
from jupyter_mlsvc.planning.definition import Definition
from jupyter_mlsvc.planning.descriptions import (
    declared_columns,
    declared_items,
    described,
    evaluated,
)
from jupyter_mlsvc.planning.errors import NotPublishable
from jupyter_mlsvc.planning.expansion import expand
from jupyter_mlsvc.planning.modules import LocalFile, edited_names, local_files, send_files
from jupyter_mlsvc.planning.place import Notebook, Place
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.sources import Here, Reason, Sources, Transfer, find_sources
from jupyter_mlsvc.planning.trial import MODEL_INPUT, check_text, check_values, model_rows
from jupyter_mlsvc.planning.wording import listed
from jupyter_mlsvc.wire.library_settings import SETTERS, changed_settings
from jupyter_mlsvc.wire.made_up import made_up
from jupyter_mlsvc.wire.model_input import estimator_input, learnt
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition
from jupyter_mlsvc.wire.names import InvalidName, service_name
from jupyter_mlsvc.wire.names import version as checked_version
from jupyter_mlsvc.wire.suggestions import did_you_mean

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
    request : Request
        With the code and the parameters of a function or a model that it names.
    place : Place
        The session or snapshot that the service is made from, with what the notebook adds.
    files : list of LocalFile
        Modules beside the notebook that go along.
    problems : list of str
        Why the service would fail for certain.
    """

    request: Request
    here: Here
    place: Place
    runtime: str
    definition: Definition
    sources: Sources
    files: list[LocalFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_unreadable(self) -> bool:
        """Whether the code is no Python, which the server says better."""
        return self.runtime == "Python" and not self.definition.is_readable


@dataclass(frozen=True, slots=True)
class Sent:
    """An object that went along, in bytes, and why."""

    name: str
    size: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Published:
    """A service that was published, and what there is to know about that.

    Attributes
    ----------
    check_text : str
        What the publish check found, in a sentence; empty where there was none.
    """

    service: Service
    inputs: list[Parameter] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    check_text: str = ""


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

        Raises
        ------
        InvalidInput
            The function that it names can't be published.
        """
        place = self._find_place(request) if place is None else place
        runtime = request.runtime or place.runtime or "Python"
        if request.function is not None and not request.is_expanded:
            # A function of the notebook is Python, whatever the session is.
            runtime = "Python"
        if place.session is not None and place.session.runtime_type != runtime:
            place = Place()
        if runtime == "Python":
            request = request.as_python_has_names()
        here = Here(self._notebook.own_objects(), self._notebook.namespace)
        expanded = expand(request, here) if runtime == "Python" else request
        if expanded.model is not None:
            nothing = Definition(Request(), here, runtime)
            return Plan(expanded, here, place, runtime, nothing, Sources())
        definition = Definition(expanded, here, runtime)
        place.look(here.needs.follow(definition.names))
        definition.decide(place)
        inputs = {each.name for each in definition.inputs}
        sources = find_sources(definition.needed - inputs, expanded, here, place)
        plan = Plan(expanded, here, place, runtime, definition, sources)
        if runtime == "Python" and request.snapshot is None:
            codes = (definition.code, request.init_code, request.setup_code)
            plan.files = local_files(sources.modules, codes, Path.cwd())
            plan.warnings += [*_notes_on_edits(plan.files), *_notes_on_settings(codes)]
        plan.warnings += [*expanded.warnings, *definition.warnings]
        if runtime == "R" and request.runtime is None and assigned_names(request.code):
            plan.warnings.append(
                f"This is published in R, as {place.label} is. For Python say --runtime Python."
            )
        plan.problems += definition.problems
        # Of a snapshot that is not found the server knows whether it is unknown or another's.
        if sources.missing and (request.snapshot is None or place.snapshot is not None):
            plan.problems.append(_missing(plan))
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
        _require_names(request)
        request = evaluated(request, self._notebook.namespace)
        plan = self.plan(request)
        if plan.request.model is not None:
            return self._publish_model(plan.request, plan.here)
        for warning in plan.warnings:
            self._tell(warning)
        self._require_publishable(plan)
        self._require_free(plan)
        definition, sent = plan.definition, list[Sent]()
        values = check_values(definition.inputs, plan.here)
        inputs, outputs = _described(plan, values)
        self._tell_hidden(inputs)
        with self.prepared(plan, sent) as snapshot_id, self._waiting("Publishing", request):
            service = self._notebook.client.services.publish(
                request.name,
                request.version or None,
                code=definition.code,
                inputs=inputs,
                outputs=outputs,
                snapshot_id=snapshot_id,
                description=plan.request.description,
                init_code=request.init_code or None,
                alias=plan.request.alias,
                output_files=request.files,
                runtime_type=plan.runtime,
                setup_code=request.setup_code or None,
                isolation=request.isolation,
                effects=request.effects,
                network=request.network,
                read_only=request.read_only,
                keep_bodies=request.keep_bodies,
                concurrency=request.concurrency,
                deadline_seconds=request.deadline_seconds,
                check=values if request.check else None,
                as_example=request.check and _are_shown(definition.inputs, values, request),
                force=request.force,
                replace=request.replace,
                group=request.group,
                tags=request.tags,
            )
        return self._published(service, definition.inputs, sent, values)

    def _publish_model(self, request: Request, here: Here) -> Published:
        inputs = [Parameter(MODEL_INPUT, "data.frame")]
        rows = model_rows(request.model, here) if request.check else None
        values = {} if rows is None else {MODEL_INPUT: rows}
        with self._waiting("Publishing", request):
            service = self._notebook.client.services.publish_realtime(
                request.name,
                request.version or None,
                request.model,
                description=request.description,
                alias=request.alias,
                response=request.response,
                # Without rows there is nothing to say: a model is loaded in any case.
                check=values or None,
                as_example=bool(values) and request.example == "data",
                force=request.force,
                replace=request.replace,
                group=request.group,
                tags=request.tags,
                input_definition=_model_definition(request, values),
                network=request.network,
                read_only=request.read_only,
                keep_bodies=request.keep_bodies,
            )
        return self._published(service, inputs, [], values)

    def _published(
        self,
        service: Service,
        inputs: list[Parameter],
        sent: list[Sent],
        values: dict[str, Any],
    ) -> Published:
        return Published(service, inputs, sent, self._tell_check(service, values, inputs))

    def _tell_check(
        self, service: Service, values: dict[str, Any], inputs: Sequence[Parameter]
    ) -> str:
        check = service.publish_check
        text = "" if check is None else check_text(check, values, inputs)
        if text:
            self._tell(text)
        return text

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
        request = evaluated(request, self._notebook.namespace)
        plan = self.plan(request, None if takes_objects else Place())
        if not takes_objects:
            # The objects that the service has are on the server, so what is missing is not known.
            plan.problems = list(plan.definition.problems)
        self._require_publishable(plan)
        inputs = plan.definition.inputs
        values = check_values(inputs, plan.here)
        found = dict(zip(("inputs", "outputs"), _described(plan, values), strict=True))
        changes |= {name: found[name] for name in declared}
        if "inputs" in declared:
            # Examples of the inputs of before may not fit any more.
            changes["examples"] = []
            self._tell_hidden(found["inputs"])
        if request.check:
            shows = "inputs" in declared and _are_shown(inputs, values, request)
            changes |= {"check": values, "force": request.force, "as_example": shows}
        with ExitStack() as stack:
            if takes_objects:
                snapshot_id = stack.enter_context(self.prepared(plan))
                changes |= {} if snapshot_id is None else {"snapshot_id": snapshot_id}
            stack.enter_context(self._waiting("Updating", request))
            services = self._notebook.client.services
            service = services.update(request.name, request.version or "", **changes)
        if request.check:
            self._tell_check(service, values, inputs)
        return service

    def _tell_hidden(self, inputs: Sequence[ParameterDefinition]) -> None:
        """Say which values callers do not see."""
        hidden = [
            f"{each.name}.{column.name}"
            for each in inputs
            for column in each.columns or ()
            if column.hide_categories
        ]
        if hidden:
            has_rows = any(each.example is not UNSET for each in inputs)
            rows = "those in the example" if has_rows else "none"
            self._tell(
                f"Of the categories of {listed(hidden)} callers are shown {rows}. With --example "
                "data they are shown all, and the first rows."
            )

    def _waiting(self, what: str, request: Request) -> Any:
        return self._notebook.waiting(" ".join(filter(None, (what, _title(request)))))

    def _require_publishable(self, plan: Plan) -> None:
        for each in (*plan.definition.inputs, *plan.definition.outputs):
            require_type(each.name, each.type or "")
        problems = [*plan.problems, *_untyped(plan)]
        if plan.is_unreadable:
            return
        if plan.request.force:
            for problem in problems:
                self._tell(problem)
        elif problems:
            raise NotPublishable(problems)

    def _require_free(self, plan: Plan) -> None:
        """Refuse a version that exists before objects travel for it; the server has the last word.

        Of a version to be replaced the server knows whether it may be.
        """
        request = plan.request
        if request.version is None or request.replace or plan.is_unreadable:
            return
        if not plan.sources.transfers and not plan.files and plan.place.session is None:
            return
        with suppress(NotFound):
            found = self._notebook.client.services.get(request.name, request.version)
            # As the server says it, so that each place has its own words for it.
            advice = "Publish another version, change this one with PATCH, or delete it first."
            if found.may_change and found.never_answered:
                advice += (
                    " It never answered a call, so this one may take its place with 'replace'."
                )
            raise Conflict(
                f"Version {request.version!r} of service {request.name!r} exists already. {advice}",
                status=409,
                exception_type="ConflictException",
            )

    @contextmanager
    def prepared(self, plan: Plan, sent: list[Sent] | None = None) -> Iterator[str | None]:
        """Send what differs, and give the id of a snapshot for the service; deleted afterwards.

        A session is made for what is sent where there is none, and closed again.
        """
        place, request = plan.place, plan.request
        sent = [] if sent is None else sent
        if plan.is_unreadable:
            # Nothing need travel for code that is refused.
            yield None
        elif request.snapshot is not None:
            yield request.snapshot if place.snapshot is None else place.snapshot.id
        elif place.session is not None:
            with self._snapshot_with_objects(plan, place.session, sent) as snapshot_id:
                yield snapshot_id
        elif not plan.sources.transfers and not plan.files:
            yield None
        else:
            label = f"publishing {_title(request)}"
            with (
                self._notebook.client.sessions.create(label) as session,
                self._snapshot_with_objects(plan, session, sent) as snapshot_id,
            ):
                yield snapshot_id

    @contextmanager
    def _snapshot_with_objects(
        self, plan: Plan, session: Session, sent: list[Sent]
    ) -> Iterator[str]:
        notebook, request = self._notebook, plan.request
        # A session that is made for the objects is nothing to speak of.
        what = f"Publishing {_title(request)}"
        if plan.place.session is not None:
            what = f"Taking a snapshot of session {session.name!r}"
        with notebook.explaining_lost_session(session):
            self._send(plan, session, sent)
            with notebook.waiting(what):
                snapshot = notebook.client.snapshots.create(session.id, _title(request) or None)
        try:
            if snapshot.skipped:
                self._tell(f"Left out of the snapshot: {skipped_text(snapshot.skipped)}")
            yield snapshot.id
        finally:
            # What became of the service does not depend on tidying up.
            with suppress(MlsvcError):
                snapshot.delete()

    def _send(self, plan: Plan, session: Session, sent: list[Sent]) -> None:
        objects, namespace = plan.here.objects, self._notebook.namespace
        moved: list[tuple[Moved, Reason]] = []
        files = send_files(session, plan.files) if plan.files else []
        for each in [*plan.sources.transfers, *_outdated(plan, files)]:
            try:
                made = send(session, each.name, objects[each.name], namespace)
            except NotSendable as error:
                raise MlsvcError(
                    f"{error}. What can't be sent is made by the service itself: give the code "
                    f"that makes {each.name} as its set-up code (--setup), which runs once in "
                    "each worker."
                ) from None
            sent.append(Sent(each.name, made.size, each.reason))
            if not each.is_module:
                moved.append((made, each.reason))
        label = plan.place.label
        if label is None:
            names = [*(f"{item.name} ({size(item.size)})" for item, _ in moved), *files]
            if names:
                self._tell(f"Taken from this notebook: {listed(names)}.")
        else:
            if files:
                self._tell(f"Sent {listed(files)}: {label} did not have it so.")
            for item, reason in moved:
                because = _REASONS[reason].format(place=label)
                self._tell(f"Sent {item.name}, {size(item.size)}: {because}.")


def _outdated(plan: Plan, files: Sequence[str]) -> Iterator[Transfer]:
    """Yield the objects that are the same in the session but for a module that changed there.

    What the session made of the classes of before can't be kept with those of now.
    """
    changed = {name.partition("/")[0].removesuffix(".py") for name in files}
    sources = plan.sources
    for name in sources.place if changed else ():
        if name not in plan.here or name in sources.kept:
            continue
        modules = plan.here.needs.of(name).modules
        if changed & {module.partition(".")[0] for module in modules}:
            yield Transfer(name, "differs")


def _notes_on_edits(files: Sequence[LocalFile]) -> Iterator[str]:
    """Say which modules the notebook has otherwise than the files that go along."""
    for each in files:
        if names := edited_names(each):
            yield (
                f"{each.name} was edited after it was imported here: {listed(names)} "
                f"{'differs' if len(names) == 1 else 'differ'}. The service has the file as it is "
                f"now. To have the same here, run importlib.reload({each.module})."
            )


def _notes_on_settings(codes: Sequence[str]) -> Iterator[str]:
    """Say which settings of the notebook the code does without, and does not set itself."""
    for each in changed_settings():
        if not any(word in code for word in SETTERS.get(each.library, ()) for code in codes):
            yield (
                f"The notebook has {each.library} set to {each.name} = {each.value}. Services do "
                f"not take that over: calls run with {each.usual} unless the code or --setup sets "
                "it."
            )


def _require_names(request: Request) -> None:
    """Refuse a name and a version that the server would refuse, before anything is sent."""
    try:
        service_name(request.name)
        if request.version:
            checked_version(request.version)
    except InvalidName as error:
        raise InvalidInput(str(error)) from None


def _title(request: Request) -> str:
    return " ".join(filter(None, (request.name, request.version)))


def _missing(plan: Plan) -> str:
    names, label = plan.sources.missing, plan.place.label
    lack = "the notebook lacks" if label is None else f"neither the notebook nor {label} has"
    if plan.place.snapshot is not None:
        lack = f"{label} lacks"
    known = {*plan.here.objects, *plan.place.objects}
    hints = "".join(did_you_mean(name, known) for name in names)
    return f"The code reads {listed(names)}, which {lack}.{hints}"


def _untyped(plan: Plan) -> Iterator[str]:
    """Yield a problem for each input whose type nothing tells."""
    known = {*plan.here.objects, *plan.place.objects}
    function = plan.request.function
    for each in plan.definition.inputs:
        if each.known:
            continue
        if function is not None:
            yield (
                f"The type of the input {each.name!r} is not known. Annotate it, as in "
                f"def {function}({each.name}: float), or set {each.name} in the notebook first."
            )
        elif each.source == "unknown":
            yield (
                f"The code reads {each.name!r}, which is set nowhere."
                f"{did_you_mean(each.name, known)} If it is an input, declare it with its type, as "
                f"in {each.name}:numeric."
            )
        else:
            yield (
                f"The type of the input {each.name!r} is not known. Say it, as in "
                f"{each.name}:numeric, or set {each.name} in the notebook first."
            )


def _described(
    plan: Plan, values: Mapping[str, Any]
) -> tuple[list[ParameterDefinition], list[ParameterDefinition]]:
    """Write inputs and outputs, with what is known of their values and may be shown of them."""
    request, here, definition = plan.request, plan.here, plan.definition
    shows_data = request.example == "data"
    inputs = []
    for each in definition.inputs:
        made = msgspec.structs.replace(
            _declared(each),
            columns=declared_columns(
                each,
                here,
                definition.code,
                shows_values=shows_data,
                ranges=request.ranges,
            ),
            items=declared_items(each, here),
        )
        example: Any = each.shown
        if example is UNSET and (shows_data or each.is_shown):
            example = values.get(each.name, UNSET)
        elif example is UNSET and request.example == "synthetic":
            example = made_up(made)
        inputs.append(msgspec.structs.replace(made, example=example))
    outputs = [_declared(each) for each in definition.outputs]
    return described(inputs, outputs, request.descriptions)


def _are_shown(inputs: Sequence[Parameter], values: Mapping[str, Any], request: Request) -> bool:
    """Whether callers may see all values that the publish check calls with, and so its answer."""
    if not values or request.example == "synthetic":
        return False
    if request.example == "data":
        return True
    return all(each.is_shown or each.name not in values for each in inputs)


def _model_definition(request: Request, values: Mapping[str, Any]) -> ParameterDefinition | None:
    """Write what is said of the input of a model; None where nothing is."""
    names = learnt(request.model, "feature_names_in_")
    definition = ParameterDefinition(
        name=MODEL_INPUT,
        type="data.frame",
        columns=[ColumnDefinition(name=str(name)) for name in (() if names is None else names)],
    )
    ((said,), _) = described([definition], [], request.descriptions)
    columns = [column for column in said.columns or () if column.description]
    said = msgspec.structs.replace(said, columns=columns or UNSET)
    if request.example == "data" and MODEL_INPUT in values:
        said = msgspec.structs.replace(said, example=values[MODEL_INPUT])
    elif request.example == "synthetic" and names is not None:
        kinds = ParameterDefinition(
            name=MODEL_INPUT,
            type="data.frame",
            columns=[
                ColumnDefinition(name=each.name, type=each.type)
                for each in estimator_input(request.model).columns
            ],
        )
        said = msgspec.structs.replace(said, example=made_up(kinds))
    is_said = said.description or said.columns or said.example is not UNSET
    return said if is_said else None


def _declared(each: Parameter) -> ParameterDefinition:
    """Write the definition of a parameter."""
    # The publish check finds the type of an output that is left out.
    return ParameterDefinition(
        name=each.name,
        type=(each.type or "") if each.known else "",
        default=each.default,
        description=each.description,
    )
