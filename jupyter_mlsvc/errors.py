"""What can go wrong in the client, as one tree.

::

    MlsvcError
      ConnectionFailed              nobody answers at the URL
        LostExecution               while code ran in a session, where it runs on
      UnexpectedAnswer              somebody answers, but not an ML service server
      NotLoggedIn                   no token, or the login has ended
      Refused                       an identity provider refuses a login
      NotSendable                   an object of the notebook can't be pickled
      InvalidInput                  a value or a declaration that can't be sent; a ValueError, too
        NotPublishable              the service would fail for certain
      ApiError                      the server refused
        BadRequest                  400
        Unauthorized                401
        Forbidden                   403
        NotFound                    404
        Conflict                    409
        Gone                        410
        PayloadTooLarge             413
        TooManyRequests             429
        ServerFault                 500 and other 5xx
          Busy                      503
          DeadlinePassed            504
      RemoteExecutionError          code in a session raised
      ServiceFailed                 code of a service raised
      BatchFailed                   a batch could not go on
    KeyboardInterrupt
      RemoteInterrupted             code in a session was interrupted from here
      Detached                      somebody left code that runs in a session, and runs on
      TransferInterrupted           something was on its way; no part of it was left behind
      BatchInterrupted              waiting for a batch was interrupted; the batch goes on
      WaitInterrupted               waiting for anything else was interrupted

In a notebook each shows itself as one readable line; a remote traceback follows it where there
is one, and none of our own.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final

from jupyter_mlsvc.advice import Place, advice
from jupyter_mlsvc.console_text import folded, folded_html

_RESET_COLOURS: Final = "\x1b[0m"
_FAULTS: Final = 500
_STARTS_WITH_CLASS: Final = re.compile(r"[^\W\d][\w.]*(: |$)")


class MlsvcError(Exception):
    """Base of all errors of the client."""

    def in_notebook(self) -> str:
        """Give the message as a notebook shows it."""
        return str(self)

    def _render_traceback_(self) -> list[str]:
        """Give what IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self.in_notebook()}"]


class ConnectionFailed(MlsvcError):
    """Nobody answers at the URL, or the connection broke.

    Attributes
    ----------
    url : str
        Address of the server.
    reason : str
        What happened, in a few words.
    """

    def __init__(self, url: str, reason: str = "no answer") -> None:
        super().__init__(
            f"The server at {url} cannot be reached: {reason}. Check that it runs and that the "
            "address is right (%mlsvc login URL, Client(url) or environment variable MLSVC_URL)."
        )
        self.url = url
        self.reason = reason

    def __reduce__(self) -> tuple[type[ConnectionFailed], tuple[str, ...]]:
        return type(self), (self.url, self.reason)


class LostExecution(ConnectionFailed):
    """The connection broke while code ran in a session, where it runs on.

    Attributes
    ----------
    session : str
        Name of the session.
    """

    def __init__(self, url: str, reason: str = "no answer", session: str = "") -> None:
        super().__init__(url, reason)
        self.session = session

    def __str__(self) -> str:
        return (
            f"The connection to the server at {self.url} broke: {self.reason}. The code runs on in "
            f"session {self.session!r}; %mlsvc attach shows its output, also from another notebook."
        )

    def __reduce__(self) -> tuple[type[LostExecution], tuple[str, ...]]:
        return type(self), (self.url, self.reason, self.session)


class UnexpectedAnswer(MlsvcError):
    """The answer is not one of an ML service server; the URL is most likely another program's."""


class InsecureLogin(UserWarning):
    """A password is about to go to another machine over plain HTTP."""


class NotLoggedIn(MlsvcError):
    """No token is known, or the login has ended."""


class InvalidInput(MlsvcError, ValueError):
    """A value that JSON can't carry, or a declaration of inputs or outputs that is wrong."""


