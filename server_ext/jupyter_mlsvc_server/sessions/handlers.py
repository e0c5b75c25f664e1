"""REST endpoints of sessions: life, executions, files and workspace."""

from __future__ import annotations

import asyncio

import msgspec

from jupyter_mlsvc.wire.models import (
    ConsoleOutputResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    ExecuteRequest,
    StartExecutionRequest,
    StartExecutionResponse,
)
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.forms import FormEndpoint
from jupyter_mlsvc_server.sessions.execution import Execution
from jupyter_mlsvc_server.sessions.files import OpenFile
from jupyter_mlsvc_server.sessions.log import to_json
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.web import Endpoint, Routes

_CHUNK_BYTES = 1024 * 1024


class SessionEndpoint(Endpoint):
    """Base of what concerns sessions."""

    resource = "sessions"

    async def find(self, session_id: str) -> Session:
        """Find the caller's session of that id."""
        return await self.parts.sessions.get(self.principal, session_id)

    def answer_octets(self, data: bytes, name: str) -> None:
        """Finish with bytes to be saved under a name."""
        self.name_file(name)
        self.answer_bytes(data, "application/octet-stream")


class AllSessions(SessionEndpoint):
    """The caller's sessions."""

    async def get(self) -> None:
        """List them (contract: ``listSessions``)."""
        self.answer(await self.parts.sessions.describe(self.principal))

    async def post(self) -> None:
        """Create one (contract: ``createSession``)."""
        request = self.parse(CreateSessionRequest)
        session = await self.parts.sessions.create(self.principal, request)
        self.answer(CreateSessionResponse(session_id=session.id), status=201)


class OneSession(SessionEndpoint):
    """One session."""

    async def delete(self, session_id: str) -> None:
        """Close it (contract: ``closeSession``)."""
        await self.parts.sessions.close(self.principal, session_id)
        self.answer_text(f"Closed session {session_id}.")


class ForceClose(SessionEndpoint):
    """The hard way to close a session."""

    async def delete(self, session_id: str) -> None:
        """Kill it (contract: ``closeSessionByForce``)."""
        await self.parts.sessions.close_by_force(self.principal, session_id)
        self.answer_text(f"Closed session {session_id} by force.")


class Renew(SessionEndpoint):
    """The lease of a session (our addition)."""

    async def post(self, session_id: str) -> None:
        """Renew it."""
        await self.parts.sessions.renew(self.principal, session_id)
        self.answer_text(f"Renewed the lease of session {session_id}.")


class Execute(SessionEndpoint):
    """Running code and waiting for it."""

    _execution: Execution | None = None

    async def post(self, session_id: str) -> None:
        """Run it (contract: ``executeCode``)."""
        session = await self.find(session_id)
        self._execution = session.begin(self.parse(ExecuteRequest))
        response = await self._execution.response()
        self.answer_bytes(to_json(response), "application/json")

    def on_connection_close(self) -> None:
        """Do not run what nobody waits for; what runs already goes on and can be cancelled."""
        super().on_connection_close()
        if self._execution is not None:
            self._execution.abandon()


class Executions(SessionEndpoint):
    """Running code without waiting for it (our addition)."""

    async def get(self, session_id: str) -> None:
        """List the executions that are still kept, oldest first; it renews no lease."""
        session = await self.parts.sessions.look_at(self.principal, session_id)
        self.answer(session.executions())

    async def post(self, session_id: str) -> None:
        """Queue it and answer its id at once (202)."""
        session = await self.find(session_id)
        request = self.parse(StartExecutionRequest)
        execution_id = await session.start_execution(request, request.execution_id)
        self.answer(StartExecutionResponse(execution_id=execution_id), status=202)


class Events(SessionEndpoint):
    """What an execution puts out (our addition)."""

    async def get(self, session_id: str, execution_id: str) -> None:
        """Stream its events as lines of JSON, from number ``since`` on, until the result."""
        session = await self.find(session_id)
        events = session.events(execution_id, self._since())
        self.set_header("Content-Type", "application/x-ndjson")
        # A proxy that collects the answer would keep the output back.
        self.set_header("X-Accel-Buffering", "no")
        silence = self.parts.sessions.heartbeat_interval
        await self.flush()
        pending = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait([pending], timeout=silence)
                if not pending.done():
                    self.write(b'{"type":"heartbeat"}\n')
                elif (lines := pending.result()) is None:
                    break
                else:
                    self.write(lines)
                    pending = asyncio.ensure_future(anext(events, None))
                await self.flush()
                session.touch()
        finally:
            pending.cancel()
        self.finish()

    def _since(self) -> int:
        text = self.query("since", "0")
        if not text.isdecimal():
            raise BadRequest(f"since is {text!r}; it has to be the number of an event.")
        return int(text)


class Cancel(SessionEndpoint):
    """Interrupting what runs."""

    async def post(self, session_id: str) -> None:
        """Interrupt it; what waits goes on (contract: ``cancelSession``).

        The query argument ``executionId`` (our addition) names the one execution that is meant.
        """
        session = await self.find(session_id)
        stopped = await session.cancel(self.query("executionId") or None)
        self.answer_text(
            "Cancelled what was running."
            if stopped
            else "The code was interrupted several times but goes on; close the session to end it."
        )


