"""What people do after an error of the server, in the words of a program and of a notebook.

The server names its error and the operation that helps (``errorCode``, ``operation`` and
``parameter`` of the Error body). How that is called here, only this side knows.
"""

from __future__ import annotations

from typing import Final, Literal

Place = Literal["program", "notebook"]

_CALLS: Final[dict[str, tuple[str, str]]] = {
    "login": ("client.login(username, password)", "%mlsvc login"),
    "renewToken": ("client.login(username, password)", "%mlsvc login"),
    "getAllWebServices": ("client.services.list()", "%mlsvc services"),
    "patchWebServiceVersion": ("client.services.update(…)", "%mlsvc update"),
    "publishRealtimeWebServiceByNameVersion": (
        "client.services.publish_realtime(…)",
        "%publish --realtime",
    ),
    "patchRealtimeWebServiceByNameVersion": (
        "client.services.update_realtime(…)",
        "client.services.update_realtime(…)",
    ),
    "listSessions": ("client.sessions.list()", "%mlsvc sessions"),
    "closeSession": ("session.close()", "%mlsvc session close NAME"),
    "listWorkspaceObjects": ("session.list_objects()", "%mlsvc diff"),
    "listSessionFiles": ("session.list_files()", "%mlsvc files"),
    "ListSnapshots": ("client.snapshots.list()", "%mlsvc snapshots"),
    "GetSnapshotContent": (
        "client.snapshots.download(…)",
        "%mlsvc snapshot NAME --download FILE",
    ),
    "DeleteSnapshot": ("client.snapshots.delete(…)", "%mlsvc snapshot NAME --delete"),
    "deleteWebServiceVersion": (
        "client.services.delete(NAME, VERSION)",
        "%mlsvc delete NAME VERSION",
    ),
    "deleteServicePool": (
        "client.services.delete_pool(NAME, VERSION)",
        "client.services.delete_pool(NAME, VERSION)",
    ),
    "listServiceKeys": ("client.keys.list()", "%mlsvc key list"),
    "revokeServiceKey": ("client.keys.revoke(NAME)", "%mlsvc key revoke NAME"),
    "CancelAndDeleteBatchExecution": ("batch.delete()", "batch.delete()"),
    "GetBatchExecutions": (
        "client.batches.list(NAME, VERSION)",
        "client.batches.list(NAME, VERSION)",
    ),
}
"""How an operation is called in a program and in a notebook."""

_SENTENCES: Final[dict[str, str]] = {
    "NotAuthenticated": "Get one with {call}.",
    "InvalidAccessToken": "Get a new one with {call}.",
    "ExpiredAccessToken": "Get a new one with {call}.",
    "InvalidRefreshToken": "Get a new one with {call}.",
    "ServiceNotFound": "List what is published with {call}.",
    "ServiceExists": "Publish another version, change this one with {call}, or delete it first.",
    "ServiceHasCode": "Change it with {call}, or publish the model as another version.",
    "ServiceIsRealtime": "Change it with {call}, or publish the code as another version.",
    "RealtimeHasNoCode": "Publish it with {call}.",
    "SnapshotIsNotYours": "Publish with one of your own; list them with {call}.",
    "KeyNotFound": "List yours with {call}.",
    "SnapshotNotFound": "List yours with {call}.",
    "QuotaExceeded": "Delete some with {call}.",
    "TooManyVersions": "Delete some with {call}.",
    "TooManyWorkers": "Ask for fewer, or give up another pool with {call}.",
    "TooManyKeys": "Revoke one that nobody uses with {call}.",
    "TooManySnapshots": "Delete some with {call}.",
    "TooManyBatches": "Delete some with {call}.",
    "BatchesTooLarge": "Delete some with {call}.",
    "InvalidArchive": "Send one as {call} gives it.",
    "SessionNotFound": "List yours with {call}.",
    "TooManySessions": "Close one with {call}.",
    "ObjectNotFound": "{call} lists them.",
    "FileNotFound": "{call} lists them.",
    "BatchNotFound": "List yours with {call}.",
}
"""What to do about an error, by its code."""

_PARAMETERS: Final[dict[str, tuple[str, str]]] = {
    "force": ("force=True", "--force"),
    "replace": ("replace=True", "--replace"),
}
"""How a member of a request is given in a program and in a notebook."""

_BY_PARAMETER: Final[dict[str, str]] = {
    "PublishCheckFailed": "Correct it, or publish it all the same with {option}.",
    "ServiceExists": ("It never answered a call, so this one may take its place with {option}."),
}


def advice(place: Place, code: str, operation: str, parameter: str) -> str | None:
    """Return what to do about an error of the server, or None where that is not known here."""
    which = 0 if place == "program" else 1
    parts = []
    if code in _SENTENCES and operation in _CALLS:
        parts.append(_SENTENCES[code].format(call=_CALLS[operation][which]))
    if code in _BY_PARAMETER and parameter in _PARAMETERS:
        parts.append(_BY_PARAMETER[code].format(option=_PARAMETERS[parameter][which]))
    return " ".join(parts) or None
