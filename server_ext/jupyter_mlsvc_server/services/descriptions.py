"""Rules of what a service says about itself: descriptions, columns, elements, examples, tags.

All of it is bounded: each list of services carries it. Examples have to fit the inputs that they
are examples of, so that nobody copies one that is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.cells import WORDS
from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.models import (
    ColumnDefinition,
    ItemsDefinition,
    ParameterDefinition,
    PublishCheck,
    PublishCheckRequest,
    ServiceExample,
)
from jupyter_mlsvc.wire.suggestions import did_you_mean
from jupyter_mlsvc.wire.values import plain_input
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec

MAX_TEXT: Final = 2000
"""Characters of a description of a parameter or a column."""

MAX_TAGS: Final = 20
MAX_TAG: Final = 50
MAX_EXAMPLES: Final = 20
MAX_EXAMPLE_BYTES: Final = 2**16
"""Bytes, in JSON, of one example; of all calls of a service together it is four times that."""

MAX_LISTED: Final = 1000
"""Values that a column lists which is no category of pandas."""


def check_parameter(member: str, definition: ParameterDefinition) -> None:
    """Check what is said of an input or output, but for its example.

    Raises
    ------
    BadRequest
        Something can't be; the message names the member of the request and the parameter.
    """
    where = f"{member}: {definition.name!r}"
    _check_text(where, definition.description)
    _check_columns(where, definition)
    if definition.streams:
        _check_stream(where, definition, is_input=member.startswith("input"))
    if not definition.items and not definition.shape:
        return
    if definition.type not in {"vector", "matrix"}:
        raise BadRequest(
            f"{where} is a {definition.type}; only a vector or a matrix has 'items' and 'shape'."
        )
    if definition.items:
        _check_cells(f"{where}: its items", definition.items)
        if definition.items.type not in {"", *WORDS}:
            raise BadRequest(
                f"{where}: its items have the unknown type {definition.items.type!r}; use one of "
                f"{', '.join(WORDS)}."
            )
    _check_shape(where, definition)


def _check_stream(where: str, definition: ParameterDefinition, *, is_input: bool) -> None:
    if is_input:
        raise BadRequest(f"{where} streams; only an output does.")
    if definition.type in {"numeric", "integer", "logical"}:
        raise BadRequest(
            f"{where} streams and is {definition.type}, which is a single value. Declare it as a "
            "vector, whose items are sent as they come."
        )


def _check_columns(where: str, definition: ParameterDefinition) -> None:
    if not definition.columns:
        return
    if definition.type != "data.frame":
        raise BadRequest(f"{where} is a {definition.type}; only a data.frame has columns.")
    names = [column.name for column in definition.columns]
    if len(set(names)) < len(names):
        twice = min(name for name, count in Counter(names).items() if count > 1)
        raise BadRequest(f"{where} has the column {twice!r} twice.")
    for column in definition.columns:
        _check_cells(f"{where}: the column {column.name!r}", column)
        _check_text(f"{where}: the column {column.name!r}", column.description)


def _check_cells(where: str, cells: ColumnDefinition | ItemsDefinition) -> None:
    """Check limits and lists of a column or of elements."""
    limits = [each for each in (cells.minimum, cells.maximum) if each is not None]
    if not all(map(math.isfinite, limits)):
        raise BadRequest(f"{where} has a limit that is no number.")
    if len(limits) == 2 and limits[0] > limits[1]:
        raise BadRequest(
            f"{where} has the minimum {limits[0]:g} and the smaller maximum {limits[1]:g}."
        )
    if limits and cells.type.startswith(("str", "bool", "category", "datetime", "timedelta")):
        raise BadRequest(f"{where} is of type {cells.type!r}; only numbers have limits.")
    listed = cells.categories
    if listed is None or cells.type == "category":
        return
    if len(listed) > MAX_LISTED:
        raise BadRequest(f"{where} lists {len(listed):,} values; it may list {MAX_LISTED:,}.")
    if any(isinstance(each, list | dict) for each in listed):
        raise BadRequest(
            f"{where} lists a value that is neither text nor number nor true nor false."
        )


def _check_shape(where: str, definition: ParameterDefinition) -> None:
    shape = definition.shape
    if not shape:
        return
    dimensions = 2 if definition.type == "matrix" else 1
    if len(shape) != dimensions:
        raise BadRequest(
            f"{where} is a {definition.type}, whose shape has {dimensions} "
            f"{'length' if dimensions == 1 else 'lengths'}; null stands for any."
        )
    if any(each is not None and each < 0 for each in shape):
        raise BadRequest(f"{where} has a negative length in its shape.")


def check_examples(spec: ServiceSpec) -> None:
    """Check the examples of parameters and of whole calls, and the tags.

    Raises
    ------
    BadRequest
        There is too much of it, or an example does not fit.
    """
    for inputs in (True, False):
        definitions = spec.inputs if inputs else spec.outputs
        for each in definitions:
            if each.example is not UNSET:
                _check_size(f"the example of {each.name!r}", each.example)
                if inputs:
                    _require_fit("the example of ", each, each.example)
    if len(spec.examples) > MAX_EXAMPLES:
        raise BadRequest(
            f"examples: there are {len(spec.examples)}; a service may have {MAX_EXAMPLES}."
        )
    for number, example in enumerate(spec.examples):
        _check_example(f"examples[{number}]", example, spec)
    _check_size("examples", spec.examples, 4 * MAX_EXAMPLE_BYTES)
    named = [each.name for each in spec.examples if each.name]
    if len(set(named)) < len(named):
        raise BadRequest("examples: a name is there twice.")


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags without spaces around them.

    Raises
    ------
    BadRequest
        One is empty, too long or there twice, or there are too many.
    """
    found = tuple(tag.strip() for tag in tags)
    if len(found) > MAX_TAGS:
        raise BadRequest(f"tags: there are {len(found)}; a service may have {MAX_TAGS}.")
    for tag in found:
        if not tag or not tag.isprintable() or len(tag) > MAX_TAG:
            raise BadRequest(f"tags: {tag[:MAX_TAG]!r} is no tag; use 1 to {MAX_TAG} characters.")
    if len({tag.casefold() for tag in found}) < len(found):
        raise BadRequest("tags: one is there twice.")
    return found


