"""Inputs and outputs as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jupyter_mlsvc.client.parameters import definitions
from jupyter_mlsvc.planning.request import Parameter
from jupyter_mlsvc.wire.models import ParameterDefinition

Declared = Mapping[str, object] | Iterable[str | ParameterDefinition]
"""``{"flower": "vector"}`` or ``["flower:vector", "scale"]``; types may be classes."""


def parameters(declared: Declared) -> list[Parameter]:
    """Read declarations; a type that is left out is found out later.

    Raises
    ------
    InvalidInput
        A name is none of Python's or R's or comes twice, or a class stands for no type.
    """
    return [Parameter(each.name, each.type or None) for each in definitions(declared)]
