"""Routes of sessions: life, executions, files and workspace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from starlette.responses import Response

from jupyter_mlsvc.wire.models import (
    ConsoleOutputResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    ExecuteRequest,
    StartExecutionRequest,
    StartExecutionResponse,
)
from jupyter_mlsvc_server.api.forms import FormUploads
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import (
    StreamedResponse,
    bytes_response,
    json_response,
    large_response,
    named,
)
from jupyter_mlsvc_server.api.routing import Routes, counted, large, route, upload
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.request_bodies import (
    LARGE_BYTES,
    UnfitBody,
    decode_body,
    read_apart,
)
from jupyter_mlsvc_server.sessions.files import OpenFile
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session

Order = TypeVar("Order", bound=ExecuteRequest)

_CHUNK_BYTES: Final = 2**18
_SESSION: Final = "/sessions/{session_id}"


_QUEUE: Final = "MlsvcSessionManager.max_queue"


class SessionRoutes:
    """Opens and closes sessions, and runs code in them."""

    def __init__(self, *, sessions: MlsvcSessionManager, forms: FormUploads) -> None:
        self._sessions = sessions
        self._forms = forms
        # Each takes a core, and ten times the memory of the body.
        self._reading = asyncio.Semaphore()

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route(
                "/sessions",
                get=self.list,
                post=counted("MlsvcSessionManager.max_sessions_per_user", self.create),
            ),
            route(_SESSION, delete=self.close),
            route(_SESSION + "/force", delete=self.close_by_force),
            route(_SESSION + "/renew", post=self.renew),
            route(_SESSION + "/execute", post=counted(_QUEUE, large(self.execute))),
            route(
                _SESSION + "/executions",
                get=self.executions,
                post=counted(_QUEUE, large(self.start_execution)),
            ),
            route(_SESSION + "/executions/{execution_id}/events", get=self.events),
            route(_SESSION + "/cancel", post=self.cancel),
            route(_SESSION + "/console-output", get=self.console_output),
            route(_SESSION + "/history", get=self.history),
        ]

    async def list(self, request: ApiRequest) -> Response:
        """List the caller's (contract: ``listSessions``)."""
        return json_response(await self._sessions.describe(request.principal))

    async def create(self, request: ApiRequest) -> Response:
        """Create one (contract: ``createSession``)."""
        order = await request.parse(CreateSessionRequest)
        session = await self._sessions.create(request.principal, order)
        request.subject = session.id
        return json_response(CreateSessionResponse(session_id=session.id), status=201)

    async def close(self, request: ApiRequest, session_id: str) -> Response:
        """Close it (contract: ``closeSession``)."""
        await self._sessions.close(request.principal, session_id)
        return json_response(f"Closed session {session_id}.")

    async def close_by_force(self, request: ApiRequest, session_id: str) -> Response:
        """Kill it (contract: ``closeSessionByForce``)."""
        await self._sessions.close_by_force(request.principal, session_id)
        return json_response(f"Closed session {session_id} by force.")

    async def renew(self, request: ApiRequest, session_id: str) -> Response:
        """Renew its lease (our addition)."""
        await self._sessions.renew(request.principal, session_id)
        return json_response(f"Renewed the lease of session {session_id}.")

    async def execute(self, request: ApiRequest, session_id: str) -> Response:
        """Run code and wait for it (contract: ``executeCode``).

        What nobody waits for any more is not begun; what runs goes on and can be cancelled.
        """
        session = await self._sessions.get(request.principal, session_id)
        order, inputs_file = await self._order(request, session, ExecuteRequest)
        execution = session.begin(order, inputs_file=inputs_file)
        result = await request.answer_or_gone(execution.response(), execution.abandon)
        return large_response(result)

    async def _order(
        self, request: ApiRequest, session: Session, kind: type[Order]
    ) -> tuple[Order, Path | None]:
        """Read what to run; large inputs go to a file that the kernel reads."""
        if not request.may_be_large:
            return await request.parse(kind), None
        body = await self._forms.read_file(request)
        is_lenient, inputs_file = request.settings.lenient_json, session.new_file()
        request.ended.push_async_callback(session.remove_unused, inputs_file)
        try:
            if (small := await asyncio.to_thread(_read_small, body)) is not None:
                return decode_body(kind, small, is_lenient=is_lenient), None
            async with self._reading:
                order = await asyncio.to_thread(
                    read_apart, kind, body, inputs_file, is_lenient=is_lenient
                )
        except UnfitBody as problem:
            raise BadRequest(str(problem)) from None
        return order, inputs_file

    async def executions(self, request: ApiRequest, session_id: str) -> Response:
        """List the executions that are still kept, oldest first; it renews no lease."""
        session = await self._sessions.look_at(request.principal, session_id)
        return json_response(session.executions())

    async def start_execution(self, request: ApiRequest, session_id: str) -> Response:
        """Queue code and answer the execution's id at once (202, our addition)."""
        session = await self._sessions.get(request.principal, session_id)
        order, inputs_file = await self._order(request, session, StartExecutionRequest)
        execution_id = await session.start_execution(order, order.execution_id, inputs_file)
        return json_response(StartExecutionResponse(execution_id=execution_id), status=202)

    async def events(self, request: ApiRequest, session_id: str, execution_id: str) -> Response:
        """Stream its events as lines of JSON, from number ``since`` on, until the result."""
        session = await self._sessions.get(request.principal, session_id)
        events = session.events(execution_id, _since(request))
        return StreamedResponse(
            _with_heartbeat(events, session, self._sessions.heartbeat_interval),
            headers={
                "Content-Type": "application/x-ndjson",
                # A proxy that collects the answer would keep the output back.
                "X-Accel-Buffering": "no",
            },
        )

    async def cancel(self, request: ApiRequest, session_id: str) -> Response:
        """Interrupt what runs; what waits goes on (contract: ``cancelSession``).

        The query argument ``executionId`` (our addition) names the one execution that is meant.
        """
        session = await self._sessions.get(request.principal, session_id)
        stopped = await session.cancel(request.query("executionId") or None)
        return json_response(
            "Cancelled what was running."
            if stopped
            else "The code was interrupted several times but goes on; close the session to end it."
        )

    async def console_output(self, request: ApiRequest, session_id: str) -> Response:
        """Text of the running or last execution (contract: ``getSessionConsoleOutput``)."""
        session = await self._sessions.get(request.principal, session_id)
        return large_response(ConsoleOutputResponse(console_output=session.console_output()))

    async def history(self, request: ApiRequest, session_id: str) -> Response:
        """List the code that was run, oldest first (contract: ``listSessionHistory``)."""
        session = await self._sessions.get(request.principal, session_id)
        return json_response(session.history())


