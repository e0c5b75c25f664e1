"""The front end's side of widgets: keeps their models and speaks to them, without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty
from typing import Any

from tests.magics.notebook import Notebook

Model = dict[str, Any]


class FrontEnd:
    """A page that has a notebook open.

    Parameters
    ----------
    notebook
        Its kernel.

    Attributes
    ----------
    models
        States of the widgets that are there, by id.
    errors
        First lines of errors that cells or threads showed.
    """

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.models: dict[str, Model] = {}
        self.errors: list[str] = []
        self.printed = ""
        self.last_display: dict[str, Any] = {}

    # --- messages ----------------------------------------------------------------------------

    def run(self, code: str) -> str:
        """Run a cell to its end; give what it printed."""
        self.printed = ""
        cell = self.notebook.start(code)
        while True:
            message = self.notebook.client.get_iopub_msg(timeout=60)
            self._take(message)
            content = message["content"]
            is_status = message["msg_type"] == "status" and content["execution_state"] == "idle"
            if is_status and message["parent_header"].get("msg_id") == cell:
                self.notebook.reply(cell)
                return self.printed

    def wait_until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        """Take messages until something holds.

        Raises
        ------
        AssertionError
            It does not in that time.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.texts()
            try:
                self._take(self.notebook.client.get_iopub_msg(timeout=0.5))
            except Empty:
                continue

    def _take(self, message: dict[str, Any]) -> None:
        content = message["content"]
        match message["msg_type"]:
            case "comm_open":
                self.models[content["comm_id"]] = content["data"]["state"]
            case "comm_msg" if content["data"].get("method") in {"update", "echo_update"}:
                self.models[content["comm_id"]].update(content["data"]["state"])
            case "comm_close":
                self.models.pop(content["comm_id"], None)
            case "error":
                self.errors.append(content["traceback"][0])
            case "stream":
                self.printed += content["text"]
            case "execute_result" | "display_data":
                self.last_display = content["data"]

    def _send(self, model_id: str, data: dict[str, Any]) -> None:
        client = self.notebook.client
        message = client.session.msg("comm_msg", {"comm_id": model_id, "data": data})
        client.shell_channel.send(message)

    # --- what a person sees and does ---------------------------------------------------------

    def find(self, kind: str, **state: Any) -> str:
        """Id of the widget of a kind that has these members; waits until it is there."""
        self.wait_until(lambda: self._found(kind, state))
        (found,) = self._found(kind, state)
        return found

    def _found(self, kind: str, state: dict[str, Any]) -> list[str]:
        return [
            model_id
            for model_id, model in self.models.items()
            if model["_model_name"] == f"{kind}Model"
            and all(model.get(name) == value for name, value in state.items())
        ]

    def texts(self) -> str:
        """All HTML on the page."""
        return "\n".join(
            model["value"] for model in self.models.values() if model["_model_name"] == "HTMLModel"
        )

    def options(self, number: int) -> list[str]:
        """What a list box offers: the services are 0, the sessions 1."""
        return list(self.models[self.select(number)]["_options_labels"])

    def select(self, number: int) -> str:
        """Id of a list box."""
        boxes = [key for key, model in self.models.items() if model["_model_name"] == "SelectModel"]
        return boxes[number]

    def set(self, model_id: str, **state: Any) -> None:
        """Change a widget as a person would."""
        self.models[model_id].update(state)
        self._send(model_id, {"method": "update", "state": state, "buffer_paths": []})

    def is_shown(self, model_id: str) -> bool:
        """Whether a widget's box is there to be seen."""
        layouts = [
            self.models[model["layout"].removeprefix("IPY_MODEL_")]
            for model in self.models.values()
            if f"IPY_MODEL_{model_id}" in model.get("children", ())
        ]
        return bool(layouts) and all(layout["display"] != "none" for layout in layouts)

    def click(self, description: str) -> None:
        """Press a button."""
        button = self.find("Button", description=description)
        self.wait_until(lambda: self.is_shown(button) and not self.models[button]["disabled"])
        self._send(button, {"method": "custom", "content": {"event": "click"}})

    def show(self) -> str:
        """Open a view of the widget that was displayed last, as a page does; give its id."""
        view = self.last_display["application/vnd.jupyter.widget-view+json"]
        model_id: str = view["model_id"]
        self.set(model_id, _view_count=1)
        return model_id
