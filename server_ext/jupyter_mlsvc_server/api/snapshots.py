"""Routes of snapshots."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from jupyter_mlsvc.wire.models import CreateSnapshotRequest
from jupyter_mlsvc_server.api.forms import FormUploads
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import StreamedResponse, json_response, named
from jupyter_mlsvc_server.api.routing import Routes, counted, route, upload
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager

_SNAPSHOTS: Final = "SnapshotManager.max_snapshots_per_user"


class SnapshotRoutes:
    """Takes, loads, sends and deletes snapshots."""

    def __init__(
        self, *, snapshots: SnapshotManager, sessions: MlsvcSessionManager, forms: FormUploads
    ) -> None:
        self._snapshots = snapshots
        self._sessions = sessions
        self._forms = forms

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/sessions/{session_id}/snapshot", post=counted(_SNAPSHOTS, self.create)),
            route("/sessions/{session_id}/loadsnapshot/{snapshot_id}", post=self.load),
            route("/snapshots", get=self.list, post=counted(_SNAPSHOTS, upload(self.receive))),
            route("/snapshots/{snapshot_id}", get=self.send, delete=self.delete),
            route("/snapshots/{snapshot_id}/contents", get=self.contents),
        ]

    async def create(self, request: ApiRequest, session_id: str) -> Response:
        """Take one of a session (contract: ``createSnapshot``)."""
        session = await self._sessions.get(request.principal, session_id)
        form = await request.parse(CreateSnapshotRequest)
        created = await self._snapshots.create(request.principal, session, form.name)
        return json_response(created, status=201)

    async def load(self, request: ApiRequest, session_id: str, snapshot_id: str) -> Response:
        """Load one over what a session has (contract: ``loadSnapshot``)."""
        session = await self._sessions.get(request.principal, session_id)
        return json_response(await self._snapshots.load(request.principal, snapshot_id, session))

    async def list(self, request: ApiRequest) -> Response:
        """List the caller's (contract: ``listSnapshots``)."""
        return json_response(await self._snapshots.list(request.principal))

    async def receive(self, request: ApiRequest) -> Response:
        """Take the part ``file`` of a multipart body, an archive as sent here (our addition)."""
        form = await self._forms.read(request, "file", "name")
        if "file" not in form.files:
            raise BadRequest("The multipart body has no part 'file' with a file name.")
        with form.files["file"].path.open("rb") as archive:
            created = await self._snapshots.upload(
                request.principal, archive, form.fields.get("name")
            )
        return json_response(created, status=201)

    async def send(self, request: ApiRequest, snapshot_id: str) -> Response:
        """Send it as a zip archive (contract: ``getSnapshotContent``)."""
        snapshot = await self._snapshots.get(request.principal, snapshot_id)
        size = await self._snapshots.archive_size(request.principal, snapshot_id)
        return StreamedResponse(
            await self._snapshots.zip_stream(request.principal, snapshot_id),
            headers={
                "Content-Type": "application/zip",
                "Content-Length": str(size),
                **named(f"{snapshot.name}.zip"),
            },
        )

    async def delete(self, request: ApiRequest, snapshot_id: str) -> Response:
        """Delete it; services made from it keep working (contract: ``deleteSnapshot``)."""
        await self._snapshots.delete(request.principal, snapshot_id)
        return json_response(f"Deleted snapshot {snapshot_id}.")

    async def contents(self, request: ApiRequest, snapshot_id: str) -> Response:
        """Describe what is in it, without sending it (our addition)."""
        return json_response(await self._snapshots.contents(request.principal, snapshot_id))
