"""Publishing what a dialog confirmed, and what it asks while somebody types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.versions import named_versions, next_version
from jupyter_mlsvc.errors import BadRequest, Conflict, InvalidInput, MlsvcError
from jupyter_mlsvc.magics.connection import MlsvcConnection, connection_of
from jupyter_mlsvc.planning.errors import NotPublishable
from jupyter_mlsvc.planning.models import is_fitted_model
from jupyter_mlsvc.planning.planner import Planner, Published
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.wording import listed
from jupyter_mlsvc.publishing.suggestion import versions_of
from jupyter_mlsvc.wire.models import ColumnDefinition, Isolation
from jupyter_mlsvc.wire.names import InvalidName, parameter_name, service_name
from jupyter_mlsvc.wire.names import version as checked_version

Json = dict[str, Any]


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a dialog confirmed; members that it leaves out or that are None have no effect."""

    name: str
    version: str | None = None
    kind: Literal["code", "function", "model"] = "code"
    function: str | None = None
    model: str | None = None
    response: list[str] | None = None
    code: str = ""
    init_code: str | None = None
    setup_code: str | None = None
    isolation: Isolation | None = None
    effects: bool = False
    network: bool = True
    read_only: bool = False
    keep_bodies: bool = False
    concurrency: int | None = None
    deadline_seconds: float | None = None
    inputs: list[Json] = []
    outputs: list[Json] = []
    description: str | None = None
    alias: str | None = None
    files: list[str] | None = None
    session: str | None = None
    snapshot: str | None = None
    send: list[str] | None = None
    as_in_session: bool | list[str] | None = None
    runtime_type: str | None = None
    check: bool = True
    force: bool = False
    replace: bool = False
    tags: list[str] | None = None


def publish(**request: Any) -> Json:
    """Publish what a dialog confirmed.

    A snapshot of the session is taken for it and deleted again: the service has its content.

    Parameters
    ----------
    name, version : str
        The next version where it is left out.
    kind, function, model, response
        As suggested; a model is published by its variable, without code, inputs and outputs.
    code, initCode, setupCode : str
    isolation : str
    effects : bool
        Whether a call may change what is elsewhere, so that none is run twice.
    network, readOnly : bool
        Whether the code may use the network, and may write temporary files only.
    keepBodies : bool
        Whether the server keeps what its newest calls sent and got, for who may change it.
    concurrency : int or None
        Calls that a worker runs at a time; the server's choice where it is left out.
    deadlineSeconds : float or None
        Seconds that a call may take; as many as the server allows where it is left out.
    inputs, outputs : list of dict
        ``name`` and ``type``; with ``example`` in an input, ``call`` has it. ``description``,
        ``columns`` and ``shown``, a value that callers are shown, as somebody confirmed them;
        with ``shows`` of ``data`` they are shown what the service answers to it as well.
    description, alias : str
    files : list of str
        Files that the code writes and callers get.
    session : str or None
        Session whose objects the service is to have, by name or id. None publishes without one,
        and so does a name that there is no session of: what is sent then goes through a session
        that is made for it and closed again.
    snapshot : str or None
        Snapshot to publish in place of a session, by name or id; nothing is sent to it.
    asInSession : bool or list of str
        Names whose objects the session keeps though the notebook has others; True for all.
    send : list of str
        Without ``asInSession``: the variables of this notebook to set in the session first. All
        that the code needs and that differ where both are left out.
    runtimeType : str
        Language of the code; that of the session or snapshot, else Python, where it is left out.
    check : bool
        Whether the server calls the service once before it takes it.
    force : bool
        Publish although the service will fail when it is called.
    replace : bool
        Take the place of a version that has never answered rightly.
    tags : list of str
        Words to find the service by.

    Returns
    -------
    dict
        ``name``, ``version``, ``url``, ``call`` (a ``%consume`` line, below one that loads the
        magics where they are not loaded), ``notes`` (sentences), ``sent`` (``name``, ``size`` and
        ``reason`` of objects), ``check`` (what the publish check found, or None), ``checkText``
        (the same as a sentence) and ``error``: None, or a dict where nothing was published with
        ``message``, ``force`` (whether that would help), ``code`` (``conflict`` where the version
        exists) and ``next`` (a version that is free, or None).
    """
    answer: Json = {
        "name": request.get("name"),
        "version": request.get("version"),
        "url": None,
        "call": None,
        "notes": [],
        "sent": [],
        "check": None,
        "checkText": "",
        "error": None,
    }
    try:
        wanted = msgspec.convert(request, PublishRequest)
        connection = connection_of()
        published = _published(connection, wanted, answer["notes"])
    except msgspec.ValidationError as error:
        answer["error"] = _error(f"The request does not fit: {error}.")
    except NotPublishable as error:
        answer["error"] = _error(error.in_notebook(), force=True)
    except Conflict as error:
        answer["error"] = _error(error.reason, code="conflict")
        answer["error"]["next"] = check_name(wanted.name)["next"]
    except BadRequest as error:
        # What the publish check found wrong is no reason for somebody who knows better.
        may_be_forced = error.parameter == "force"
        message = error.reason if may_be_forced else error.in_notebook()
        answer["error"] = _error(message, force=may_be_forced)
    except MlsvcError as error:
        answer["error"] = _error(error.in_notebook())
    except TypeError as error:
        answer["error"] = _error(str(error))
    else:
        answer |= _answer(connection, wanted, published)
    return answer


