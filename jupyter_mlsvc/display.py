"""Showing here what code in a session shows there, while it runs."""

from __future__ import annotations

import sys
from typing import Any, Final

from IPython.display import clear_output, publish_display_data

from jupyter_mlsvc.client.events import (
    AnyEvent,
    ClearOutput,
    DisplayData,
    ExecuteValue,
    StreamText,
    Truncated,
    UpdateDisplayData,
)

_WIDGET: Final = "application/vnd.jupyter.widget-view+json"


class RemoteValue:
    """The value of the last expression, as the session shows it.

    Attributes
    ----------
    data : dict
        The looks by MIME type.
    metadata : dict
        What belongs to them.
    """

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.data = _without_widgets(data)
        self.metadata = metadata

    def __repr__(self) -> str:
        return str(self.data.get("text/plain", ""))

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.data, self.metadata


class CellOutput:
    """Republishes events in the cell that runs now; ``value`` is that of the last expression."""

    def __init__(self) -> None:
        self.value: RemoteValue | None = None

    def __call__(self, event: AnyEvent) -> None:
        """Show one event."""
        match event:
            case StreamText():
                stream = sys.stderr if event.name == "stderr" else sys.stdout
                stream.write(event.text)
                stream.flush()
            case DisplayData():
                publish_display_data(
                    _without_widgets(event.data), event.metadata, transient=event.transient
                )
            case UpdateDisplayData():
                publish_display_data(
                    _without_widgets(event.data),
                    event.metadata,
                    transient=event.transient,
                    update=True,
                )
            case Truncated():
                sys.stderr.write(f"{event.message}\n")
                sys.stderr.flush()
            case ClearOutput():
                clear_output(wait=event.wait)
            case ExecuteValue():
                self.value = RemoteValue(event.data, event.metadata)
            case _:
                return


def _without_widgets(data: dict[str, Any]) -> dict[str, Any]:
    """Leave a widget's view out: its model lives in the session, where this page can't reach it."""
    return {kind: content for kind, content in data.items() if kind != _WIDGET}
