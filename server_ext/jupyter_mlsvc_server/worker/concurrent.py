"""Services that run many calls at a time in one worker: code that awaits, and threads.

A worker has one event loop. Code that awaits runs in it, a task a call; code that does not runs in
as many threads as the version asks for. What a plain service does to tell calls apart needs them
to run one after the other. Here each call has a copy of the names and a console by its context,
and nothing else of its own: objects, files and settings are shared, and nothing is put back.

A call is cancelled when the server says so. Its task gets a ``CancelledError`` where it waits, and
answers as a call does whose code has raised. A thread can't be cancelled and goes on.

Items of a stream are sent as they come. Where their caller reads slowly the server says so, and the
task waits before its next item, while others go on. Threads answer a stream all at once.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import types
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, Final, cast

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc_server.formats.concurrency import is_awaiting
from jupyter_mlsvc_server.formats.protocol import ANSWER, REQUEST, Flush, Kind, Service
from jupyter_mlsvc_server.worker.arrow_bodies import Encode, encoder_for
from jupyter_mlsvc_server.worker.code_facts import CodeFacts
from jupyter_mlsvc_server.worker.codec import UnserializableOutput
from jupyter_mlsvc_server.worker.console import Console, SharedConsole
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.program import Compiled, Program, SnapshotCode
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.shared_names import refuse_shared_names
from jupyter_mlsvc_server.worker.streaming import Stream, is_stream
from jupyter_mlsvc_server.worker.yielding import stream_of, yields

Send = Callable[[bytes], Awaitable[None]]
"""Sends an item of a stream once there is room for it."""

WithTimes = Callable[[Kind, bytes, float, float], tuple[Kind, bytes]]
"""Notes in an answer when its code ran."""

_STREAM: Final = int(Flush.STREAM)
_CANCEL: Final = int(Flush.CANCEL)
_PAUSE: Final = int(Flush.PAUSE)
_CANCELLED: Final = "The call was cancelled: it took too long, or its caller has left."


class ConcurrentProgram(Program):
    """Runs the code of a service for many requests at a time.

    Parameters
    ----------
    service, compiled, namespace, snapshot
        As of :class:`Program`.

    Raises
    ------
    CodeProblem
        A function would take the names of one call for those of another.
    """

    def __init__(
        self,
        service: Service,
        compiled: Compiled,
        namespace: dict[str, Any],
        snapshot: SnapshotCode | None = None,
    ) -> None:
        snapshot = snapshot or SnapshotCode.of(namespace)
        super().__init__(service, compiled, namespace, snapshot)
        refuse_shared_names(
            [parameter.name for parameter in service.spec.inputs],
            compiled.codes,
            compiled.setup,
            namespace,
            snapshot.functions,
            snapshot.of_modules,
        )
        self.most = service.spec.concurrency
        self._threads: ThreadPoolExecutor | None = None

    @property
    def _is_threaded(self) -> bool:
        """Whether calls run in threads, as no code of theirs awaits."""
        return not any(map(is_awaiting, self.compiled.codes))

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker."""
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._consoles = SharedConsole(console)
        super().enter(self._consoles, scratch)
        if self._is_threaded:
            self._threads = ThreadPoolExecutor(self.most, "call")
        self._consoles.begin()
        self._consoles.open()

    def _guard(self, facts: CodeFacts, made: AbstractSet[str]) -> None:
        """Look after nothing: other calls may be at it."""

    def _run_setup(self) -> None:
        if is_awaiting(self.compiled.setup):
            coroutine = eval(self.compiled.setup, self._namespace)  # noqa: S307  # what we are for
            self._loop.run_until_complete(coroutine)
        else:
            super()._run_setup()

    def answer(self, given: dict[str, Any] | Exception) -> tuple[Kind, bytes]:
        """Answer a request on its own, as in a trial."""
        return self._loop.run_until_complete(self.answer_soon(given))

    def reset(self) -> bool:
        """Leave all as it is."""
        return not self._has_failed

    async def answer_soon(
        self, given: dict[str, Any] | Exception, send: Send | None = None
    ) -> tuple[Kind, bytes]:
        """Answer a request while others run: what the answer is, and its body.

        Parameters
        ----------
        given
            What :meth:`read` has given.
        send
            Sends the items of streams, where the caller wants them.
        """
        if isinstance(given, InvalidInput):
            return self._codec.reject(given)
        if isinstance(given, Exception):
            return self._fault(given)
        try:
            return await self._run_among_others(given, send)
        except Exception as error:  # noqa: BLE001  # a fault of ours
            return self._fault(error)

    def serve(self, link: socket.socket, with_times: WithTimes | None) -> None:
        """Answer requests until the link ends."""
        self._loop.run_until_complete(self._serve(link, with_times))

    async def _serve(self, link: socket.socket, with_times: WithTimes | None) -> None:
        ended = self._loop.create_future()
        link.setblocking(False)
        await self._loop.create_unix_connection(
            lambda: _RequestLink(self, self._loop, ended, with_times, cancels=not self._threads),
            sock=link,
        )
        await ended

    # --- the run -----------------------------------------------------------------------------

    async def _run_among_others(
        self, values: dict[str, Any], send: Send | None
    ) -> tuple[Kind, bytes]:
        console = self._consoles.begin_call()
        _take_own_decimal_context()
        namespace = dict(self.base)
        namespace.update(values)
        message, trace, shown, outputs = "", "", "", {}
        encode = encoder_for(values)
        try:
            if self._threads is None:
                for code in self._codes:
                    waits = self._begin(code, namespace)
                    if waits is not None:
                        await waits
                outputs = await self._outputs_soon(namespace, encode, send)
            else:
                run = partial(copy_context().run, self._run_in_thread, namespace, encode)
                outputs, raised = await self._loop.run_in_executor(self._threads, run)
                if raised is not None:
                    raise raised  # noqa: TRY301  # here, where the code's own is caught
        except InvalidInput as problem:
            return self._codec.reject(InvalidInput(*problem.args))
        except BaseException as error:  # noqa: BLE001  # whatever the user's code raises
            if not (isinstance(error, asyncio.CancelledError) and _is_cancelled()):
                message, trace, shown = self._describe(error)
                console.write(shown or f"{message}\n")
            elif send is None:
                message = _CANCELLED
                console.write(f"{message}\n")
            # A stream whose caller has left has come to its end.
        return self._codec.result(message, outputs, console, self._scratch, [], trace, shown)

    def _begin(self, code: types.CodeType, namespace: dict[str, Any]) -> Any:
        """Run code; return what to wait for, where it awaits."""
        if yields(code):
            namespace[self.compiled.stream] = stream_of(code, namespace)
            return None
        return eval(code, namespace)  # noqa: S307  # what we are for

    async def _outputs_soon(
        self, namespace: dict[str, Any], encode: Encode, send: Send | None
    ) -> dict[str, Any]:
        """Read outputs, streams first, as their code may set the others."""
        streams = {}
        for parameter in self._declared:
            value = namespace.get(parameter.name)
            if is_stream(value):
                streams[parameter.name] = await self._whole_soon(Stream(parameter, value), send)
        if not streams:
            return self._outputs(namespace, encode)
        return self._outputs_beside(streams, namespace, are_sent=send is not None)

    async def _whole_soon(self, stream: Stream, send: Send | None) -> Any:
        """Read a stream to its end: its items go to the caller, or into the value of the output."""
        whole, size = [], 0
        try:
            async with aclosing(stream.items()) as items:
                async for plain in items:
                    if send is not None:
                        await send(self._codec.item(stream.name, plain))
                    else:
                        whole.append(plain)
                        size = self._codec.require_size_of(plain, size)
                        await asyncio.sleep(0)  # others come in between
        except ValueProblem as problem:
            raise UnserializableOutput(f"Output {problem}") from problem
        if self.observer is not None:
            self.observer.streamed(stream.name, stream.kind)
        return stream.whole(whole)

    def _run_in_thread(
        self, namespace: dict[str, Any], encode: Encode
    ) -> tuple[dict[str, Any], BaseException | None]:
        """Run the code; return its outputs, or what it has raised."""
        try:
            for code in self._codes:
                self._begin(code, namespace)
            return self._outputs(namespace, encode), None
        except BaseException as error:  # noqa: BLE001  # a future takes not all of them
            return {}, error


