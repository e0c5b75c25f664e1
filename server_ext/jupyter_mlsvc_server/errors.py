"""Domain errors: each knows its HTTP status and the contract's ``exceptionType``.

::

    MlsvcServerError                500
      BadRequest                    400
      Unauthorized                  401
      Forbidden                     403
      NotFound                      404
      Conflict                      409
      Gone                          410
      PayloadTooLarge               413
      UnsupportedMediaType          415
      TooManyRequests               429
      Busy                          503
        MachineFault                503
      DeadlinePassed                504
      InsufficientStorage           507

Managers raise them and know no HTTP; one place in ``api`` writes them. A noun's own errors
(``SnapshotNotFound``) live with the noun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jupyter_mlsvc.wire.problem import exception_type


@dataclass(frozen=True, slots=True)
class Advice:
    """What helps after an error.

    Parameters
    ----------
    text
        Sentence for callers of the REST API.
    operation
        ``operationId`` of the call that helps.
    parameter
        Member of the request by which it would be done all the same.
    """

    text: str
    operation: str = ""
    parameter: str = ""


class MlsvcServerError(Exception):
    """Base of all errors that the server answers with.

    The message goes to the caller: a sentence that says what was wrong and what to do, without
    anything of the server's inside.

    Attributes
    ----------
    code : str
        Name of the error for programs; empty where its status says enough.
    message : str
        What was wrong, and the advice.
    logged : str
        What the log says besides the message.
    details : dict
        Further members of the Error body, from which clients phrase their own advice.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = ""
    logged: str = ""

    def __init__(self, message: str, *, advice: Advice | None = None) -> None:
        self.details: dict[str, Any] = {"error_code": self.code} if self.code else {}
        self.message = message
        if advice is not None:
            self.message = f"{message} {advice.text}"
            self.details["reason"] = message
            if advice.operation:
                self.details["operation"] = advice.operation
            if advice.parameter:
                self.details["parameter"] = advice.parameter
        super().__init__(self.message)

    @property
    def exception_type(self) -> str:
        """The contract's ``exceptionType`` for this error's status."""
        return exception_type(self.status)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {}


class BadRequest(MlsvcServerError):
    """The request does not fit; the caller has to change it."""

    status = 400


class Unauthorized(MlsvcServerError):
    """No valid credentials came with the request."""

    status = 401

    def __init__(
        self, message: str, *, advice: Advice | None = None, token_was_sent: bool = False
    ) -> None:
        super().__init__(message, advice=advice)
        self.token_was_sent = token_was_sent

    @property
    def headers(self) -> dict[str, str]:
        """The challenge; it names the token as invalid only where one was sent (RFC 6750)."""
        challenge = 'Bearer error="invalid_token"' if self.token_was_sent else "Bearer"
        return {"WWW-Authenticate": challenge}


class NotAuthenticated(Unauthorized):
    """The caller could not be identified."""

    code = "NotAuthenticated"

    def __init__(self, *, token_was_sent: bool) -> None:
        super().__init__(
            "The token is not valid here." if token_was_sent else "This call needs a token.",
            advice=Advice(
                "Get one with POST /login and send it as 'Authorization: Bearer <access_token>'.",
                operation="login",
            ),
            token_was_sent=token_was_sent,
        )


class Forbidden(MlsvcServerError):
    """The caller is known but may not do this."""

    status = 403


class NotFound(MlsvcServerError):
    """No such thing, or none that the caller may know of."""

    status = 404


class Conflict(MlsvcServerError):
    """It exists already, or its state does not allow this."""

    status = 409


class Gone(MlsvcServerError):
    """It was there once."""

    status = 410


class PayloadTooLarge(MlsvcServerError):
    """The body is over the limit."""

    status = 413


class UnsupportedMediaType(MlsvcServerError):
    """The body is in a form that is not read here."""

    status = 415


class NotAcceptable(MlsvcServerError):
    """The caller takes the answer in forms only that it is not given in."""

    status = 406


class UnsupportedContentCoding(UnsupportedMediaType):
    """The body is encoded in a way that is not known here."""

    known: ClassVar[tuple[str, ...]] = ("gzip", "deflate", "zstd")

    @property
    def headers(self) -> dict[str, str]:
        """The codings that are known (RFC 9110, 15.5.16)."""
        return {"Accept-Encoding": ", ".join(self.known)}


class TooManyRequests(MlsvcServerError):
    """The caller has to wait."""

    status = 429

    def __init__(self, message: str, *, retry_after: int, advice: Advice | None = None) -> None:
        super().__init__(message, advice=advice)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Seconds to wait."""
        return {"Retry-After": str(self.retry_after)}


class Busy(TooManyRequests):
    """Nothing is free to do the work now."""

    status = 503


class NotServing(Busy):
    """The server has not started yet, or is on its way to its end."""

    def __init__(self, *, is_stopping: bool) -> None:
        super().__init__(
            "The server is stopping."
            if is_stopping
            else "The server is starting; try again in a moment.",
            retry_after=1,
        )


class MachineFault(Busy):
    """The machine, or the database, does not do its part at the moment; nobody's request is wrong.

    ``storage.machine_faults`` says which error of the system is which of these.
    """


class DeadlinePassed(MlsvcServerError):
    """The work took longer than it may and was stopped."""

    status = 504


class InsufficientStorage(MlsvcServerError):
    """The server has no room for what is to be stored."""

    status = 507