def with_example(
    spec: ServiceSpec, request: PublishCheckRequest | None, found: PublishCheck | None
) -> ServiceSpec:
    """Add the call of a publish check to the examples, where its publisher wants it shown.

    It takes the place of one with the same inputs. Where it is too large the check says so.
    """
    if request is None or not request.as_example or found is None:
        return spec
    if not found.called or not found.success:
        return spec
    example = ServiceExample(inputs=request.inputs, outputs=found.output_parameters)
    others = [each for each in spec.examples if each.inputs != example.inputs]
    shown = msgspec.structs.replace(spec, examples=(*others, example))
    try:
        check_examples(shown)
    except BadRequest as error:
        found.notes.append(f"The call of the check is not shown as an example: {error}")
        return spec
    return shown


def shown_parameters(
    definitions: Sequence[ParameterDefinition], *, to_publisher: bool
) -> list[ParameterDefinition]:
    """Return definitions without the lists of values that are for the publisher only."""
    if to_publisher:
        return list(definitions)
    return [
        msgspec.structs.replace(each, columns=[_without_list(column) for column in each.columns])
        if each.columns and any(column.hide_categories for column in each.columns)
        else each
        for each in definitions
    ]


def _without_list(column: ColumnDefinition) -> ColumnDefinition:
    if not column.hide_categories:
        return column
    return msgspec.structs.replace(column, categories=None, category_type="", hide_categories=False)


def _check_example(where: str, example: ServiceExample, spec: ServiceSpec) -> None:
    _check_text(where, example.name)
    _check_size(where, example)
    inputs = {each.name: each for each in spec.inputs}
    for name, value in example.inputs.items():
        if name not in inputs:
            raise BadRequest(
                f"{where}: there is no input {name!r}.{did_you_mean(name, inputs)}{_ADVICE}"
            )
        _require_fit(f"{where}: ", inputs[name], value)
    for name, definition in inputs.items():
        if name not in example.inputs and definition.default is UNSET:
            raise BadRequest(f"{where}: the input {name!r} is missing.{_ADVICE}")
    outputs = {each.name for each in spec.outputs}
    for name in example.outputs:
        if name not in outputs:
            raise BadRequest(
                f"{where}: there is no output {name!r}.{did_you_mean(name, outputs)}{_ADVICE}"
            )


_ADVICE: Final = " Give 'examples' anew, or [] for none."


def _require_fit(where: str, definition: ParameterDefinition, value: Any) -> None:
    try:
        plain_input(definition, value, definition.name)
    except ValueProblem as problem:
        raise BadRequest(f"{where}{problem}") from None


def _check_text(where: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise BadRequest(
            f"{where} has a description of {len(text):,} characters; it may have {MAX_TEXT:,}."
        )


def _check_size(where: str, value: Any, most: int = MAX_EXAMPLE_BYTES) -> None:
    size = len(msgspec.json.encode(value))
    if size > most:
        raise BadRequest(f"{where} has {size:,} bytes of JSON; it may have {most:,}. Show less.")
