"""A line of the audit log."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

Result = Literal["done", "refused", "failed"]
"""Whether it was done, the caller was told why not, or the server failed."""

SCHEMA_ID: Final = "urn:jupyter-mlsvc:audit"


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, and what came of it. No body, code, password or token is in it.

    Attributes
    ----------
    who
        Name of the person; empty where nobody is known.
    id
        Id of the account, which stays the same and never comes back.
    by
        What showed who it is: ``password``, ``token``, ``refresh token``, ``notebook`` (a kernel's
        token), ``key`` (an application's), ``jupyter`` (a Jupyter server's word) or ``command``.
    address
        Where the request came from; empty for a local socket.
    operation
        Id of the operation, or method and path where it has none.
    object
        What it was done to, such as a service and its version.
    result, status
        What came of it, and the status of the answer; 0 where there was no request.
    request
        Id of the request, which answers and the log have too.
    """

    operation: str
    result: Result
    object: str = ""
    who: str = ""
    id: str = ""
    by: str = ""
    address: str = ""
    status: int = 0
    request: str = ""


def schema() -> dict[str, Any]:
    """Describe the record for ``jupyter_events``."""
    about = {
        "operation": "What was done: the id of the operation in swagger.json, mostly.",
        "result": "Whether it was done, refused, or failed for a reason of the server's.",
        "object": "What it was done to.",
        "who": "Name of the person; empty where nobody is known.",
        "id": "Id of the account, which stays the same and never comes back.",
        "by": "What showed who it is.",
        "address": "Where the request came from; empty for a local socket.",
        "status": "Status of the answer; 0 where there was no request.",
        "request": "Id of the request.",
    }
    properties: dict[str, dict[str, Any]] = {
        name: {"type": "string", "description": text} for name, text in about.items()
    }
    properties["status"]["type"] = "integer"
    properties["result"]["enum"] = list(get_args(Result))
    return {
        "$id": SCHEMA_ID,
        "version": "1",
        "title": "Audit log of jupyter-mlsvc",
        "personal-data": True,
        "type": "object",
        "properties": properties,
        "required": list(about),
        "additionalProperties": False,
    }
