"""REST endpoints of snapshots."""

from __future__ import annotations

from jupyter_mlsvc.wire.models import CreateSnapshotRequest
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.forms import FormEndpoint
from jupyter_mlsvc_server.web import Endpoint, Routes


class SnapshotEndpoint(Endpoint):
    """Base of what concerns snapshots."""

    resource = "snapshots"


class SessionSnapshot(SnapshotEndpoint):
    """Snapshots of a session."""

    async def post(self, session_id: str) -> None:
        """Take one (contract: ``createSnapshot``)."""
        session = await self.parts.sessions.get(self.principal, session_id)
        request = self.parse(CreateSnapshotRequest)
        response = await self.parts.snapshots.create(self.principal, session, request.name)
        self.answer(response, status=201)


class LoadSnapshot(SnapshotEndpoint):
    """Loading a snapshot into a session."""

    async def post(self, session_id: str, snapshot_id: str) -> None:
        """Load it over what is there (contract: ``loadSnapshot``)."""
        session = await self.parts.sessions.get(self.principal, session_id)
        loaded = await self.parts.snapshots.load(self.principal, snapshot_id, session)
        self.answer_text(loaded)


class AllSnapshots(FormEndpoint, SnapshotEndpoint):
    """The caller's snapshots."""

    async def get(self) -> None:
        """List them (contract: ``listSnapshots``)."""
        self.answer(await self.parts.snapshots.list(self.principal))

    async def post(self) -> None:
        """Take the part ``file`` of a multipart body, an archive as sent here (our addition)."""
        form = await self.form("file", "name")
        if "file" not in form.files:
            raise BadRequest("The multipart body has no part 'file' with a file name.")
        with form.files["file"].path.open("rb") as archive:
            response = await self.parts.snapshots.upload(
                self.principal, archive, form.fields.get("name")
            )
        self.answer(response, status=201)


class OneSnapshot(SnapshotEndpoint):
    """One snapshot."""

    async def get(self, snapshot_id: str) -> None:
        """Send it as a zip archive (contract: ``getSnapshotContent``)."""
        snapshot = await self.parts.snapshots.get(self.principal, snapshot_id)
        pieces = await self.parts.snapshots.zip_stream(self.principal, snapshot_id)
        self.set_header("Content-Type", "application/zip")
        size = await self.parts.snapshots.archive_size(self.principal, snapshot_id)
        self.set_header("Content-Length", size)
        self.name_file(f"{snapshot.name}.zip")
        async for piece in pieces:
            self.write(piece)
            await self.flush()
        self.finish()

    async def delete(self, snapshot_id: str) -> None:
        """Delete it; services made from it keep working (contract: ``deleteSnapshot``)."""
        await self.parts.snapshots.delete(self.principal, snapshot_id)
        self.answer_text(f"Deleted snapshot {snapshot_id}.")


class SnapshotContents(SnapshotEndpoint):
    """What is in a snapshot."""

    async def get(self, snapshot_id: str) -> None:
        """Tell it, without sending it (our addition)."""
        self.answer(await self.parts.snapshots.contents(self.principal, snapshot_id))


routes: Routes = [
    (r"/sessions/(?P<session_id>[^/]+)/snapshot", SessionSnapshot),
    (r"/sessions/(?P<session_id>[^/]+)/loadsnapshot/(?P<snapshot_id>[^/]+)", LoadSnapshot),
    (r"/snapshots", AllSnapshots),
    (r"/snapshots/(?P<snapshot_id>[^/]+)", OneSnapshot),
    (r"/snapshots/(?P<snapshot_id>[^/]+)/contents", SnapshotContents),
]
