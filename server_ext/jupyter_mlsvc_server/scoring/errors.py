"""What goes wrong when a service is called."""

from __future__ import annotations

import signal

from jupyter_mlsvc_server.errors import BadRequest, Busy, DeadlinePassed, MlsvcServerError
from jupyter_mlsvc_server.scoring.definition import DefinitionKey


class UnservableCode(BadRequest):
    """The code has to be changed before it can be published."""


class UnservableSnapshot(BadRequest):
    """The snapshot can't be restored here."""


class CodeEnded(MlsvcServerError):
    """The code has ended its process, and would do so again.

    Parameters
    ----------
    key
        The service version.
    code
        Exit code, or minus the signal.
    """

    def __init__(self, key: DefinitionKey, code: int) -> None:
        super().__init__(
            f"The code of service {key} ended its process ({ending(code)}) while it ran this "
            "request. The process is replaced; other requests are not affected."
        )


class WorkerEnded(Busy):
    """The worker ended while it ran a request that is not run again.

    Parameters
    ----------
    key
        The service version.
    code
        Exit code, or minus the signal; None if it isn't known.
    why
        Why it is not run again; empty where that needs no word.
    """

    def __init__(self, key: DefinitionKey, code: int | None, why: str = "") -> None:
        super().__init__(
            f"The worker of service {key} ended unexpectedly ({ending(code)}) while it ran this "
            f"request{why}. It is replaced; other requests are not affected.",
            retry_after=1,
        )


class WorkerFailed(MlsvcServerError):
    """The worker could not make an answer, by no fault of the user's code."""

    def __init__(self, key: DefinitionKey) -> None:
        super().__init__(f"The worker of service {key} failed. The server's log says why.")


class ServiceUnavailable(Busy):
    """No worker of the service version can be started, or those that are keep ending.

    Parameters
    ----------
    key
        The service version.
    reason
        Why, in a sentence.
    retry_after
        Seconds until it is tried again; None where nobody knows.
    """

    def __init__(self, key: DefinitionKey, reason: str, *, retry_after: int | None = None) -> None:
        what = (
            "can't be started."
            if retry_after is None
            else f"is failing, and is tried again in {retry_after} s."
        )
        super().__init__(f"Service {key} {what} {reason}", retry_after=retry_after or 1)
        self.why = reason


class StartInterrupted(ServiceUnavailable):
    """Processes of the service version were ended from outside, ahead of their first request."""


class QueueFull(Busy):
    """All workers are busy and enough requests wait."""

    def __init__(self, key: DefinitionKey, waiting: int, retry_after: int) -> None:
        super().__init__(
            f"All workers of service {key} are busy and {waiting} requests wait already. "
            f"Try again in {retry_after} s.",
            retry_after=retry_after,
        )


class Overloaded(Busy):
    """A request would wait for longer than it may."""

    def __init__(
        self, key: DefinitionKey, waiting: int, expected: float, deadline: float, retry_after: int
    ) -> None:
        super().__init__(
            f"All workers of service {key} are busy and {waiting} requests wait already. Another "
            f"one would wait for about {expected:.0f} s, and its deadline is {deadline:g} s. "
            f"Try again in {retry_after} s.",
            retry_after=retry_after,
        )


class NoMemoryLeft(Busy):
    """The version is not loaded, and those that are can't be unloaded for it."""

    def __init__(self, key: DefinitionKey, budget: int) -> None:
        super().__init__(
            f"Service {key} can't be loaded: other versions are at work, or have dedicated pools, "
            f"and take the {budget / 2**20:,.0f} MB that there are for all of them "
            "(ScoringSettings.memory_budget). Try again later.",
            retry_after=5,
        )


class NoWorkerLeft(Busy):
    """The version has no worker, and its owner's services have as many as they may have."""

    def __init__(self, key: DefinitionKey, limit: int) -> None:
        super().__init__(
            f"Service {key} has no worker: those of its owner have {limit} together, which is the "
            "limit (ScoringSettings.max_workers_per_user), and all are at work. Try again later.",
            retry_after=5,
        )


class RunTooLong(DeadlinePassed):
    """The code ran longer than it may."""

    def __init__(self, key: DefinitionKey, seconds: float) -> None:
        super().__init__(
            f"The code of service {key} ran longer than {seconds:g} s and was stopped."
        )


class StreamTooLong(DeadlinePassed):
    """The items of an answer did not come in time.

    Parameters
    ----------
    key
        The service version.
    seconds
        What it may take.
    setting
        What limits the whole answer; empty where it is the time between two items.
    """

    def __init__(self, key: DefinitionKey, seconds: float, setting: str = "") -> None:
        limit = (
            f"streamed an answer for more than {seconds:g} s ({setting})"
            if setting
            else f"gave no item for {seconds:g} s (ScoringSettings.deadline_seconds)"
        )
        super().__init__(f"The code of service {key} {limit} and was stopped.")


class StreamLeft(DeadlinePassed):
    """The code did not end after its caller had left."""

    def __init__(self, key: DefinitionKey, seconds: float) -> None:
        super().__init__(
            f"The code of service {key} did not end within {seconds:g} s after the caller of its "
            "stream had left, and was stopped."
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