class ConsoleOutput(SessionEndpoint):
    """The text on the console."""

    async def get(self, session_id: str) -> None:
        """Text of the running or last execution (contract: ``getSessionConsoleOutput``)."""
        self.answer(
            ConsoleOutputResponse(console_output=(await self.find(session_id)).console_output())
        )


class History(SessionEndpoint):
    """The code that was run."""

    async def get(self, session_id: str) -> None:
        """List it, oldest first (contract: ``listSessionHistory``)."""
        self.answer((await self.find(session_id)).history())


class Files(FormEndpoint, SessionEndpoint):
    """Files of the working directory."""

    async def get(self, session_id: str) -> None:
        """List their names (contract: ``listSessionFiles``)."""
        self.answer(await (await self.find(session_id)).list_files())

    async def post(self, session_id: str) -> None:
        """Take the part ``file`` of a multipart body (contract: ``uploadSessionFile``)."""
        session = await self.find(session_id)
        form = await self.form("file")
        if "file" not in form.files:
            raise BadRequest("The multipart body has no part 'file' with a file name.")
        file = form.files["file"]
        await session.put_file(file.name, file.path)
        # The contract says text here, and clients read all sentences as JSON.
        sentence = msgspec.json.encode(f"Wrote {file.name}.")
        self.answer_bytes(sentence, "text/plain; charset=utf-8", 201)


class OneFile(SessionEndpoint):
    """One file of the working directory."""

    async def get(self, session_id: str, file_name: str) -> None:
        """Send it in pieces (contract: ``getSessionFile``)."""
        file = await (await self.find(session_id)).open_file(file_name)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", file.size)
        self.name_file(file_name)
        with file.stream:
            await self._send(file)
        self.finish()

    async def delete(self, session_id: str, file_name: str) -> None:
        """Delete it (contract: ``deleteSessionFile``)."""
        await (await self.find(session_id)).delete_file(file_name)
        self.answer_text(f"Deleted {file_name}.")

    async def _send(self, file: OpenFile) -> None:
        left = file.size
        # A file that grows meanwhile is sent as long as it was announced.
        while left and (
            chunk := await asyncio.to_thread(file.stream.read, min(left, _CHUNK_BYTES))
        ):
            left -= len(chunk)
            self.write(chunk)
            await self.flush()


class Workspace(SessionEndpoint):
    """Objects of the workspace."""

    async def get(self, session_id: str) -> None:
        """List their names (contract: ``listWorkspaceObjects``)."""
        session = await self.parts.sessions.get_for_workspace(self.principal, session_id)
        self.answer(await session.objects())


class Inventory(SessionEndpoint):
    """What the workspace has, for a comparison or to choose from."""

    async def get(self, session_id: str) -> None:
        """Describe it (our addition)."""
        session = await self.find(session_id)
        view = self.query("view")
        if view not in {"", "summary", "comparison"}:
            raise BadRequest(
                f"view is {view!r}; it has to be 'summary' or 'comparison', or left out."
            )
        names = self.query("names")
        self.answer(await session.inventory(view, names.split(",") if names else None))


class WorkspaceObject(SessionEndpoint):
    """One object of the workspace."""

    takes_upload = True
    reads_text = False

    async def get(self, session_id: str, object_name: str) -> None:
        """Send it as a pickle, in R as RData (contract: ``getWorkspaceObject``)."""
        session = await self.find(session_id)
        data = await session.get_object(object_name)
        self.answer_octets(data, object_name + session.object_suffix)

    async def post(self, session_id: str, object_name: str) -> None:
        """Set it from its bytes (contract: ``setWorkspaceObject``)."""
        await (await self.find(session_id)).set_object(object_name, self.body)
        self.answer_text(f"Set {object_name}.")

    async def delete(self, session_id: str, object_name: str) -> None:
        """Delete it (contract: ``deleteWorkspaceObject``)."""
        await (await self.find(session_id)).delete_object(object_name)
        self.answer_text(f"Deleted {object_name}.")


def _path(rest: str) -> str:
    return r"/sessions/(?P<session_id>[^/]+)" + rest


routes: Routes = [
    (r"/sessions", AllSessions),
    (_path(""), OneSession),
    (_path("/force"), ForceClose),
    (_path("/renew"), Renew),
    (_path("/execute"), Execute),
    (_path("/executions"), Executions),
    (_path("/executions/(?P<execution_id>[^/]+)/events"), Events),
    (_path("/cancel"), Cancel),
    (_path("/console-output"), ConsoleOutput),
    (_path("/history"), History),
    (_path("/files"), Files),
    (_path("/files/(?P<file_name>[^/]+)"), OneFile),
    (_path("/workspace"), Workspace),
    (_path("/inventory"), Inventory),
    (_path("/workspace/(?P<object_name>[^/]+)"), WorkspaceObject),
]
