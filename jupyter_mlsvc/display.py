"""Showing here what code in a session shows there, while it runs."""

from __future__ import annotations

import html
import sys
import textwrap
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

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
from jupyter_mlsvc.client.periodic import Ticker
from jupyter_mlsvc.client.progress import is_progress_wanted, progress_bar
from jupyter_mlsvc.errors import TransferInterrupted, WaitInterrupted

_PATIENCE_SECONDS: Final = 1.0
_NEWLINE: Final = "\n"
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


class Waiting:
    """Shows for how long something has been going on, once that is a while; then it goes again.

    A plain interrupt becomes a :class:`~jupyter_mlsvc.errors.WaitInterrupted`.

    Parameters
    ----------
    label : str
        What is going on.
    after : float
        Seconds of silence until it is shown. 0 never shows it.
    """

    def __init__(self, label: str, after: float) -> None:
        self._label = label
        self._after = after
        self._bar: Any = None
        self._lock = threading.Lock()
        self._started = self._heard = time.monotonic()
        is_shown = after > 0 and is_progress_wanted()
        self._ticker = Ticker(self._tick) if is_shown else None

    def heard(self) -> None:
        """Take it away until it is silent for a while again: something else is to be seen."""
        with self._lock:
            self._heard = time.monotonic()
            self._hide()

    def _tick(self, _seconds: float) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._heard < self._after:
                return
            if self._bar is None:
                self._bar = progress_bar(
                    desc=self._label,
                    bar_format="{desc}: {elapsed}",
                    leave=False,
                    mininterval=0,
                    disable=False,  # or there were no ticks
                )
                self._bar.start_t -= now - self._started
            self._bar.refresh()

    def _hide(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def __enter__(self) -> Self:
        if self._ticker is not None:
            self._ticker.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ticker is not None:
            self._ticker.__exit__(kind, error, trace)
        with self._lock:
            self._hide()
        if kind is KeyboardInterrupt:
            raise WaitInterrupted(self._label) from None


class TransferBar:
    """Shows how far something on its way is, once that takes a second; then it goes again.

    An interrupt becomes a :class:`~jupyter_mlsvc.errors.TransferInterrupted`.

    Parameters
    ----------
    label : str
        What is on its way.
    quiet : bool
        Show nothing.

    Attributes
    ----------
    done : int
        Bytes so far.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.done = 0
        self._quiet = quiet or not is_progress_wanted()
        self._label = label
        self._started = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        """Note how far it is."""
        is_late = time.monotonic() - self._started > _PATIENCE_SECONDS
        if self._bar is None and is_late and not self._quiet:
            self._bar = progress_bar(
                total=total,
                desc=self._label,
                unit="B",
                unit_scale=True,
                leave=False,
            )
            self._bar.update(self.done)
        if self._bar is not None:
            self._bar.update(done - self.done)
        self.done = done

    def close(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is KeyboardInterrupt:
            raise TransferInterrupted(self._label) from None


class ConsoleText(str):
    """Text of a console that shows itself as it was printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self.rstrip("\n") or "Nothing was printed."

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


class CodeList(list[str]):
    """Pieces of code, the oldest first, that show themselves with their numbers."""

    def __repr__(self) -> str:
        width = len(f"[{len(self)}] ")
        pieces = (
            textwrap.indent(code.strip("\n"), " " * width)[width:] if code.strip() else ""
            for code in self
        )
        shown = [f"[{number}]".ljust(width) + piece for number, piece in enumerate(pieces, start=1)]
        return "\n".join(shown) or "No code was run."

    def _repr_html_(self) -> str:
        if not self:
            return f"<p>{html.escape(repr(self))}</p>"
        rows = "".join(
            f'<tr><td style="vertical-align:top">[{number}]</td>'
            f'<td style="text-align:left"><pre>{html.escape(code.strip(_NEWLINE))}</pre></td></tr>'
            for number, code in enumerate(self, start=1)
        )
        return f"<table><tbody>{rows}</tbody></table>"


def _without_widgets(data: dict[str, Any]) -> dict[str, Any]:
    """Leave a widget's view out: its model lives in the session, where this page can't reach it."""
    return {kind: content for kind, content in data.items() if kind != _WIDGET}
