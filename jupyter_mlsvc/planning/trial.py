"""What the publish check calls a service with, and what it found in a sentence.

The values are those that the notebook has, cut to a few rows; they are sent for the check alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.client.formatting import short
from jupyter_mlsvc.planning.descriptions import live_value
from jupyter_mlsvc.planning.request import Parameter
from jupyter_mlsvc.planning.sources import Here
from jupyter_mlsvc.planning.wording import listed
from jupyter_mlsvc.wire.kinds import parameter_type
from jupyter_mlsvc.wire.models import PublishCheck
from jupyter_mlsvc.wire.values import ValueProblem, encode_output

ROWS: Final = 5
"""Rows of a frame that the check calls with."""

MODEL_INPUT: Final = "inputData"
"""Name of the one input of a realtime service."""

_MAX_BYTES: Final = 2**20
_FITTING: Final = {("numeric", "integer"), ("integer", "numeric"), ("vector", "matrix")}


def check_values(inputs: Iterable[Parameter], here: Here) -> dict[str, Any]:
    """Return JSON values of the inputs that have one, by name."""
    found: dict[str, Any] = {}
    for each in inputs:
        # What callers are shown with its answer is what somebody saw, and no row more.
        is_given = each.is_shown and each.shown is not UNSET
        value = each.shown if is_given else _live_value(each, here)
        value = each.example if value is None else value
        if value is not None:
            found[each.name] = value
        elif each.default is not UNSET and each.default is not None:
            found[each.name] = each.default
    return found


def model_rows(model: object, here: Here) -> Any:
    """Return rows of the notebook with the columns that a model was fitted with; None without any.

    A frame with just these columns counts for more than one that has others too, such as what is
    predicted.
    """
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if not names:
        return None
    frames = [value for value in here.objects.values() if _has_columns(value, names)]
    for value in sorted(frames, key=lambda frame: len(frame.columns)):
        with suppress(ValueProblem, TypeError, ValueError, KeyError, msgspec.MsgspecError):
            rows = encode_output("data.frame", value[names][:ROWS])
            if len(msgspec.json.encode(rows)) <= _MAX_BYTES:
                return rows
    return None


def _has_columns(value: Any, names: Sequence[str]) -> bool:
    with suppress(TypeError, ValueError):
        is_frame = parameter_type(value) == "data.frame" and hasattr(value, "columns")
        return is_frame and len(value) > 0 and set(names) <= set(value.columns)
    return False


def _live_value(each: Parameter, here: Here) -> Any:
    value = live_value(each, here)
    kind = parameter_type(value) if value is not None else None
    if kind is None or (kind != each.type and (each.type, kind) not in _FITTING):
        return None
    if kind == "data.frame":
        value = value[:ROWS]
    try:
        plain = encode_output(each.type or kind, value)
        size = len(msgspec.json.encode(plain))
    except (ValueProblem, TypeError, ValueError, msgspec.MsgspecError):
        return None
    return plain if size <= _MAX_BYTES else None


def check_text(check: PublishCheck, values: dict[str, Any], inputs: Sequence[Parameter]) -> str:
    """Write what a check found as a sentence, with what the code printed below it."""
    if not check.called:
        return " ".join(check.notes)
    given = [_given(each, values[each.name]) for each in inputs if each.name in values]
    head = f"Tried with {listed(given)}" if given else "Tried"
    lines = [f"{head}: {_result(check)}", *check.notes]
    if check.console_output.strip():
        lines += ["It printed:", check.console_output.rstrip()]
    return "\n".join(lines)


def _given(each: Parameter, value: Any) -> str:
    if each.type != "data.frame":
        return f"{each.name}={short(value)}"
    column = next(iter(value.values()), []) if isinstance(value, dict) else value
    count = len(column)
    return f"{each.name} ({count} {'row' if count == 1 else 'rows'})"


def _result(check: PublishCheck) -> str:
    if not check.success:
        return f"it fails. {check.error_message.strip()}"
    if not check.output_parameters:
        return "it ran and has no outputs."
    return ", ".join(f"{name} = {short(value)}" for name, value in check.output_parameters.items())
