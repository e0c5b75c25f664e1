"""From the form of a publish or patch request to the spec of a realtime service."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.model_file import EXPECTED, InvalidModelFile, read_model_file
from jupyter_mlsvc.wire.model_input import ModelInput
from jupyter_mlsvc.wire.models import (
    ColumnDefinition,
    ParameterDefinition,
    PublishCheckRequest,
    ServiceExample,
)
from jupyter_mlsvc.wire.suggestions import did_you_mean
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.realtime import INPUT, OUTPUT, RUNTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import Content
from jupyter_mlsvc_server.services.bodies import INPUTS, check_operation
from jupyter_mlsvc_server.services.descriptions import (
    check_examples,
    check_parameter,
    check_tags,
)
from jupyter_mlsvc_server.services.errors import ServiceHasCode
from jupyter_mlsvc_server.services.record import ServiceKey, new_revision_id

_DATA_FRAME: Final = "data.frame"


@dataclass(frozen=True, slots=True)
class RealtimeRequest:
    """The parts of the form, the model as a file; None for one that is not there.

    The rest is our addition, as for services with code; of its input only descriptions and an
    example can be given, as the model says what it takes.
    """

    description: str | None = None
    operation_id: str | None = None
    model: Path | None = None
    check: PublishCheckRequest | None = None
    replace: bool = False
    group: str | None = None
    tags: list[str] | None = None
    examples: list[ServiceExample] | None = None
    inputs: list[ParameterDefinition] | None = None
    network: bool | None = None
    read_only: bool | None = None
    keep_bodies: bool | None = None

    def validate(self) -> None:
        """Check what can be told without loading the model.

        Raises
        ------
        BadRequest
            The alias is no name, or the model no model.
        """
        check_operation(self.operation_id or None)
        if self.model is None:
            return
        try:
            read_model_file(self.mapped())
        except InvalidModelFile as error:
            raise BadRequest(str(error)) from None

    def input(self) -> ParameterDefinition:
        """Describe the input, with the columns that the model's file tells."""
        file = read_model_file(self.mapped())
        columns = file.header.columns or [
            ColumnDefinition(name=each.name, type=each.type) for each in file.input.columns
        ]
        return ParameterDefinition(name=INPUT, type=_DATA_FRAME, columns=columns or UNSET)

    def mapped(self) -> memoryview:
        """Give the model's bytes without taking them into memory; there has to be a model."""
        assert self.model is not None
        return _mapped(self.model)


def model_input(content: Content) -> ModelInput | None:
    """Read what columns a published model takes; None where its file does not tell."""
    (model,) = content.manifest.buffers
    try:
        return read_model_file(_mapped(content.blobs.path(model.digest))).input
    except (OSError, InvalidModelFile):
        return None


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def first_spec(key: ServiceKey, request: RealtimeRequest) -> ServiceSpec:
    """Read a publish request (contract: ``publishRealtimeWebServiceByNameVersion``).

    Raises
    ------
    BadRequest
        The model is missing or none, or the alias is no name.
    """
    if request.model is None:
        raise BadRequest(
            f"The file part 'model' is missing from the form. A realtime service needs {EXPECTED}."
        )
    empty = ServiceSpec(
        name=key.name,
        version=key.version,
        revision_id=new_revision_id(),
        runtime_type=RUNTIME,
        outputs=(ParameterDefinition(name=OUTPUT, type=_DATA_FRAME),),
    )
    return _changed(empty, request)


def next_spec(current: ServiceSpec, request: RealtimeRequest) -> ServiceSpec:
    """Change what a patch request names (contract: ``patchRealtimeWebServiceByNameVersion``).

    Raises
    ------
    BadRequest
        As :func:`first_spec`, and for a service with code.
    """
    if current.runtime_type != RUNTIME:
        raise ServiceHasCode(current.runtime_type)
    return _changed(msgspec.structs.replace(current, revision_id=new_revision_id()), request)


def _changed(base: ServiceSpec, request: RealtimeRequest) -> ServiceSpec:
    request.validate()
    operation_id = base.operation_id if request.operation_id is None else request.operation_id
    inputs = base.inputs if request.model is None else (request.input(),)
    for given in request.inputs or ():
        inputs = (_described(inputs[0], given),)
    spec = msgspec.structs.replace(
        base,
        inputs=inputs,
        description=base.description if request.description is None else request.description,
        operation_id=operation_id or None,
        tags=base.tags if request.tags is None else check_tags(request.tags),
        examples=base.examples if request.examples is None else tuple(request.examples),
        network=base.network if request.network is None else request.network,
        read_only=base.read_only if request.read_only is None else request.read_only,
        keep_bodies=base.keep_bodies if request.keep_bodies is None else request.keep_bodies,
    )
    check_examples(spec)
    return spec


def _described(known: ParameterDefinition, given: ParameterDefinition) -> ParameterDefinition:
    """Add to the input what is said about it.

    Raises
    ------
    BadRequest
        It says more than that, or is about something else.
    """
    if given.name != INPUT or given.type not in {"", _DATA_FRAME}:
        raise BadRequest(f"{INPUTS}: a realtime service has one input, {INPUT!r} (data.frame).")
    check_parameter(INPUTS, msgspec.structs.replace(given, type=_DATA_FRAME))
    columns = {each.name: each for each in known.columns or ()}
    for each in given.columns or ():
        if each.name not in columns:
            raise BadRequest(
                f"{INPUTS}: the model does not say that it takes the column {each.name!r}."
                f"{did_you_mean(each.name, columns)}"
            )
        said = msgspec.structs.replace(columns[each.name], description=each.description)
        if each not in (said, ColumnDefinition(name=each.name, description=each.description)):
            raise BadRequest(
                f"{INPUTS}: of the column {each.name!r} only the description can be given. The "
                "model says what it takes: serialize it with 'like' to say more."
            )
        columns[each.name] = said
    return msgspec.structs.replace(
        known,
        description=given.description,
        example=given.example,
        columns=list(columns.values()) or UNSET,
    )
