"""Declaring inputs and outputs of a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import parameter_name

Parameters = Mapping[str, object] | Iterable[str | ParameterDefinition]
"""``{"flower_data": "vector"}`` or ``["flower_data:vector"]``; types may be classes."""

_DEFAULT_TYPE: Final = "character"
_BY_CLASS: Final[dict[str, str]] = {
    "bool": "logical",
    "int": "integer",
    "float": "numeric",
    "str": "character",
    "list": "vector",
    "tuple": "vector",
    "ndarray": "vector",
    "array": "vector",
    "matrix": "matrix",
    "DataFrame": "data.frame",
}


def definitions(parameters: Parameters) -> list[ParameterDefinition]:
    """Read declared parameters.

    Raises
    ------
    ValueError
        A name is no Python identifier or comes twice, or a class stands for no type.
    """
    if isinstance(parameters, str):
        parameters = [parameters]
    if isinstance(parameters, Mapping):
        found = [_definition(name, kind) for name, kind in parameters.items()]
    else:
        found = [
            item if isinstance(item, ParameterDefinition) else parse(item) for item in parameters
        ]
    names = [item.name for item in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(twice)!r} is declared twice.")
    return found


def parse(text: str) -> ParameterDefinition:
    """Read ``name:type``; a type that is left out is ``character``, as in the contract."""
    name, _, kind = text.partition(":")
    return _definition(name.strip(), kind.strip() or _DEFAULT_TYPE)


def _definition(name: str, kind: object) -> ParameterDefinition:
    if isinstance(kind, type):
        if kind.__name__ not in _BY_CLASS:
            raise ValueError(
                f"{name!r} is declared as {kind.__name__}, which stands for none of the types "
                "logical, numeric, integer, character, vector, matrix and data.frame."
            )
        kind = _BY_CLASS[kind.__name__]
    return ParameterDefinition(name=parameter_name(name), type=str(kind))