class ApiError(MlsvcError):
    """The server refused a request.

    Attributes
    ----------
    status : int
        HTTP status.
    exception_type : str
        The contract's ``exceptionType``, such as ``NotFoundException``.
    message : str
        The server's sentence.
    request_id : str
        Finds the request in the server's log; empty where the server sent none.
    code : str
        The server's name of the error, such as ``ServiceNotFound``; empty where it has none.
    reason : str
        The message without the server's advice; the same where there is none.
    operation : str
        The contract's name of the operation that helps, or empty.
    parameter : str
        Member of the request by which it would be done all the same, or empty.
    console_output : str
        What the code of a service had printed when it failed.
    inputs : dict of str
        What is wrong with inputs of a service, by name, where nothing else is wrong.
    """

    _names_request = False
    """Whether the id of the request helps whoever runs the server, and so is in the text."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        exception_type: str = "",
        request_id: str = "",
        details: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        details = details or {}
        self.message = message
        self.status = status
        self.exception_type = exception_type
        self.request_id = request_id
        self.code = details.get("error_code", "")
        self.reason = details.get("reason", message)
        self.operation = details.get("operation", "")
        self.parameter = details.get("parameter", "")
        self.console_output = details.get("console_output", "")
        self.inputs = dict(inputs or {})

    def __str__(self) -> str:
        return self._phrased("program")

    def in_notebook(self) -> str:
        """Return the message with what people type in a notebook."""
        return self._phrased("notebook")

    def _phrased(self, place: Place) -> str:
        text = self._advised(place)
        if not self._names_request or not self.request_id or self.request_id in text:
            return text
        return f"{text} (request {self.request_id})"

    def _advised(self, place: Place) -> str:
        """Return the reason with our own advice, or the server's message where we have none."""
        known = advice(place, self.code, self.operation, self.parameter)
        if known is None:
            return self.message
        printed = f"\nIt had printed:\n{self.console_output}" if self.console_output else ""
        return f"{self.reason} {known}{printed}"


class BadRequest(ApiError):
    """The request does not fit: a value is missing, of the wrong type or invalid (400)."""


class Unauthorized(ApiError):
    """The credentials are wrong, or the token is expired or unknown (401)."""


class Forbidden(ApiError):
    """You are known, but may not do this (403); the audit log has it under ``request_id``."""

    _names_request = True


class NotFound(ApiError):
    """No such session, snapshot, service, file or object, or none that you may see (404)."""


class Conflict(ApiError):
    """It exists already, or its state does not allow this (409)."""


class Gone(ApiError):
    """It was there once (410)."""


class PayloadTooLarge(ApiError):
    """The server does not take that much at once (413)."""


class TooManyRequests(ApiError):
    """Wait a moment before you try again (429)."""


class ServerFault(ApiError):
    """The server failed; its log has the details under ``request_id`` (5xx)."""

    _names_request = True


class Busy(ServerFault):
    """All workers are busy and the queue is full; try again later (503)."""