class WorkspaceRoutes:
    """Moves files and objects of sessions."""

    def __init__(self, *, sessions: MlsvcSessionManager, forms: FormUploads) -> None:
        self._sessions = sessions
        self._forms = forms

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route(_SESSION + "/files", get=self.list_files, post=upload(self.put_file)),
            route(_SESSION + "/files/{file_name}", get=self.get_file, delete=self.delete_file),
            route(_SESSION + "/workspace", get=self.list_objects),
            route(_SESSION + "/inventory", get=self.inventory),
            route(
                _SESSION + "/workspace/{object_name}",
                get=self.get_object,
                post=upload(self.set_object),
                delete=self.delete_object,
            ),
        ]

    async def list_files(self, request: ApiRequest, session_id: str) -> Response:
        """List names of files in the working directory (contract: ``listSessionFiles``)."""
        session = await self._sessions.get(request.principal, session_id)
        return json_response(await session.list_files())

    async def put_file(self, request: ApiRequest, session_id: str) -> Response:
        """Take the part ``file`` of a multipart body (contract: ``uploadSessionFile``)."""
        session = await self._sessions.get(request.principal, session_id)
        form = await self._forms.read(request, "file")
        if "file" not in form.files:
            raise BadRequest("The multipart body has no part 'file' with a file name.")
        file = form.files["file"]
        await session.put_file(file.name, file.path)
        # The contract says text here, and clients read all sentences as JSON.
        sentence = msgspec.json.encode(f"Wrote {file.name}.")
        return bytes_response(sentence, "text/plain; charset=utf-8", status=201)

    async def get_file(self, request: ApiRequest, session_id: str, file_name: str) -> Response:
        """Send a file in pieces (contract: ``getSessionFile``)."""
        session = await self._sessions.get(request.principal, session_id)
        file = await session.open_file(file_name)
        return _file_response(file, file_name)

    async def delete_file(self, request: ApiRequest, session_id: str, file_name: str) -> Response:
        """Delete a file (contract: ``deleteSessionFile``)."""
        session = await self._sessions.get(request.principal, session_id)
        await session.delete_file(file_name)
        return json_response(f"Deleted {file_name}.")

    async def list_objects(self, request: ApiRequest, session_id: str) -> Response:
        """List names of the workspace's objects (contract: ``listWorkspaceObjects``)."""
        session = await self._sessions.get_for_workspace(request.principal, session_id)
        return json_response(await session.objects())

    async def inventory(self, request: ApiRequest, session_id: str) -> Response:
        """Describe the objects, to compare them or to choose from (our addition)."""
        session = await self._sessions.get(request.principal, session_id)
        view = request.query("view")
        if view not in {"", "summary", "comparison"}:
            raise BadRequest(
                f"view is {view!r}; it has to be 'summary' or 'comparison', or left out."
            )
        names = request.query("names")
        return json_response(await session.inventory(view, names.split(",") if names else None))

    async def get_object(self, request: ApiRequest, session_id: str, object_name: str) -> Response:
        """Send an object as a pickle, in R as RData (contract: ``getWorkspaceObject``)."""
        session = await self._sessions.get(request.principal, session_id)
        file = await session.get_object(object_name)
        return _file_response(file, object_name + session.object_suffix)

    async def set_object(self, request: ApiRequest, session_id: str, object_name: str) -> Response:
        """Set an object from its bytes (contract: ``setWorkspaceObject``)."""
        session = await self._sessions.get(request.principal, session_id)
        await session.set_object(object_name, await self._forms.read_file(request))
        return json_response(f"Set {object_name}.")

    async def delete_object(
        self, request: ApiRequest, session_id: str, object_name: str
    ) -> Response:
        """Delete an object (contract: ``deleteWorkspaceObject``)."""
        session = await self._sessions.get(request.principal, session_id)
        await session.delete_object(object_name)
        return json_response(f"Deleted {object_name}.")


