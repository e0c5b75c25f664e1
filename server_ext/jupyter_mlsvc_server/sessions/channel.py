"""Messages to and from one kernel: requests, their output, and the helper inside the kernel."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from jupyter_client.asynchronous.client import AsyncKernelClient

from jupyter_mlsvc.wire.json_text import encode_json
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.request_bodies import LARGE_BYTES
from jupyter_mlsvc_server.sessions.errors import AgentRefused
from jupyter_mlsvc_server.sessions.oversize import beginning_of, display_content
from jupyter_mlsvc_server.sessions.widget_text import WidgetText
from jupyter_mlsvc_server.storage.machine_faults import errno_fault

Output = Callable[[str, dict[str, Any]], None]
"""Takes the type and the content of one output message."""

OVERSIZE: Final = "oversize"
"""Type of output that was not read whole because it is too large.

Its content has ``bytes``, the ``limit`` that they are over, and the ``kind`` and ``beginning`` of
what was read: a content of that kind, or None.
"""

AGENT_TARGET: Final = "jupyter_mlsvc.agent"

_OUTPUT_TYPES: Final = frozenset(
    {"stream", "display_data", "execute_result", "update_display_data", "clear_output", "error"}
)
_DISPLAY_TYPES: Final = frozenset({"display_data", "execute_result", "update_display_data"})
_COMM_TYPES: Final = frozenset({"comm_open", "comm_msg", "comm_close"})
# The server's other work goes on after this long, however much the kernel prints.
_SLICE_SECONDS: Final = 0.001
# The reply and the end of the output come on two channels; one is at most this much later.
_IDLE_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.02
"""Seconds that a new kernel has to be heard of on the channel of its output; they double."""
MAX_BEGINNING: Final = 64 * 1024
"""Bytes that are read of an output which is too large."""

_log = logging.getLogger("jupyter_mlsvc_server.sessions")


class _Header(msgspec.Struct):
    """What is read of a message's header, and of its parent's.

    Jupyter's own way reads the dates as well, which takes longer than all else here.
    """

    msg_id: str = ""
    msg_type: str = ""


_decode_header: Final = msgspec.json.Decoder(_Header).decode


@dataclass(frozen=True, slots=True)
class _Message:
    """A message of a kernel, with the id of the one that it belongs to; its content is JSON."""

    kind: str
    parent: str
    content: bytes


@dataclass(slots=True)
class _Request:
    """A request that the kernel works on."""

    reply: asyncio.Future[dict[str, Any]]
    idle: asyncio.Future[None]
    on_output: Output | None = None


@dataclass(slots=True)
class _Question:
    """A question to the helper in the kernel."""

    answer: asyncio.Future[dict[str, Any]]
    message_id: str = field(default="")


class KernelChannel:
    """Sends requests to a kernel and sorts what comes back.

    Parameters
    ----------
    client
        A client of the kernel whose channels are not started yet.
    largest_output
        Bytes above which a message of output is not read.
    on_orphan_output
        Takes output that belongs to no running request, as a thread's print after its cell.
    """

    def __init__(self, client: AsyncKernelClient, *, largest_output: int) -> None:
        self._client = client
        self.largest_output = largest_output
        self.on_orphan_output: Output | None = None
        self._requests: dict[str, _Request] = {}
        self._questions: dict[str, _Question] = {}
        self._numbers = itertools.count()
        self._comm_id = uuid.uuid4().hex
        self._readers: list[asyncio.Task[None]] = []
        self._broken: BaseException | None = None
        self._heard = asyncio.Event()
        self._widgets = WidgetText(time.monotonic)
        self._widgets_timer: asyncio.TimerHandle | None = None

    # --- life --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and wait until the kernel answers on both channels."""
        self._client.start_channels(stdin=False, hb=False, control=False)
        self._readers = [
            asyncio.create_task(self._read(self._client.shell_channel, self._on_shell)),
            asyncio.create_task(self._read(self._client.iopub_channel, self._on_iopub)),
        ]
        # The first answers may be published before our subscription has arrived: ask again.
        pause = _FIRST_PAUSE
        while not self._heard.is_set():
            request = self._send("kernel_info_request", {})
            try:
                await asyncio.wait_for(asyncio.shield(request.reply), timeout=60)
                await asyncio.wait_for(self._heard.wait(), timeout=pause)
            except TimeoutError:
                pause = min(2 * pause, 5)
        self._requests.clear()

    async def open_comm(self) -> None:
        """Open a comm to the helper in the kernel, which has to be loaded there."""
        self._send("comm_open", {"comm_id": self._comm_id, "target_name": AGENT_TARGET, "data": {}})
        await self.ask_comm("list", {})

    def fail(self, error: BaseException) -> None:
        """Fail everything that waits for the kernel, now and later."""
        self._broken = error
        for request in self._requests.values():
            _fail(request.reply, error)
            _fail(request.idle, error)
        for question in self._questions.values():
            _fail(question.answer, error)
        self._requests.clear()
        self._questions.clear()

    def close(self) -> None:
        """Disconnect; may be called twice."""
        for reader in self._readers:
            reader.cancel()
        self._readers = []
        if self._widgets_timer is not None:
            self._widgets_timer.cancel()
        self._client.shell_channel.stop()
        self._client.iopub_channel.stop()

    # --- requests ----------------------------------------------------------------------------

    async def execute(
        self, code: str, on_output: Output | None = None, *, silent: bool = False
    ) -> dict[str, Any]:
        """Run code and wait until it is through and all its output has come.

        Returns
        -------
        dict
            Content of the kernel's ``execute_reply``.
        """
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            # Our own queue decides what happens to those that wait.
            "stop_on_error": False,
        }
        request = self._send("execute_request", content, on_output)
        both = (request.reply, request.idle)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(both, timeout=_IDLE_SECONDS)
        if request.reply.done():
            if not request.idle.done():
                _log.warning("a kernel replied but did not become idle; output may be missing")
            return request.reply.result()
        # An interrupt that hits the kernel between the code's end and its reply loses the reply.
        self._requests = {k: v for k, v in self._requests.items() if v is not request}
        return {"status": "error", "ename": "KeyboardInterrupt", "evalue": ""}

    async def ask_comm(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        """Let the helper at the other end of the comm do something.

        Raises
        ------
        AgentRefused
            It could not; the message says why.
        """
        number = str(next(self._numbers))
        question = _Question(asyncio.get_running_loop().create_future())
        if self._broken is not None:
            raise self._broken
        self._questions[number] = question
        content = {"comm_id": self._comm_id, "data": {"id": number, "op": op, **data}}
        question.message_id = self._post("comm_msg", content)
        try:
            answer = await question.answer
        finally:
            self._questions.pop(number, None)
        if answer.get("ok"):
            return answer
        raise refusal(answer)

    def wake(self) -> None:
        """Wake the event loop of the kernel.

        An interrupt of code that awaits something is only noticed when the loop wakes up.
        """
        if self._broken is None:
            self._send("kernel_info_request", {})

    def _send(
        self, kind: str, content: dict[str, Any], on_output: Output | None = None
    ) -> _Request:
        if self._broken is not None:
            raise self._broken
        loop = asyncio.get_running_loop()
        request = _Request(loop.create_future(), loop.create_future(), on_output)
        self._requests[self._post(kind, content)] = request
        return request

    def _post(self, kind: str, content: dict[str, Any]) -> str:
        session = self._client.session
        message = session.msg(kind, content)
        # Jupyter's own way takes ten times as long, for which nobody else would be answered.
        message["content"] = encode_json(content)
        # Not session.send: it goes around the asynchronous socket, which then misses replies that
        # arrive at the same moment. Nothing is awaited: the socket keeps what it can't send yet.
        self._client.shell_channel.socket.send_multipart(session.serialize(message))
        message_id: str = message["header"]["msg_id"]
        return message_id

    # --- what comes back ---------------------------------------------------------------------

    async def _read(self, channel: Any, handle: Callable[[_Message], None]) -> None:
        slice_start = time.monotonic()
        while True:
            frames = await channel.socket.recv_multipart()
            try:
                is_large = sum(map(len, frames)) > LARGE_BYTES
                # The time it takes to check the signature of a large one belongs to others.
                message = (
                    await asyncio.to_thread(self._message, frames)
                    if is_large
                    else self._message(frames)
                )
                handle(message)
            except Exception:  # noqa: BLE001 - one bad message must not end the reading
                _log.exception("a message of a kernel could not be read")
            # Receiving does not yield while messages are there, so a flood would stop the server.
            if time.monotonic() - slice_start > _SLICE_SECONDS:
                await asyncio.sleep(0)
                slice_start = time.monotonic()

    def _message(self, frames: list[bytes]) -> _Message:
        """Take a message apart that has the kernel's signature; the content is not read yet."""
        session = self._client.session
        _, (signature, *parts) = session.feed_identities(frames)
        header, parent, _, content = signed = parts[:4]
        if not hmac.compare_digest(signature, session.sign(signed)):
            raise ValueError("The signature of a message is wrong.")
        return _Message(_decode_header(header).msg_type, _decode_header(parent).msg_id, content)

    def _on_shell(self, message: _Message) -> None:
        request = self._requests.get(message.parent)
        if request is not None and not request.reply.done():
            request.reply.set_result(self._content(message.content))
            self._settle(message.parent, request)

    def _on_iopub(self, message: _Message) -> None:
        self._heard.set()
        kind, parent = message.kind, message.parent
        if kind == "status":
            if self._content(message.content)["execution_state"] == "idle":
                self._on_idle(parent)
        elif kind in _COMM_TYPES:
            self._on_comm(kind, parent, message)
        elif kind in _OUTPUT_TYPES:
            self._on_output(kind, parent, message)

    def _on_output(self, kind: str, parent: str, message: _Message) -> None:
        take = self._taker(parent)
        if take is None:
            return
        size = len(message.content)
        if size > self.largest_output:
            beginning = beginning_of(kind, message.content[:MAX_BEGINNING])
            oversize = {"bytes": size, "limit": self.largest_output}
            take(OVERSIZE, {**oversize, "kind": kind, "beginning": beginning})
            return
        is_large_display = size > LARGE_BYTES and kind in _DISPLAY_TYPES
        content = self._content(message.content, leave_data=is_large_display)
        if self._widgets.captures(parent, kind, content):
            self._update_displays(take)
        else:
            take(*self._widgets.shown(kind, content))

    def _taker(self, parent: str) -> Output | None:
        request = self._requests.get(parent)
        return self.on_orphan_output if request is None else request.on_output

    def _on_comm(self, kind: str, parent: str, message: _Message) -> None:
        if len(message.content) > self.largest_output and kind != "comm_msg":
            return
        content = self._content(message.content)
        if content.get("comm_id") == self._comm_id:
            self._on_answer(content)
            return
        self._widgets.on_comm(kind, content)
        if (take := self._taker(parent)) is not None:
            self._update_displays(take)

    def _update_displays(self, take: Output, *, all_of_them: bool = False) -> None:
        """Send the text of widgets that is due now; the rest later."""
        for content in self._widgets.updates(all_of_them=all_of_them):
            take("update_display_data", content)
        if self._widgets_timer is not None:
            self._widgets_timer.cancel()
            self._widgets_timer = None
        if (seconds := self._widgets.next_due()) is not None:
            loop = asyncio.get_running_loop()
            self._widgets_timer = loop.call_later(seconds, self._update_displays, take)

    def _on_idle(self, parent: str) -> None:
        request = self._requests.get(parent)
        if request is not None and request.on_output is not None:
            self._update_displays(request.on_output, all_of_them=True)
        if request is not None and not request.idle.done():
            request.idle.set_result(None)
            self._settle(parent, request)
        for question in self._questions.values():
            if question.message_id == parent and not question.answer.done():
                question.answer.set_exception(
                    AgentRefused("Interrupted", "The session was interrupted while it did this.")
                )

    def _settle(self, message_id: str, request: _Request) -> None:
        # The reply and the end of the output come on different channels, in either order.
        if request.reply.done() and request.idle.done():
            self._requests.pop(message_id, None)

    def _on_answer(self, content: dict[str, Any]) -> None:
        data = content.get("data") or {}
        question = self._questions.get(str(data.get("id")))
        if question is not None and not question.answer.done():
            question.answer.set_result(data)

    def _content(self, packed: bytes, *, leave_data: bool = False) -> dict[str, Any]:
        """Read a content; what is large in a display's data may be left as it came."""
        content: dict[str, Any]
        try:
            content = display_content(packed) if leave_data else msgspec.json.decode(packed)
        except msgspec.MsgspecError:
            # Kernels write more than there is in JSON, such as NaN.
            content = self._client.session.unpack(packed)
        return content


def refusal(answer: dict[str, Any]) -> MlsvcServerError:
    """Read a helper's answer that says no; a full disk, say, is no mistake of the caller's."""
    error = answer.get("error") or {}
    return errno_fault(error.get("errno")) or AgentRefused(
        error.get("type", "Error"),
        error.get("message", "The session could not do this."),
        error.get("name"),
    )


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        # Nobody may be waiting; that is no error of its own.
        future.exception()
