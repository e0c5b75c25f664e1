"""What can go wrong with snapshots."""

from __future__ import annotations

from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    MlsvcServerError,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
)


class SnapshotNotFound(NotFound):
    """No such snapshot, or another person's, which looks the same from outside."""

    code = "SnapshotNotFound"

    def __init__(self, snapshot_id: str) -> None:
        super().__init__(
            f"There is no snapshot {snapshot_id!r}.",
            advice=Advice("List yours with GET /snapshots.", operation="ListSnapshots"),
        )


class ContentDamaged(MlsvcServerError):
    """What is stored of a snapshot or a service is not what it was.

    Parameters
    ----------
    part
        What of it, such as ``the file 'data.csv'``.
    reason
        What is wrong, with the name of the blob.
    """

    code = "ContentDamaged"

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(
            f"The stored content is damaged in {part}. {reason} Take the snapshot or publish the "
            "model again: good content replaces damaged content. Or have the server's operator "
            "restore it from a backup."
        )


class ContentNotFound(NotFound):
    """What a snapshot or service had is gone: it was deleted while somebody used it."""

    code = "SnapshotNotFound"

    def __init__(self) -> None:
        super().__init__(
            "The snapshot was deleted meanwhile.",
            advice=Advice("List yours with GET /snapshots.", operation="ListSnapshots"),
        )


class SnapshotTooLarge(PayloadTooLarge):
    """The session, or the archive, holds more than a snapshot may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"A snapshot may hold {limit:,} bytes here. Delete objects and files that the service "
            "does not need, or ask for a higher limit."
        )


class QuotaExceeded(PayloadTooLarge):
    """The caller's snapshots hold as much as one person's may."""

    code = "QuotaExceeded"

    def __init__(self, quota: int) -> None:
        super().__init__(
            f"Your snapshots would hold more than {quota:,} bytes, which is the limit for one "
            "person.",
            advice=Advice("Delete some with DELETE /snapshots/{id}.", operation="DeleteSnapshot"),
        )


class TooManySnapshots(TooManyRequests):
    """The caller has as many snapshots as one person may have."""

    code = "TooManySnapshots"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most:,} snapshots, which is the limit for one person "
            "(SnapshotManager.max_snapshots_per_user).",
            retry_after=60,
            advice=Advice("Delete some with DELETE /snapshots/{id}.", operation="DeleteSnapshot"),
        )


class InvalidSnapshotName(BadRequest):
    """The name of a snapshot is too long."""

    def __init__(self, longest: int) -> None:
        super().__init__(f"A snapshot's name may have at most {longest} characters.")


class InvalidArchive(BadRequest):
    """An archive that was sent is no snapshot, or not a whole one."""

    code = "InvalidArchive"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The archive is no snapshot that could be kept: {reason}.",
            advice=Advice(
                "Send one as GET /snapshots/{id} gives it.", operation="GetSnapshotContent"
            ),
        )


class OtherRuntime(BadRequest):
    """A snapshot fits sessions of its own runtime only."""

    def __init__(self, snapshot_runtime: str, session_runtime: str) -> None:
        super().__init__(
            f"The snapshot is one of {snapshot_runtime} and the session runs {session_runtime}: "
            f"load it into a {snapshot_runtime} session."
        )


class CaptureFailed(BadRequest):
    """The session's kernel did not write what it should have; its user's code may have meddled."""

    def __init__(self) -> None:
        super().__init__(
            "The session's workspace could not be written. Close the session, run the code in a "
            "new one and take the snapshot there."
        )


class DirectoryLost(BadRequest):
    """The code of a session has removed or replaced its working directory."""

    def __init__(self) -> None:
        super().__init__(
            "The working directory of the session is not there any more: its code has removed or "
            "replaced it. Close the session, and run the code in a new one."
        )


class FilesCannotBeWritten(BadRequest):
    """Something in the session's working directory is in the way of the snapshot's files."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The snapshot's files cannot be written into the working directory: {reason}. Its "
            "objects were not loaded."
        )