async def _with_heartbeat(
    events: AsyncIterator[bytes], session: Session, silence: float
) -> AsyncGenerator[bytes]:
    """Put a sign of life between events that are long in coming; all renews the lease."""
    pending = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait([pending], timeout=silence)
            if not pending.done():
                yield b'{"type":"heartbeat"}\n'
            elif (lines := pending.result()) is None:
                break
            else:
                yield lines
                pending = asyncio.ensure_future(anext(events, None))
            session.touch()
    finally:
        pending.cancel()


def _read_small(path: Path) -> bytes | None:
    """Read a body; None where it is large."""
    return path.read_bytes() if path.stat().st_size <= LARGE_BYTES else None


def _file_response(file: OpenFile, name: str) -> StreamedResponse:
    """Send a file in pieces, to be kept under a name."""
    return StreamedResponse(
        _pieces_of(file),
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Length": str(file.size),
            **named(name),
        },
        closing=file.stream,
    )


async def _pieces_of(file: OpenFile) -> AsyncGenerator[bytes]:
    left = file.size
    # A file that grows meanwhile is sent as long as it was announced.
    while left and (chunk := await asyncio.to_thread(file.stream.read, min(left, _CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _since(request: ApiRequest) -> int:
    text = request.query("since", "0")
    if not text.isdecimal():
        raise BadRequest(f"since is {text!r}; it has to be the number of an event.")
    return int(text)
