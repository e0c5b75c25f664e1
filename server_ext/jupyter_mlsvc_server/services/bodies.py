"""From the body of a publish or patch request to a spec, with every rule checked, and to a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from jupyter_mlsvc.wire.models import ParameterDefinition, PublishWebServiceRequest, WebService
from jupyter_mlsvc.wire.names import InvalidName, file_name, parameter_name
from jupyter_mlsvc.wire.values import TABLE_TYPES, ValueProblem, plain_input
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.concurrency import MAX_CONCURRENCY, usual_concurrency
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.formats.realtime import RUNTIME as REALTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.services.descriptions import (
    check_examples,
    check_parameter,
    check_tags,
    shown_parameters,
)
from jupyter_mlsvc_server.services.errors import RealtimeHasNoCode, ServiceIsRealtime
from jupyter_mlsvc_server.services.publish_check import ANY_JSON
from jupyter_mlsvc_server.services.record import ServiceKey, ServiceRecord, new_revision_id

T = TypeVar("T")

INPUTS: Final = "inputParameterDefinitions"

LANGUAGES = ("Python", "R")
KNOWN_TYPES = ("logical", "numeric", "integer", "character", "vector", "matrix", "data.frame")
FREE_TYPES = ("string", ANY_JSON)
"""Types outside the contract's seven that published services use; their values pass as JSON."""


@dataclass(frozen=True, slots=True)
class RuntimeRule:
    """Which runtime a request without ``runtimeType`` means."""

    default: str = "Python"

    def check(self, named: str | None) -> str:
        """Name the runtime of a new service.

        Raises
        ------
        BadRequest
            No such runtime, or none that code is published for.
        """
        runtime = named or self.default
        if runtime == REALTIME:
            raise RealtimeHasNoCode
        if runtime not in LANGUAGES:
            raise BadRequest(f"{runtime!r} is no runtimeType; use 'Python' or 'R'.")
        return runtime


def first_spec(
    key: ServiceKey, request: PublishWebServiceRequest, rule: RuntimeRule
) -> ServiceSpec:
    """Read the body of a publish request (contract: ``publishWebServiceVersion``).

    Raises
    ------
    BadRequest
        No code, or a name, type or runtime that cannot be; the message names the member.
    """
    runtime = rule.check(_given(request.runtime_type, None))
    empty = ServiceSpec(
        name=key.name,
        version=key.version,
        revision_id=new_revision_id(),
        runtime_type=runtime,
        isolation="call" if runtime == R else "worker",
    )
    spec = _changed(empty, request)
    if not spec.code.strip():
        raise BadRequest("The member 'code' is missing or empty: a service needs code to run.")
    return spec


def next_spec(current: ServiceSpec, request: PublishWebServiceRequest) -> ServiceSpec:
    """Change what a patch request names and keep the rest (contract: ``patchWebServiceVersion``).

    An empty list clears inputs, outputs or files; a member that is absent or null keeps its value.

    Raises
    ------
    BadRequest
        As :func:`first_spec`, and for a runtime other than the service's.
    """
    if current.runtime_type == REALTIME:
        raise ServiceIsRealtime
    runtime = _given(request.runtime_type, None)
    if runtime not in {None, current.runtime_type}:
        raise BadRequest(
            f"The service runs on {current.runtime_type}; its runtimeType cannot change to "
            f"{runtime!r}. Publish a new version instead."
        )
    spec = _changed(msgspec.structs.replace(current, revision_id=new_revision_id()), request)
    if not spec.code.strip():
        raise BadRequest("The member 'code' is empty: a service needs code to run.")
    return spec


