"""Snapshots: what a session held at a moment, kept on the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.contents import SnapshotContents
from jupyter_mlsvc.client.transfer import FileForm, Progress, no_progress, save
from jupyter_mlsvc.wire import models

if TYPE_CHECKING:
    from jupyter_mlsvc.client.session import Session


class Snapshots:
    """Your snapshots; ``client.snapshots``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(self, session: Session | str, name: str | None = None) -> Snapshot:
        """Keep the workspace and the working directory of a session (contract: ``CreateSnapshot``).

        The session is given as an object or by its id.

        What can't be kept is left out, and ``skipped`` of the answer lists it.
        """
        request = models.CreateSnapshotRequest(name=name)
        # Waits for running code, then for as long as a large workspace takes to write.
        patient = (self._api.timeout[0], None)
        path = ("sessions", _id_of(session), "snapshot")
        answer = self._api.post(models.CreateSnapshotResponse, *path, json=request, timeout=patient)
        return Snapshot(self, answer.snapshot_id, name or "", skipped=answer.skipped)

    def list(self) -> formatting.Listing[Snapshot]:
        """List your snapshots (contract: ``ListSnapshots``)."""
        rows = self._api.get(list[models.Snapshot], "snapshots")
        return formatting.Listing(
            (Snapshot.of(self, row) for row in rows), _COLUMNS, "No snapshots."
        )

    def find(self, name: str) -> Snapshot | None:
        """Find a snapshot of yours by id or name; of several with the name the newest."""
        found = [snapshot for snapshot in self.list() if name in {snapshot.name, snapshot.id}]
        return max(found, key=lambda snapshot: snapshot.creation_time or "", default=None)

    def load(self, snapshot_id: str, session: Session | str) -> str:
        """Load a snapshot into a session, over the same names (contract: ``LoadSnapshot``).

        The session is given as an object or by its id.

        Returns
        -------
        str
            The server's sentence: what came back, and what did not.
        """
        patient = (self._api.timeout[0], None)
        path = ("sessions", _id_of(session), "loadsnapshot", snapshot_id)
        return self._api.decode(str, self._api.call("POST", *path, timeout=patient))

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot; services made of it keep working (contract: ``DeleteSnapshot``)."""
        self._api.delete("snapshots", snapshot_id)

    def contents(self, snapshot_id: str) -> SnapshotContents:
        """Tell what is in a snapshot, without loading it (our addition)."""
        body = self._api.get(models.SnapshotContents, "snapshots", snapshot_id, "contents")
        return SnapshotContents(body)

    def download(
        self, snapshot_id: str, path: str | Path, progress: Progress = no_progress
    ) -> Path:
        """Save the content of a snapshot as a zip file (contract: ``GetSnapshotContent``).

        Returns
        -------
        pathlib.Path
            The file; it exists only if all of the content arrived.
        """
        return save(self._api.call("GET", "snapshots", snapshot_id), Path(path), progress)

    def upload(
        self, path: str | Path, name: str | None = None, progress: Progress = no_progress
    ) -> Snapshot:
        """Keep a snapshot that :meth:`download` saved, from this server or another.

        Parameters
        ----------
        path : str or pathlib.Path
            The zip file; it is read while it is sent.
        name : str, optional
            A name for the snapshot; that of the file, without ``.zip``, by default.
        progress : callable, optional
            Called with the bytes so far and in all.

        Raises
        ------
        BadRequest
            The file is no snapshot, or not a whole one.
        """
        source = Path(path)
        name = name or source.stem
        form = FileForm(source, source.name, {"name": name}, progress)
        patient = (self._api.timeout[0], None)
        response = self._api.call(
            "POST", "snapshots", body=form, content_type=form.content_type, timeout=patient
        )
        answer = self._api.decode(models.CreateSnapshotResponse, response)
        return Snapshot(self, answer.snapshot_id, name, skipped=answer.skipped)


class Snapshot:
    """One snapshot.

    Attributes
    ----------
    id, name : str
    skipped : list of SkippedObject
        Objects that could not be kept: ``name``, ``type`` and ``reason``.
    owner, creation_time : str or None
    content_size : int or None
        Bytes; known where the snapshot came from a list, as are owner, time and ``runtime_type``.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        snapshot_id: str,
        name: str,
        *,
        skipped: Sequence[models.SkippedObject] = (),
        owner: str | None = None,
        creation_time: str | None = None,
        content_size: int | None = None,
        runtime_type: str | None = None,
    ) -> None:
        self._snapshots = snapshots
        self.id = snapshot_id
        self.name = name
        self.skipped = list(skipped)
        self.owner = owner
        self.creation_time = creation_time
        self.content_size = content_size
        self.runtime_type = runtime_type

    @classmethod
    def of(cls, snapshots: Snapshots, row: models.Snapshot) -> Snapshot:
        """Make one from a row of the server's list."""
        return cls(
            snapshots,
            row.id,
            row.name,
            skipped=row.skipped,
            owner=row.owner,
            creation_time=row.creation_time,
            content_size=row.content_size,
            runtime_type=row.runtime_type,
        )

    def delete(self) -> None:
        """Delete the snapshot."""
        self._snapshots.delete(self.id)

    def load(self, session: Session | str) -> str:
        """Load it into a session, over the same names; the answer says what came back."""
        return self._snapshots.load(self.id, session)

    def contents(self) -> SnapshotContents:
        """Tell what is in it: objects, files, packages, and the services that hold the same."""
        return self._snapshots.contents(self.id)

    def download(self, path: str | Path, progress: Progress = no_progress) -> Path:
        """Save the content as a zip file."""
        return self._snapshots.download(self.id, path, progress)

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"Snapshot {self.name!r}" if self.name else "Snapshot"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("id", self.id),
            ("created", formatting.moment(self.creation_time)),
            ("size", "" if self.content_size is None else formatting.size(self.content_size)),
            ("left out", skipped_text(self.skipped)),
        ]


def _id_of(session: Session | str) -> str:
    return session if isinstance(session, str) else session.id


def skipped_text(skipped: Sequence[models.SkippedObject]) -> str:
    """Say which objects a snapshot left out and why, a line each."""
    return "\n".join(f"{item.name} ({item.type}): {item.reason}" for item in skipped)


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("name", lambda snapshot: snapshot.name),
    ("created", lambda snapshot: formatting.moment(snapshot.creation_time)),
    ("size", lambda snapshot: formatting.size(snapshot.content_size or 0)),
    ("left out", lambda snapshot: ", ".join(item.name for item in snapshot.skipped)),
    ("id", lambda snapshot: snapshot.id),
)