def _is_cancelled() -> bool:
    """Whether the call was cancelled, and not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


def _take_own_decimal_context() -> None:
    """Give this call a decimal context, which is changed in place."""
    if (decimal := sys.modules.get("decimal")) is not None:
        decimal.setcontext(decimal.getcontext().copy())


class _RequestLink(asyncio.Protocol):
    """The worker's end of a request link, whose answers come in any order.

    Parameters
    ----------
    program
        What answers.
    loop
        The worker's loop.
    ended
        Done when the link has ended.
    with_times
        What notes in an answer when its code ran, if anybody wants to know.
    cancels
        Whether calls can be cancelled.
    """

    def __init__(
        self,
        program: ConcurrentProgram,
        loop: asyncio.AbstractEventLoop,
        ended: asyncio.Future[None],
        with_times: WithTimes | None,
        *,
        cancels: bool,
    ) -> None:
        self._program = program
        self._loop = loop
        self._ended = ended
        self._with_times = with_times
        self._cancels = cancels
        self._pid = os.getpid()
        self._received = bytearray()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._cancelled: set[int] = set()
        """Calls that were cancelled: another time would hit what their code does about it."""
        self._rooms: dict[int, asyncio.Event] = {}
        """Set where the caller of a stream takes items."""
        self._room = asyncio.Event()
        """Set while the server reads."""
        self._room.set()
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at, head = 0, REQUEST.size
        while len(received) - at >= head:
            length, number, flush = REQUEST.unpack_from(received, at)
            end = at + head + length
            if len(received) < end:
                break
            if flush > _STREAM:
                self._control(number, flush)
            else:
                body = bytes(received[at + head : end])
                send = self._sender(number) if flush == _STREAM else None
                self._tasks[number] = self._loop.create_task(self._answer(number, body, send))
            at = end
        del received[:at]

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _control(self, number: int, what: int) -> None:
        if what == _CANCEL:
            # A task that has not begun would not answer.
            self._loop.call_soon(self._cancel, number)
        elif (room := self._rooms.get(number)) is not None:
            (room.clear if what == _PAUSE else room.set)()

    def _sender(self, number: int) -> Send:
        room = self._rooms[number] = asyncio.Event()
        room.set()

        async def send(item: bytes) -> None:
            await asyncio.sleep(0)  # others come in between, and word that there is no room
            await room.wait()
            await self._room.wait()
            self._put(number, Kind.ITEM, item)

        return send

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None and self._cancels and number not in self._cancelled:
            self._cancelled.add(number)
            task.cancel()

    async def _answer(self, number: int, body: bytes, send: Send | None) -> None:
        program, began = self._program, monotonic()
        kind, answer = await program.answer_soon(program.read(body), send)
        if os.getpid() != self._pid:
            os._exit(0)  # a child that the user's code has forked
        if self._with_times is not None:
            kind, answer = self._with_times(kind, answer, began, monotonic())
        del self._tasks[number]
        self._cancelled.discard(number)
        self._rooms.pop(number, None)
        self._put(number, kind, answer)

    def _put(self, number: int, kind: Kind, body: bytes) -> None:
        # What comes at the same time goes with one write.
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += ANSWER.pack(len(body), number, kind), body

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self._transport.write(b"".join(unsent))