class DeadlinePassed(ServerFault):
    """The work took longer than the server allows and was stopped (504)."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: PayloadTooLarge,
    429: TooManyRequests,
    503: Busy,
    504: DeadlinePassed,
}


def api_error(
    status: int,
    message: str,
    *,
    exception_type: str = "",
    request_id: str = "",
    details: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> ApiError:
    """Make the error for an HTTP status; ``details`` are further members of the Error body."""
    kind = _BY_STATUS.get(status, ServerFault if status >= _FAULTS else ApiError)
    return kind(
        message,
        status=status,
        exception_type=exception_type,
        request_id=request_id,
        details=details,
        inputs=inputs,
    )


class RemoteExecutionError(MlsvcError):
    """Code in a session raised an exception.

    Attributes
    ----------
    remote_type : str
        Name of the exception's class, such as ``NameError``.
    remote_message : str
        Its message.
    remote_traceback : list of str
        The traceback as the session's interpreter shows it; empty where only the message is known.
    session : str
        Name of the session.
    hint : str
        What may help, or empty.
    is_syntax_error : bool
        Whether the session could not even read the code.
    """

    def __init__(
        self,
        remote_type: str,
        remote_message: str = "",
        remote_traceback: list[str] | None = None,
        session: str = "",
        hint: str = "",
        is_syntax_error: bool = False,
    ) -> None:
        super().__init__(
            remote_type, remote_message, remote_traceback, session, hint, is_syntax_error
        )
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback or []
        self.session = session
        self.hint = hint
        self.is_syntax_error = is_syntax_error

    def __str__(self) -> str:
        place = f" in session {self.session!r}" if self.session else ""
        return f"{self.remote_type}{place}: {self.remote_message}"

    def _render_traceback_(self) -> list[str]:
        lines = [str(self)]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        if self.remote_traceback:
            lines.extend(["", *self.remote_traceback, _RESET_COLOURS])
        return lines


class ServiceFailed(MlsvcError):
    """The code of a service raised an exception while it was consumed.

    Attributes
    ----------
    service : str
        Name and version.
    remote_message : str
        Last line of the exception, such as ``ValueError: bad flower``.
    console_output : str
        What the code had printed by then.
    request_id : str
        Finds the call in the service's log; empty for a record of a batch.
    """

    def __init__(
        self, service: str, remote_message: str, console_output: str = "", request_id: str = ""
    ) -> None:
        super().__init__(service, remote_message, console_output, request_id)
        self.service = service
        self.remote_message = remote_message
        self.console_output = console_output
        self.request_id = request_id

    def __str__(self) -> str:
        # The server's own sentences about missing or unfit outputs do not begin with a class.
        raised = _STARTS_WITH_CLASS.match(self.remote_message)
        return f"service {self.service}{' raised ' if raised else ': '}{self.remote_message}"

    def _render_traceback_(self) -> list[str]:
        request = f" (request {self.request_id})" if self.request_id else ""
        lines = [f"{type(self).__name__}: {self}{request}"]
        if not self._shows_output_already:
            shown = folded(self.console_output)
            lines.extend(["", "Console output:", shown])
            if shown != self.console_output.rstrip("\n"):
                lines.extend(["", "All of it: import sys; print(sys.last_value.console_output)"])
        return lines

    def _repr_html_(self) -> str:
        """Show the message, and all that was printed under a fold."""
        head = f"<p><b>{type(self).__name__}</b>: {html.escape(str(self))}</p>"
        return head if self._shows_output_already else head + folded_html(self.console_output)

    @property
    def _shows_output_already(self) -> bool:
        return self.console_output.strip() in {"", self.remote_message.strip()}


class _Interrupted(KeyboardInterrupt):
    """Shows itself in a notebook in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class RemoteInterrupted(_Interrupted):
    """Code in a session was interrupted from here; the session stays usable."""

    def __init__(self, session: str = "", *, is_stopping: bool = False) -> None:
        super().__init__(session)
        self.session = session
        self.is_stopping = is_stopping

    def __str__(self) -> str:
        if self.is_stopping:
            return (
                f"interrupt sent; session {self.session!r} may still be stopping. %mlsvc attach "
                "shows what it does."
            )
        return f"interrupted; session {self.session!r} is still usable."


class Detached(_Interrupted):
    """Somebody left code that runs in a session; it runs on."""

    def __init__(self, session: str = "") -> None:
        super().__init__(session)
        self.session = session

    def __str__(self) -> str:
        return (
            f"left session {self.session!r}; its code runs on. %mlsvc attach shows it again, "
            "session.cancel() interrupts it."
        )


class TransferInterrupted(_Interrupted):
    """Something was on its way to or from the server; no part of it was left behind."""

    def __init__(self, what: str = "") -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"interrupted while {self.what!r} was on its way; no part of it was left behind."


class WaitInterrupted(_Interrupted):
    """Waiting for an answer was interrupted from here; the server may do what was asked of it."""

    def __init__(self, what: str = "") -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: interrupted; the server may still finish it."


class BatchFailed(MlsvcError):
    """A batch could not go on; the results until then are kept.

    Attributes
    ----------
    service : str
        Name and version.
    batch_id : str
        Finds the batch again.
    reason : str
        The server's sentence.
    """

    def __init__(self, service: str, batch_id: str, reason: str) -> None:
        super().__init__(service, batch_id, reason)
        self.service = service
        self.batch_id = batch_id
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"batch {self.batch_id} of {self.service} could not go on: {self.reason} "
            "The results until then are kept."
        )


class BatchInterrupted(_Interrupted):
    """Waiting for a batch was interrupted from here; the batch goes on on the server.

    Attributes
    ----------
    name, version, batch_id : str
        Find the batch again.
    """

    def __init__(self, name: str, version: str, batch_id: str) -> None:
        super().__init__(name, version, batch_id)
        self.name = name
        self.version = version
        self.batch_id = batch_id

    def __str__(self) -> str:
        found = f"client.batches.get({self.name!r}, {self.version!r}, {self.batch_id!r})"
        return (
            f"waiting interrupted; batch {self.batch_id} goes on on the server. Repeat %batch with "
            f"--resume {self.batch_id} to wait for it again, or take {found}: its wait() does so, "
            "too, and its cancel() stops it."
        )