def _error(message: str, *, force: bool = False, code: str | None = None) -> Json:
    return {"message": message, "force": force, "code": code, "next": None}


def _answer(connection: MlsvcConnection, wanted: PublishRequest, published: Published) -> Json:
    service: Service = published.service
    call = consume_line(service.name, service.version, wanted.inputs)
    if not connection.has_magics:
        call = f"%load_ext jupyter_mlsvc\n{call}"
    return {
        "name": service.name,
        "version": service.version,
        "url": service.url,
        "call": call,
        "check": msgspec.to_builtins(service.publish_check),
        "checkText": published.check_text,
        "sent": [
            {"name": each.name, "size": each.size, "reason": each.reason} for each in published.sent
        ],
    }


def _published(connection: MlsvcConnection, wanted: PublishRequest, notes: list[str]) -> Published:
    if wanted.snapshot is not None and (wanted.send or wanted.session is not None):
        raise InvalidInput("A snapshot goes without a session and without what is sent to it.")
    own = connection.own_objects()
    if wanted.kind == "model" and not (wanted.model in own and is_fitted_model(own[wanted.model])):
        raise InvalidInput(f"There is no fitted model {wanted.model!r} in this notebook.")
    if unknown := [name for name in wanted.send or () if name not in own]:
        raise InvalidInput(f"There is no variable {listed(unknown)} in this notebook to send.")
    request = Request(
        name=wanted.name,
        version=wanted.version or None,
        code=wanted.code,
        init_code=wanted.init_code or "",
        inputs=_parameters(wanted.inputs),
        outputs=_parameters(wanted.outputs),
        description=wanted.description or None,
        alias=wanted.alias or None,
        setup_code=wanted.setup_code or "",
        isolation=wanted.isolation,
        effects=wanted.effects,
        network=wanted.network,
        read_only=wanted.read_only,
        keep_bodies=wanted.keep_bodies,
        concurrency=wanted.concurrency,
        deadline_seconds=wanted.deadline_seconds,
        response=wanted.response or [],
        check=wanted.check,
        replace=wanted.replace,
        tags=wanted.tags,
        # The rows are those of the function already, as somebody confirmed them.
        is_expanded=True,
        files=wanted.files or [],
        runtime=wanted.runtime_type,
        snapshot=wanted.snapshot,
        without_session=wanted.session is None,
        force=wanted.force,
    )
    if isinstance(wanted.as_in_session, list):
        request.as_in_session = frozenset(wanted.as_in_session)
    elif wanted.as_in_session is not None:
        request.as_in_session = wanted.as_in_session
    else:
        request.send = wanted.send
    if wanted.session is not None:
        found = connection.pick(wanted.session, connection.client.sessions.list())
        exists = found is not None
        request.session = wanted.session if exists else None
        request.without_session = not exists
    if wanted.kind == "model" and wanted.model is not None:
        request.model, request.model_name = own[wanted.model], wanted.model
    elif wanted.kind == "function":
        request.function = wanted.function
    return Planner(connection, notes.append).publish(request)


def _parameters(rows: Iterable[Json]) -> list[Parameter]:
    try:
        found = [
            # A type that was guessed and not touched is found out again.
            Parameter(
                row["name"],
                row["type"] or None if row.get("known", True) else None,
                example=row.get("example"),
                source=row.get("source", "cell"),
                default=row.get("default", UNSET),
                description=row.get("description") or "",
                columns=_columns(row),
                shown=row.get("shown", UNSET),
                is_shown=row.get("shows") == "data",
            )
            for row in rows
        ]
    except KeyError as error:
        raise InvalidInput(f"An input or output has no {error}.") from None
    for each in found:
        try:
            parameter_name(each.name, "R" if "." in each.name else "Python")
        except InvalidName as error:
            raise InvalidInput(str(error)) from None
    return found


def _columns(row: Json) -> list[ColumnDefinition] | UnsetType:
    """Read the columns that a dialog confirmed; those of an input without any are found out."""
    given = row.get("columns")
    try:
        return UNSET if given is None else msgspec.convert(given, list[ColumnDefinition])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The columns of {row['name']!r} do not fit: {error}.") from None


def check_name(name: str, version: str = "") -> Json:
    """Tell whether a service can be published under a name and a version; never raises.

    Parameters
    ----------
    name : str
    version : str, optional
        The next one where it is left out.

    Returns
    -------
    dict
        ``ok``, ``message`` (a sentence, empty where it is well), ``next`` (version that is free),
        ``versions`` (those there are, oldest first), ``neverAnswered`` (whether that version is
        yours and has never answered, so that it may be replaced).
    """
    answer: Json = {
        "ok": True,
        "message": "",
        "next": next_version([]),
        "versions": [],
        "neverAnswered": False,
    }
    try:
        service_name(name)
        if version:
            checked_version(version)
        connection = connection_of()
        versions = versions_of(connection, name)
        service = None
        if version and version in versions:
            service = connection.client.services.get(name, version)
    except InvalidName as error:
        return answer | {"ok": False, "message": str(error)}
    except MlsvcError:
        # Without a server nothing is known to be wrong.
        return answer
    answer |= {"next": next_version(versions), "versions": named_versions(versions)}
    if service is not None:
        message = f"{name} {version} exists already. The next version is {answer['next']}."
        may_replace = service.may_change and service.never_answered
        return answer | {"ok": False, "message": message, "neverAnswered": may_replace}
    return answer


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
