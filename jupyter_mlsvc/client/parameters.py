"""Declaring inputs and outputs of a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import InvalidName, parameter_name, python_name
from jupyter_mlsvc.wire.suggestions import did_you_mean
from jupyter_mlsvc.wire.values import ValueProblem, encode_output

Parameters = Mapping[str, object] | Iterable[str | ParameterDefinition]
"""``{"flower_data": "vector"}`` or ``["flower_data:vector"]``; types may be classes."""

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


_TYPES: Final = (
    *("logical", "numeric", "integer", "character", "vector", "matrix", "data.frame"),
    *("string", "json"),
)
"""The contract's types, and those of ours that pass what comes."""


def definitions(parameters: Parameters, runtime_type: str = "") -> list[ParameterDefinition]:
    """Read declared parameters.

    Parameters
    ----------
    runtime_type
        Language of the code, where it is known; the names then get their spellings in it.

    Raises
    ------
    InvalidInput
        A name is none of Python's or R's or comes twice, or a class stands for no type.
    """
    if isinstance(parameters, str):
        parameters = [parameters]
    if isinstance(parameters, Mapping):
        found = [_definition(name, kind) for name, kind in parameters.items()]
    else:
        found = [
            item if isinstance(item, ParameterDefinition) else parse(item) for item in parameters
        ]
    if runtime_type == "Python":
        found = [msgspec.structs.replace(item, name=python_name(item.name)) for item in found]
    names = [item.name for item in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidInput(f"{min(twice)!r} is declared twice.")
    return found


def parse(text: str) -> ParameterDefinition:
    """Read ``name:type``; where the type is left out, the server finds it or passes any JSON."""
    name, _, kind = text.partition(":")
    return _definition(name.strip(), kind.strip())


def _definition(name: str, kind: object) -> ParameterDefinition:
    if isinstance(kind, type):
        if kind.__name__ not in _BY_CLASS:
            raise InvalidInput(
                f"{name!r} is declared as {kind.__name__}, which stands for none of the types "
                "logical, numeric, integer, character, vector, matrix and data.frame."
            )
        kind = _BY_CLASS[kind.__name__]
    return ParameterDefinition(name=_checked(name), type=str(kind))


def require_type(name: str, kind: str) -> None:
    """Check the type of an input or output; one that is left out is found out later.

    Raises
    ------
    InvalidInput
        There is no such type.
    """
    if kind in {"", *_TYPES}:
        return
    meant = (
        f" Did you mean {_BY_CLASS[kind]!r}?" if kind in _BY_CLASS else did_you_mean(kind, _TYPES)
    )
    raise InvalidInput(
        f"{name!r} has the unknown type {kind!r}.{meant} Use one of {', '.join(_TYPES)}."
    )


def _checked(name: str) -> str:
    """Check a name by the rule of Python; one with a dot can only be one of R's."""
    try:
        parameter_name(name, "R" if "." in name else "Python")
    except InvalidName as error:
        raise InvalidInput(str(error)) from None
    # R has names as they are written, and the language is not known here.
    return name


def plain_values(values: Mapping[str, object]) -> dict[str, Any]:
    """Turn values into what JSON carries: arrays into lists, frames into columns.

    Raises
    ------
    InvalidInput
        JSON can't carry a value; the message names it and its type.
    """
    try:
        return {name: encode_output("", value, name) for name, value in values.items()}
    except ValueProblem as error:
        raise InvalidInput(str(error)) from None
