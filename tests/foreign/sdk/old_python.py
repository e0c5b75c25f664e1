"""What Microsoft's SDK expects of the Python of its time, for the Python of today.

The wheel stays as it is. Python 3.8 and 3.11 put parameters into the constructor of code objects,
which the SDK calls by position to name the methods of its services; Python 3.12 dropped ``imp``.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any


def stand_in() -> None:
    """Let the SDK find what it knows, before or after it is imported."""
    if importlib.util.find_spec("imp") is None:
        sys.modules["imp"] = types.ModuleType("imp")
    import azureml.common.utils as sdk_utils

    sdk_utils.types = types.SimpleNamespace(CodeType=_code, FunctionType=types.FunctionType)


def _code(*of_python_37: Any) -> types.CodeType:
    arguments, keywords, _, stack, flags, code, constants, names, variables, file, name, line, _ = (
        of_python_37
    )
    # Today all local variables have names; the SDK names those that are parameters.
    variables += tuple(f".{number}" for number in range(len(variables), of_python_37[2]))
    return types.CodeType(
        *(arguments, 0, keywords, len(variables), stack, flags, code, constants, names, variables),
        *(file, name, name, line, b"", b""),
    )
