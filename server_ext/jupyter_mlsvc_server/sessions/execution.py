"""One execution: what was asked, what came out so far, and how it ended."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.models import (
    ExecuteRequest,
    ExecuteResponse,
    ExecutionState,
    WorkspaceObject,
)
from jupyter_mlsvc.wire.names import InvalidName, parameter_name
from jupyter_mlsvc_server.formats.json_pieces import members
from jupyter_mlsvc_server.formats.shown_paths import without_paths
from jupyter_mlsvc_server.sessions.channel import OVERSIZE
from jupyter_mlsvc_server.sessions.log import ConsoleText, EventLog
from jupyter_mlsvc_server.sessions.runtimes import is_syntax_error
from jupyter_mlsvc_server.storage.clock import now_text

CANCELLED: Final = "KeyboardInterrupt: the execution was cancelled"

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# Frames that the user did not write and cannot change.
_FRAMES_OF_OURS: Final = (
    "jupyter_mlsvc_server/kernel/",
    "jupyter_mlsvc_server/patches/",
    "site-packages/wrapt/",
    "site-packages/ipykernel/",
)


class Execution:
    """An execution in a session, from its queueing to its result.

    Parameters
    ----------
    request
        What to run; names are checked.
    limit
        Bytes of output that are kept.
    runtime_type
        Whose rule the names follow.
    execution_id
        Its id; one is made up by default.
    inputs_file
        What the helper in the kernel is to ``set``, where it is large; the request has no values
        then.
    folder
        The working directory, which messages do not show.

    Raises
    ------
    InvalidName
        An input or output, or the id, is no valid name.
    """

    def __init__(
        self,
        request: ExecuteRequest,
        *,
        limit: int,
        runtime_type: str = "Python",
        execution_id: str | None = None,
        inputs_file: Path | None = None,
        folder: str = "",
    ) -> None:
        self.id = str(uuid.uuid4()) if execution_id is None else _checked_id(execution_id)
        self.code = request.code or ""
        self.inputs_file = inputs_file
        self.inputs: dict[str, Any] = {}
        self.types: dict[str, str] = {}
        for each in request.input_parameters or []:
            name = parameter_name(each.name, runtime_type)
            if name in self.inputs:
                raise InvalidName(f"The input {name!r} is given twice.")
            self.inputs[name] = each.value
            if each.type:
                self.types[name] = each.type
        self.outputs = [
            parameter_name(name, runtime_type) for name in request.output_parameters or []
        ]
        self._folder = folder
        self.log = EventLog(limit)
        self.console = ConsoleText(limit)
        self.is_abandoned = False
        self.is_cancelled = False
        self.started: str | None = None
        self.ended: str | None = None
        self._error: tuple[str, str] | None = None
        self._response: asyncio.Future[ExecuteResponse] = asyncio.get_running_loop().create_future()

    @property
    def is_begun(self) -> bool:
        """Whether its turn has come."""
        return self.started is not None

    def begin(self) -> None:
        """Note that its turn has come."""
        self.started = now_text()

    @property
    def state(self) -> ExecutionState:
        """How far it is."""
        if not self._response.done():
            return "running" if self.is_begun else "queued"
        if self._response.result().success:
            return "succeeded"
        return "cancelled" if self.is_cancelled or not self.is_begun else "failed"

    def describe(self) -> models.Execution:
        """Describe it for a list."""
        return models.Execution(
            execution_id=self.id,
            code=self.code,
            state=self.state,
            start_time=self.started,
            end_time=self.ended,
            error_message=self._response.result().error_message if self._response.done() else "",
        )

    @property
    def is_finished(self) -> bool:
        """Whether the result is there."""
        return self._response.done()

    def abandon(self) -> None:
        """Do not run it if it still waits: who asked for it went away."""
        self.is_abandoned = True

    async def response(self) -> ExecuteResponse:
        """Wait for the result; a waiter that is cancelled does not stop the execution."""
        return await asyncio.shield(self._response)

    async def is_finished_within(self, seconds: float) -> bool:
        """Wait for the result for some time."""
        await asyncio.wait([self._response], timeout=seconds)
        return self._response.done()

    # --- while it runs -----------------------------------------------------------------------

    def on_output(self, kind: str, content: dict[str, Any]) -> None:
        """Record a message of output."""
        self._OUTPUT[kind](self, content)

    def _on_stream(self, content: dict[str, Any]) -> None:
        text, name = content["text"], content["name"]
        if name == "stderr":
            # Warnings, which R writes there as well.
            text = without_paths(text, [self._folder])
        self.console.add(text)
        self.log.add({"type": "stream", "name": name, "text": text})

    def _on_data(self, kind: str, content: dict[str, Any]) -> None:
        text = content["data"].get("text/plain")
        number = (content.get("transient") or {}).get("display_id")
        if isinstance(text, str):
            shown = f"{without_ansi(text)}\n" if text else ""
            if kind == "update_display_data":
                self.console.update(number, shown)
            else:
                self.console.add(shown, display_id=number)
        event = {"type": kind, "data": content["data"], "metadata": content.get("metadata", {})}
        # The id by which a later update finds this display.
        if transient := content.get("transient"):
            event["transient"] = transient
        self.log.add(event)

    def _on_clear(self, content: dict[str, Any]) -> None:
        self.log.add({"type": "clear_output", "wait": content.get("wait", False)})

    def _on_error(self, content: dict[str, Any]) -> None:
        folders = [self._folder]
        frames = frames_of_the_user(content["traceback"])
        traceback = [without_paths(frame, folders) for frame in frames]
        message = without_paths(content["evalue"], folders)
        self._error = (content["ename"], message)
        self.console.add(without_ansi("\n".join(traceback)) + "\n", always=True)
        self.log.add_always(
            {
                "type": "error",
                "ename": content["ename"],
                "evalue": message,
                "traceback": traceback,
                "isSyntaxError": is_syntax_error(content["ename"], message),
            }
        )

    def _on_oversize(self, content: dict[str, Any]) -> None:
        size, limit, shown = content["bytes"], content["limit"], 0
        if content["beginning"] is not None:
            self.on_output(content["kind"], content["beginning"])
            shown = len(msgspec.json.encode(content["beginning"]))
        message = (
            f"The rest of this output is left out, {size - shown:,} of its {size:,} bytes: "
            f"the largest one that is read has {limit:,}."
        )
        self.console.add(f"\n[{message}]\n")
        self.log.add({"type": "truncated", "message": message})

    _OUTPUT: ClassVar[dict[str, Callable[[Execution, dict[str, Any]], None]]] = {
        "stream": _on_stream,
        "display_data": lambda self, content: self._on_data("display_data", content),
        "execute_result": lambda self, content: self._on_data("execute_result", content),
        "update_display_data": lambda self, content: self._on_data("update_display_data", content),
        "clear_output": _on_clear,
        "error": _on_error,
        OVERSIZE: _on_oversize,
    }

    def on_payload(self, payload: Iterable[dict[str, Any]]) -> None:
        """Show what a front end would open a pager or another cell for: ``name?``, ``%load``."""
        for item in payload:
            data = item.get("data")
            if item.get("source") == "page" and isinstance(data, dict) and data:
                self._on_data("display_data", {"data": data})
            elif item.get("source") == "set_next_input" and isinstance(item.get("text"), str):
                self._on_data("display_data", {"data": {"text/plain": item["text"]}})

    # --- its end -----------------------------------------------------------------------------

    def error(self, reply: dict[str, Any]) -> tuple[str, str]:
        """Give the kind and the text of what the user's code raised, or of what stopped it."""
        if reply["status"] in {"abort", "aborted"}:  # how IRkernel says that it was interrupted
            return "KeyboardInterrupt", "the execution was cancelled"
        kind, text = self._error or (reply.get("ename", "Error"), reply.get("evalue", ""))
        if kind in {"KeyboardInterrupt", "CancelledError"} and self.is_cancelled:
            text = text or "the execution was cancelled"
        return kind, without_ansi(text)

    def finish(
        self,
        *,
        error: str | None = None,
        outputs: list[WorkspaceObject] | None = None,
        changed_files: list[str],
    ) -> None:
        """Give it its result, and the log its last event."""
        if self._response.done():
            return
        response = ExecuteResponse(
            success=error is None,
            error_message=error or "",
            output_parameters=outputs or [],
            console_output=str(self.console),
            changed_files=changed_files,
        )
        self.ended = now_text()
        size = len(response.console_output) + sum(
            len(memoryview(each.value))
            for each in response.output_parameters
            if isinstance(each.value, msgspec.Raw)
        )
        self.log.finish({"type": "result", **members(response)}, size=size)
        self._response.set_result(response)


def _checked_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise InvalidName(f"{text!r} is no valid id: use 1 to 64 letters, digits and '-'.")
    return text


def without_ansi(text: str) -> str:
    """Remove colours and cursor movements."""
    return _ANSI.sub("", text)


def frames_of_the_user(traceback: list[str]) -> list[str]:
    """Leave out the frames that are ours; each entry of a kernel's traceback is a frame."""

    def is_ours(entry: str) -> bool:
        first = without_ansi(entry).lstrip().partition("\n")[0].replace("\\", "/")
        return first.startswith("File ") and any(part in first for part in _FRAMES_OF_OURS)

    return [entry for entry in traceback if not is_ours(entry)]
