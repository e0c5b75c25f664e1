"""What can go wrong with sessions."""

from __future__ import annotations

from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    Busy,
    Conflict,
    Gone,
    MlsvcServerError,
    NotFound,
    TooManyRequests,
)


class SessionNotFound(NotFound):
    """No such session, or another person's, which looks the same from outside."""

    code = "SessionNotFound"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"There is no session {session_id!r}.",
            advice=Advice("List yours with GET /sessions.", operation="listSessions"),
        )


class SessionStarting(Busy):
    """The session, the caller's, has no process yet."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"Session {session_id!r} is still starting; try again in a moment.", retry_after=1
        )


class SessionEnded(NotFound):
    """The session was there, and the caller's, and has ended."""

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(f"Session {session_id!r} has ended: {reason} Create another one.")


class SessionGone(Gone):
    """The session ended while it was used, with an earlier run, or (its workspace) before."""

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(f"Session {session_id!r} has ended: {reason} Create another one.")


class TooManySessions(TooManyRequests):
    """The caller has as many sessions as one person may have."""

    code = "TooManySessions"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"You have {limit} sessions, which is the limit.",
            retry_after=60,
            advice=Advice("Close one with DELETE /sessions/ID.", operation="closeSession"),
        )


class QueueIsFull(TooManyRequests):
    """As many executions wait in the session as may wait."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} executions wait in this session already: let them run or cancel some.",
            retry_after=5,
        )


class RuntimeNotAvailable(BadRequest):
    """A runtime type that this server does not start.

    Parameters
    ----------
    runtime_type
        What was asked for.
    available
        What there is.
    how_to_install
        What to do to get it, where that can be done; a sentence without its end.
    """

    def __init__(self, runtime_type: str, available: list[str], how_to_install: str = "") -> None:
        what = (
            f"{runtime_type} sessions are not available on this server: {how_to_install}."
            if how_to_install
            else f"{runtime_type!r} is no runtime type of this server."
        )
        super().__init__(
            f'{what} It has: {", ".join(available)}. Send "runtimeType": "Python", or leave '
            "runtimeType out, for a Python session."
        )


class KernelDidNotStart(MlsvcServerError):
    """The process of a session did not come up; the log has what it said."""

    def __init__(self, runtime_type: str) -> None:
        super().__init__(
            f"The session's {runtime_type} process did not start; the server's log has the reason."
        )


class KernelDied(Exception):
    """The process of a session ended by itself; inside sessions only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AgentRefused(BadRequest):
    """The helper in the kernel could not do what was asked.

    Attributes
    ----------
    kind
        Type of the error as the helper named it.
    name
        The object that it is about, if it is about one.
    """

    def __init__(self, kind: str, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class ObjectNotFound(NotFound):
    """No such object in the workspace."""

    code = "ObjectNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no object {name!r} in the workspace.",
            advice=Advice(
                "GET /sessions/ID/workspace lists them.", operation="listWorkspaceObjects"
            ),
        )


class FileNotFound(NotFound):
    """No such file in the working directory."""

    code = "FileNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no file {name!r} in the session.",
            advice=Advice("GET /sessions/ID/files lists them.", operation="listSessionFiles"),
        )


class DirectoryReplaced(Conflict):
    """The code of a session has removed or replaced its working directory."""

    def __init__(self) -> None:
        super().__init__(
            "The working directory of the session is not there any more: its code has removed or "
            "replaced it. Close the session, and run the code in a new one."
        )


class NotAFile(Conflict):
    """The name is taken by a folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is a folder in the working directory; choose another name.")


class ExecutionNotFound(NotFound):
    """No such execution, or so old that its log was dropped."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"There is no execution {execution_id!r} in this session, or it was dropped as old."
        )
