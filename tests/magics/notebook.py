"""A notebook's kernel behind a Jupyter server, driven without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import requests
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_core.paths import jupyter_runtime_dir

from jupyter_mlsvc_server.launch import ServerProcess


class Notebook:
    """A kernel behind the Jupyter server, driven by the messages that a front end uses."""

    def __init__(self, server: ServerProcess, path: str) -> None:
        self._server = server
        # A session of Jupyter's: a notebook with its kernel.
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        self.id: str = self._call("POST", "/api/sessions", body)["kernel"]["id"]
        connection = Path(jupyter_runtime_dir()) / f"kernel-{self.id}.json"
        self.client = BlockingKernelClient(connection_file=str(connection))
        self.client.load_connection_file()
        self.client.start_channels()
        self._wait_until_ready(time.monotonic() + 60)

    def _wait_until_ready(self, deadline: float) -> None:
        # The client's own wait takes a kernel that is busy importing for a dead one.
        while time.monotonic() < deadline:
            self.client.kernel_info()
            with suppress(Empty):
                self.client.get_shell_msg(timeout=1)
                self.client.get_iopub_msg(timeout=1)
                return
        raise TimeoutError("The kernel did not answer.")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = requests.request(
            method,
            self._server.jupyter_url + path,
            headers={"Authorization": f"token {self._server.jupyter_token}"},
            json=body,
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self, code: str) -> str:
        """Run a cell without waiting."""
        message: str = self.client.execute(code)
        return message

    def messages(self, of: str, timeout: float = 60) -> Iterator[tuple[str, dict[str, Any], float]]:
        """What a cell puts out, with the time when it came."""
        while True:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != of:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            if kind not in {"status", "execute_input"}:
                yield kind, content, time.monotonic()

    def reply(self, of: str) -> dict[str, Any]:
        """How a cell ended."""
        while True:
            message = self.client.get_shell_msg(timeout=60)
            if message["parent_header"].get("msg_id") == of:
                content: dict[str, Any] = message["content"]
                return content

    def run(self, code: str) -> list[tuple[str, dict[str, Any], float]]:
        """Run a cell to its end."""
        cell = self.start(code)
        output = list(self.messages(cell))
        self.last_reply = self.reply(cell)
        return output

    def text(self, code: str) -> str:
        """Run a cell and give what it printed."""
        return "".join(content["text"] for kind, content, _ in self.run(code) if kind == "stream")

    def interrupt(self) -> None:
        """Press the button."""
        self._call("POST", f"/api/kernels/{self.id}/interrupt")

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self._call("DELETE", f"/api/kernels/{self.id}")