def _changed(base: ServiceSpec, request: PublishWebServiceRequest) -> ServiceSpec:
    spec = msgspec.structs.replace(
        base,
        code=_given(request.code, base.code),
        init_code=_given(request.init_code, base.init_code),
        description=_given(request.description, base.description),
        operation_id=_given(request.operation_id, base.operation_id) or None,
        inputs=tuple(map(_typed, _given(request.input_parameter_definitions, base.inputs))),
        outputs=tuple(_given(request.output_parameter_definitions, base.outputs)),
        output_files=tuple(_given(request.output_file_names, base.output_files)),
        snapshot_id=_given(request.snapshot_id, base.snapshot_id),
        setup_code=_given(request.setup_code, base.setup_code) or None,
        isolation=_given(request.isolation, base.isolation),
        effects=_given(request.effects, base.effects),
        tags=check_tags(_given(request.tags, base.tags)),
        examples=tuple(_given(request.examples, base.examples)),
        network=_given(request.network, base.network),
        read_only=_given(request.read_only, base.read_only),
        keep_bodies=_given(request.keep_bodies, base.keep_bodies),
        deadline_seconds=_given(request.deadline_seconds, base.deadline_seconds),
    )
    spec = _with_concurrency(spec, base, _given(request.concurrency, None))
    _check_worker(spec)
    _check_files(spec.output_files)
    check_operation(spec.operation_id)
    runtime = spec.runtime_type
    spec = msgspec.structs.replace(
        spec,
        inputs=_parameters(INPUTS, spec.inputs, runtime),
        outputs=_parameters("outputParameterDefinitions", spec.outputs, runtime),
    )
    check_examples(spec)
    return spec


def _with_concurrency(spec: ServiceSpec, base: ServiceSpec, given: int | None) -> ServiceSpec:
    """Give a spec its number of calls at a time: what was said, or what its code is good for.

    Where a change says nothing, a number that followed from the code of before follows from the
    new one. 0 takes it back to that.
    """
    if spec.runtime_type == R:
        return msgspec.structs.replace(spec, concurrency=given or 1)
    if given is None and base.concurrency != _usual_concurrency(base):
        given = base.concurrency
    return msgspec.structs.replace(spec, concurrency=given or _usual_concurrency(spec))


def _usual_concurrency(spec: ServiceSpec) -> int:
    return usual_concurrency(spec.init_code or "", spec.code)


def _check_concurrency(spec: ServiceSpec) -> None:
    """Check what calls can't have that run at the same time."""
    concurrency = spec.concurrency
    if not 0 <= concurrency <= MAX_CONCURRENCY:
        raise BadRequest(
            f"concurrency is {concurrency}; it has to be from 1 to {MAX_CONCURRENCY}, or 0 for "
            "what the code is good for."
        )
    if concurrency > 1 and spec.runtime_type == R:
        raise BadRequest(
            "Each call of a service in R has a process of its own: 'concurrency' can only be 1."
        )
    sources = (spec.init_code or "", spec.code, spec.setup_code or "")
    if concurrency == 1 and usual_concurrency(*sources) == 1:
        return
    if spec.isolation == "call":
        raise BadRequest(
            "Calls run at the same time in one process, as the code awaits or 'concurrency' is "
            "above 1: 'isolation' can't be 'call'."
        )
    if spec.output_files:
        raise BadRequest(
            "outputFileNames: calls run at the same time in one folder, as the code awaits or "
            "'concurrency' is above 1, so that nobody knows whose file it is. Answer what is in "
            "the file as an output, or have one call run at a time."
        )


def _check_worker(spec: ServiceSpec) -> None:
    """Check what concerns the worker that the code runs in."""
    if spec.deadline_seconds < 0:
        raise BadRequest(
            f"deadlineSeconds is {spec.deadline_seconds:g}; it has to be above 0, or 0 for the "
            "server's."
        )
    _check_concurrency(spec)
    if spec.runtime_type != R:
        return
    if spec.setup_code is not None:
        raise BadRequest(
            "setupCode runs in services in Python only. Each call of a service in R has a process "
            "of its own: put what it needs into the snapshot, or into 'initCode'."
        )
    if spec.isolation != "call":
        raise BadRequest(
            "Each call of a service in R has a process of its own: 'isolation' can only be 'call'."
        )


