"""Events of a running execution, as the server streams them (one JSON object a line)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from jupyter_mlsvc.errors import UnexpectedAnswer
from jupyter_mlsvc.wire.models import ExecuteResponse, WorkspaceObject


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events; ``seq`` counts from 0 in each execution."""

    seq: int


class StreamText(Event, frozen=True, kw_only=True, tag="stream"):
    """Text that the code printed; ``name`` is ``stdout`` or ``stderr``."""

    name: str
    text: str


class DisplayData(Event, frozen=True, kw_only=True, tag="display_data"):
    """Something rich that the code displayed."""

    data: dict[str, Any]
    metadata: dict[str, Any] = {}
    transient: dict[str, Any] = {}


class ExecuteValue(Event, frozen=True, kw_only=True, tag="execute_result"):
    """The value of the last expression."""

    data: dict[str, Any]
    metadata: dict[str, Any] = {}


class UpdateDisplayData(Event, frozen=True, kw_only=True, tag="update_display_data"):
    """New content for something displayed before, found by ``transient["display_id"]``."""

    data: dict[str, Any]
    metadata: dict[str, Any] = {}
    transient: dict[str, Any] = {}


class ClearOutput(Event, frozen=True, kw_only=True, tag="clear_output"):
    """What was shown so far should go."""

    wait: bool = False


class ErrorRaised(Event, frozen=True, kw_only=True, tag="error", rename="camel"):
    """The code raised; the traceback is text with colours."""

    ename: str
    evalue: str
    traceback: list[str] = []
    is_syntax_error: bool = False


class Truncated(Event, frozen=True, kw_only=True, tag="truncated"):
    """Output is left out here, because there is more than the server keeps."""

    message: str


class Finished(Event, frozen=True, kw_only=True, tag="result", rename="camel"):
    """The last event: what ``execute`` would have answered."""

    success: bool
    error_message: str = ""
    output_parameters: list[WorkspaceObject] = []
    console_output: str = ""
    changed_files: list[str] = []

    @property
    def response(self) -> ExecuteResponse:
        """The same as the answer of ``execute``."""
        return ExecuteResponse(
            success=self.success,
            error_message=self.error_message,
            output_parameters=self.output_parameters,
            console_output=self.console_output,
            changed_files=self.changed_files,
        )


AnyEvent = (
    StreamText
    | DisplayData
    | ExecuteValue
    | UpdateDisplayData
    | ClearOutput
    | ErrorRaised
    | Truncated
    | Finished
)

_KNOWN: Final = frozenset(
    kind.__struct_config__.tag
    for kind in (
        StreamText,
        DisplayData,
        ExecuteValue,
        UpdateDisplayData,
        ClearOutput,
        ErrorRaised,
        Truncated,
        Finished,
    )
)


class _Kind(msgspec.Struct):
    type: str


def decode_event(line: bytes) -> AnyEvent | None:
    """Decode one line; None for an empty one and for a kind that this version does not know.

    Raises
    ------
    UnexpectedAnswer
        The line is no event.
    """
    if not line.strip():
        return None
    try:
        if msgspec.json.decode(line, type=_Kind).type not in _KNOWN:
            return None
        event: AnyEvent = msgspec.json.decode(line, type=AnyEvent)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(f"The server sent an event that is none: {error}.") from None
    return event
