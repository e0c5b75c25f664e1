"""What goes wrong when a service is called."""

from __future__ import annotations

import signal

from jupyter_mlsvc_server.errors import BadRequest, Busy, DeadlinePassed, MlsvcServerError
from jupyter_mlsvc_server.scoring.definition import DefinitionKey


class UnservableCode(BadRequest):
    """The code has to be changed before it can be published."""


class UnservableSnapshot(BadRequest):
    """The snapshot can't be restored here."""


class WorkerEnded(MlsvcServerError):
    """The worker ended while it ran a request.

    Parameters
    ----------
    key
        The service version.
    code
        Exit code, or minus the signal; None if it isn't known.
    """

    def __init__(self, key: DefinitionKey, code: int | None) -> None:
        super().__init__(
            f"The worker of service {key} ended unexpectedly ({ending(code)}) while it ran this "
            "request. It is replaced; other requests are not affected."
        )


class WorkerFailed(MlsvcServerError):
    """The worker could not make an answer, by no fault of the user's code."""

    def __init__(self, key: DefinitionKey) -> None:
        super().__init__(f"The worker of service {key} failed. The server's log says why.")


class ServiceUnavailable(MlsvcServerError):
    """No worker of the service version can be started."""

    def __init__(self, key: DefinitionKey, reason: str) -> None:
        super().__init__(f"Service {key} can't be started. {reason}")


class QueueFull(Busy):
    """All workers are busy and enough requests wait."""

    def __init__(self, key: DefinitionKey, waiting: int, retry_after: int) -> None:
        super().__init__(
            f"All workers of service {key} are busy and {waiting} requests wait already. "
            f"Try again in {retry_after} s.",
            retry_after=retry_after,
        )


class RunTooLong(DeadlinePassed):
    """The code ran longer than it may."""

    def __init__(self, key: DefinitionKey, seconds: float) -> None:
        super().__init__(
            f"The code of service {key} ran longer than {seconds:g} s and was stopped."
        )


class WaitTooLong(DeadlinePassed):
    """No worker became free in time."""

    def __init__(self, key: DefinitionKey, seconds: float) -> None:
        super().__init__(f"No worker of service {key} became free within {seconds:g} s.")


def ending(code: int | None) -> str:
    """Describe how a process ended, by its exit code or minus the signal."""
    if code is None:
        return "it closed its connection"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