def view(
    record: ServiceRecord,
    *,
    shows_code: bool,
    may_be_changed: bool,
    has_answered: bool,
    failing: str | None = None,
) -> WebService:
    """Describe a version to somebody who may see its code, or change it, or neither."""
    spec = record.spec
    optional: dict[str, Any] = {} if failing is None else {"failing": failing}
    if record.owner.group:
        optional["group"] = record.owner.group
    if spec.tags:
        optional["tags"] = list(spec.tags)
    if spec.examples:
        optional["examples"] = list(spec.examples)
    if shows_code and record.publish_check is not None:
        optional["publish_check"] = record.publish_check
    if shows_code and spec.runtime_type != REALTIME:
        optional |= {
            "code": spec.code,
            "init_code": spec.init_code,
            "setup_code": spec.setup_code,
            "isolation": spec.isolation,
            "effects": spec.effects,
            "concurrency": spec.concurrency,
        }
    if shows_code:
        optional |= {
            "network": spec.network,
            "read_only": spec.read_only,
            "keep_bodies": spec.keep_bodies,
        }
        if spec.deadline_seconds:
            optional["deadline_seconds"] = spec.deadline_seconds
    return WebService(
        name=spec.name,
        version=spec.version,
        version_published_by=record.owner.name,
        creation_time=record.created_at,
        snapshot_id=spec.snapshot_id,
        runtime_type=spec.runtime_type,
        description=spec.description,
        operation_id=spec.operation_id,
        input_parameter_definitions=shown_parameters(spec.inputs, to_publisher=may_be_changed),
        output_parameter_definitions=shown_parameters(spec.outputs, to_publisher=may_be_changed),
        output_file_names=list(spec.output_files),
        my_permission_on_service="read/write" if may_be_changed else "read only",
        never_answered=not has_answered,
        **optional,
    )


def _typed(definition: ParameterDefinition) -> ParameterDefinition:
    """Let an input without a type take any JSON."""
    return definition if definition.type else msgspec.structs.replace(definition, type=ANY_JSON)


def _given(value: T | UnsetType | None, otherwise: T) -> T:
    return otherwise if value is None or value is UNSET else value


def _parameters(
    member: str, definitions: Sequence[ParameterDefinition], runtime_type: str
) -> tuple[ParameterDefinition, ...]:
    """Check declared inputs or outputs; gives them with their names as the language has them."""
    named: dict[str, ParameterDefinition] = {}
    for definition in definitions:
        try:
            name = parameter_name(definition.name, runtime_type)
        except InvalidName as error:
            raise BadRequest(f"{member}: {error}") from None
        if name in named:
            raise BadRequest(f"{member}: {name!r} is there twice.")
        named[name] = msgspec.structs.replace(definition, name=name)
        # What an output is, the check may find out.
        if definition.type not in ("", *KNOWN_TYPES, *FREE_TYPES):
            raise BadRequest(
                f"{member}: {name!r} has the unknown type {definition.type!r}; use one of "
                f"{', '.join((*KNOWN_TYPES, *FREE_TYPES))}."
            )
        check_parameter(member, definition)
        _check_default(member, definition)
    return tuple(named.values())


def _check_default(member: str, definition: ParameterDefinition) -> None:
    if definition.default is UNSET:
        return
    if member != INPUTS:
        raise BadRequest(
            f"{member}: {definition.name!r} has a default; only an input can be left out of a call."
        )
    if definition.default is None and definition.type in TABLE_TYPES:
        return
    try:
        plain_input(definition, definition.default, definition.name)
    except ValueProblem as problem:
        raise BadRequest(f"{member}: the default of {problem}") from None


def _check_files(names: Sequence[str]) -> None:
    for name in names:
        try:
            file_name(name)
        except InvalidName as error:
            raise BadRequest(f"outputFileNames: {error}") from None
    if len(set(names)) != len(names):
        raise BadRequest("outputFileNames: a name is there twice.")


def check_operation(name: str | None) -> None:
    """Check an alias, if there is one.

    Raises
    ------
    BadRequest
        It is no name that clients can use.
    """
    if name is None:
        return
    try:
        parameter_name(name)
    except InvalidName as error:
        raise BadRequest(f"operationId: {error}") from None
