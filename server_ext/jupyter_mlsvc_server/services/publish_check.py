"""The publish check: what is called before a version is published, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.models import (
    ParameterDefinition,
    PublishCheck,
    PublishCheckRequest,
    WebServiceResult,
)
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.trial import TrialOutcome
from jupyter_mlsvc_server.services.errors import PublishCheckFailed
from jupyter_mlsvc_server.services.isolation_hint import isolation_hint
from jupyter_mlsvc_server.storage.clock import now_text

ANY_JSON: Final = "json"
"""Type of a parameter that nobody gave one: its value passes as JSON."""

_TRACEBACK: Final = re.compile(r"^(?:Traceback \(most recent call last\):|Error\b)", re.MULTILINE)

MAX_OUTPUT_BYTES: Final = 2**16
MAX_CONSOLE_CHARACTERS: Final = 10_000
"""What is kept of an answer of the check."""


@dataclass(frozen=True, slots=True)
class CheckCall:
    """A call that the check is to make.

    Attributes
    ----------
    body : bytes or None
        The request; None where no call is made.
    notes : tuple of str
        Why none is made, and what is to be said of the code.
    """

    body: bytes | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: ServiceSpec, request: PublishCheckRequest | None) -> CheckCall:
        """Make the call that was asked for; there is none where an input has no value."""
        if request is None:
            return cls(None)
        hints = _hints(spec)
        missing = [each.name for each in spec.inputs if not _has_value(each, request)]
        if missing:
            names = ", ".join(map(repr, missing))
            noun = "input" if len(missing) == 1 else "inputs"
            return cls(
                None, (f"The code was not called: there is no value for {noun} {names}.", *hints)
            )
        return cls(msgspec.json.encode(request.inputs), hints)


def _hints(spec: ServiceSpec) -> tuple[str, ...]:
    if spec.concurrency > 1:
        return (
            f"It answers up to {spec.concurrency} calls at a time in a worker. They share objects "
            "and files, and what they change there stays.",
        )
    if spec.runtime_type != "Python" or spec.isolation != "worker":
        return ()
    hint = isolation_hint(f"{spec.parts['initCode']}\n{spec.parts['code']}")
    return (hint,) if hint else ()


def _has_value(definition: ParameterDefinition, request: PublishCheckRequest) -> bool:
    return definition.default is not UNSET or definition.name in request.inputs


def judge(
    outcome: TrialOutcome, call: CheckCall, request: PublishCheckRequest | None
) -> PublishCheck | None:
    """Decide whether a revision may be published, and give what is kept of its check.

    Returns
    -------
    PublishCheck or None
        None where no check was asked for.

    Raises
    ------
    PublishCheckFailed
        It failed, and nobody said that this does not matter.
    """
    result = None
    if outcome.answer:
        result = msgspec.json.decode(outcome.answer, type=WebServiceResult)
    if outcome.problem and not (request and request.force):
        raise PublishCheckFailed(
            outcome.problem,
            may_be_forced=request is not None,
            printed="" if result is None else _printed(result.console_output, outcome.problem),
        )
    if request is None:
        return None
    outputs, notes = (
        {} if result is None else result.output_parameters,
        [*call.notes, *outcome.notes],
    )
    if outcome.retired_for:
        notes.append(
            f"Each such call will have its worker replaced, which makes it slow: "
            f"{outcome.retired_for}. Have the code change a copy, or publish it with isolation "
            "'call', or 'none' where calls are meant to share what they change."
        )
    size = len(msgspec.json.encode(outputs))
    if size > MAX_OUTPUT_BYTES:
        outputs = {}
        notes.append(f"The answer of the check has {size:,} bytes and is not kept.")
    return PublishCheck(
        called=call.body is not None,
        success=not outcome.problem,
        error_message=outcome.problem,
        output_parameters=outputs,
        console_output="" if result is None else _cut(result.console_output),
        notes=notes,
        time=now_text(),
    )


def with_types(spec: ServiceSpec, types: Mapping[str, str]) -> ServiceSpec:
    """Give the outputs that are declared without a type the one that was found, or any JSON."""
    if all(each.type for each in spec.outputs):
        return spec
    return msgspec.structs.replace(
        spec,
        outputs=tuple(
            each
            if each.type
            else msgspec.structs.replace(each, type=types.get(each.name, ANY_JSON))
            for each in spec.outputs
        ),
    )


def with_streams(spec: ServiceSpec, outcome: TrialOutcome, call: CheckCall) -> ServiceSpec:
    """Mark the outputs that were found to be streams; a call shows which are none, too."""
    has_run = call.body is not None and not outcome.problem
    outputs = tuple(
        msgspec.structs.replace(
            each, streams=each.name in outcome.streams or (each.streams and not has_run)
        )
        for each in spec.outputs
    )
    return spec if outputs == spec.outputs else msgspec.structs.replace(spec, outputs=outputs)


def runs_alike(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Whether two revisions differ in nothing but what is said about them."""
    return _bare(one) == _bare(other)


def _bare(spec: ServiceSpec) -> ServiceSpec:
    return msgspec.structs.replace(
        spec,
        revision_id="",
        description="",
        operation_id=None,
        tags=(),
        examples=(),
        inputs=tuple(map(bare_parameter, spec.inputs)),
        outputs=tuple(map(bare_parameter, spec.outputs)),
    )


def bare_parameter(definition: ParameterDefinition) -> ParameterDefinition:
    """Return a definition without what is said of it, and of its columns, to people only."""
    columns = definition.columns
    if columns:
        columns = [
            msgspec.structs.replace(column, description="", hide_categories=False)
            for column in columns
        ]
    return msgspec.structs.replace(definition, description="", example=UNSET, columns=columns)


def _printed(console: str, problem: str) -> str:
    """Leave out the traceback or sentence of a failure, as the message has it already."""
    printed = _TRACEBACK.split(console, maxsplit=1)[0].strip("\n")
    return _cut(printed.removesuffix(problem).rstrip("\n"))


def _cut(text: str) -> str:
    if len(text) <= MAX_CONSOLE_CHARACTERS:
        return text
    half = MAX_CONSOLE_CHARACTERS // 2
    return f"{text[:half]}\n[…]\n{text[-half:]}"
