"""A widget's connection to its front end, whose half is played by the test."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import ipywidgets

Message = dict[str, Any]


class FakeComm:
    """Keeps what a widget sends, and gives it what a front end would.

    Parameters
    ----------
    widget
        Its messages go here from now on.
    """

    def __init__(self, widget: ipywidgets.Widget) -> None:
        self.comm_id = "fake"
        self.state: Message = {}
        self.is_closed = False
        self._sent: queue.Queue[tuple[Message, list[bytes]]] = queue.Queue()
        self._handle: Callable[[Message], None] = lambda _: None
        widget.comm = self

    # --- what the widget calls ---------------------------------------------------------------

    def on_msg(self, handle: Callable[[Message], None]) -> None:
        self._handle = handle

    def send(self, data: Message, buffers: list[bytes] | None = None, **_: object) -> None:
        if data["method"] == "custom":
            self._sent.put((data["content"], buffers or []))
        elif data["method"] == "update":
            self.state |= data["state"]

    def close(self, **_: object) -> None:
        self.is_closed = True

    # --- what the front end does -------------------------------------------------------------

    def give(self, content: object, *buffers: bytes) -> None:
        """Send a message to the widget."""
        data = {"method": "custom", "content": content}
        self._handle({"content": {"data": data}, "buffers": [memoryview(each) for each in buffers]})

    def set(self, **state: Any) -> None:
        """Change traits."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        self._handle({"content": {"data": data}, "buffers": []})

    def take(self) -> tuple[Message, list[bytes]]:
        """Wait for the next message of the widget."""
        return self._sent.get(timeout=60)

    def ask(self, method: str, *path: str, body: bytes = b"", **more: Any) -> None:
        """Send a request; it has the id "r"."""
        content = {"id": "r", "method": method, "path": list(path), **more}
        self.give(content, *([body] if body else []))
