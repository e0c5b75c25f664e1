"""Inputs and outputs as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from msgspec import UNSET

from jupyter_mlsvc.client.parameters import definitions
from jupyter_mlsvc.planning.descriptions import with_value
from jupyter_mlsvc.planning.request import Parameter
from jupyter_mlsvc.wire.models import ParameterDefinition

Declared = Mapping[str, object] | Iterable[str | ParameterDefinition]
"""``{"flower": "vector"}`` or ``["flower:vector", "scale"]``; types may be classes, or values."""


def parameters(declared: Declared) -> list[Parameter]:
    """Read declarations; a type that is left out is found out later.

    A value in place of a type, such as ``{"applicant": df.head(3)}``, is shown to callers.

    Raises
    ------
    InvalidInput
        A name is none of Python's or R's or comes twice, or a class stands for no type.
    """
    values: dict[str, object] = {}
    if isinstance(declared, Mapping):
        values = {name: kind for name, kind in declared.items() if not isinstance(kind, str | type)}
        declared = {name: "" if name in values else kind for name, kind in declared.items()}
    found = [_parameter(each) for each in definitions(declared)]
    return [with_value(each, values[each.name]) if each.name in values else each for each in found]


def expressions(texts: Iterable[str]) -> list[Parameter]:
    """Read ``name:type=expression``; what the expression gives is shown to callers.

    Raises
    ------
    InvalidInput
        As for :func:`parameters`.
    """
    parts = [text.partition("=") for text in texts]
    found = parameters([head.strip() for head, _, _ in parts])
    return [
        replace(each, expression=expression.strip())
        for each, (_, _, expression) in zip(found, parts, strict=True)
    ]


def _parameter(given: ParameterDefinition) -> Parameter:
    return Parameter(
        given.name,
        given.type or None,
        default=given.default,
        description=given.description,
        columns=given.columns or UNSET,
        shown=given.example,
    )
