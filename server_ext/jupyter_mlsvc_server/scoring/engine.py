"""The interface of all that runs services: the local pools here, a cluster elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.recent_calls import Caller, RecentCall
from jupyter_mlsvc_server.scoring.service_log import LogEntry
from jupyter_mlsvc_server.scoring.statistics import EngineCounters, Figures
from jupyter_mlsvc_server.scoring.stream import AnswerStream
from jupyter_mlsvc_server.scoring.trial import TrialOutcome

Definitions = Callable[[str, str], Awaitable[ServiceDefinition]]
"""Finds the definition of a name and version; raises a ``NotFound`` when there is none."""


Answered = Callable[[str, str], None]
"""Takes name and version of one that has given its first answer since its workers were started."""


class CallTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a call was where, in seconds by the monotonic clock.

    Attributes
    ----------
    arrived, started, answered : float
        When it came into the queue, when its worker began with it, and when the answer was there.
    code_began, code_ended : float
        When the code of the service ran.
    """

    arrived: float
    started: float
    answered: float
    code_began: float
    code_ended: float


class ScoringAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Answer to one request.

    Attributes
    ----------
    status : int
        200 for a result, 400 for a request that does not fit the inputs.
    body : bytes or Pieces
        A ``WebServiceResult`` in JSON or as a stream of Arrow, or an Error body.
    success : bool
        Whether the user's code ran through and gave its outputs.
    needs_id : bool
        Whether the id of the request belongs into the answer or its entry in a log.
    entry : LogEntry or None
        Entry of the request in the log of its version, where it printed anything.
    times : CallTimes or None
        When it was where, in a server that makes traces.
    """

    status: int
    body: Body
    success: bool
    needs_id: bool = False
    entry: LogEntry | None = None
    times: CallTimes | None = None


Outcome = ScoringAnswer | MlsvcServerError
"""An answer, or the error that there is instead."""


class ScoringEngine(Protocol):
    """Runs service versions."""

    definitions: Definitions
    answered: Answered

    async def start(self) -> None:
        """Get ready."""

    async def stop(self) -> None:
        """End all that runs; may be called twice."""

    def warm_up(self, published: Collection[DefinitionKey]) -> None:
        """Prepare for calls of what is published; returns at once.

        Called once, after :meth:`resize` for those that have pools of their own.
        """

    def expect_publish(self) -> None:
        """Prepare for a first publish, which may come soon; returns at once, however often."""

    async def until_warm(self) -> None:
        """Wait until what :meth:`warm_up` began is done, as well as it can be."""

    @property
    def is_ready(self) -> bool:
        """Whether it is warm, and calls can be answered now."""

    async def check(self, definition: ServiceDefinition, call: bytes | None = None) -> TrialOutcome:
        """Try whether a definition can be served, in a clean process, and run it once.

        Parameters
        ----------
        call
            The body of a request. Without one only what runs before each request is run.

        Raises
        ------
        BadRequest
            It can't: a syntax error with its line and a caret, a name that the code needs and the
            snapshot does not hold, a snapshot that can't be restored.
        """

    async def put(self, definition: ServiceDefinition) -> None:
        """Serve a new version, or a new revision of one; what runs finishes on the old one."""

    async def remove(self, name: str, version: str) -> None:
        """Serve a version no longer; what runs finishes."""

    async def loaded(self) -> Mapping[DefinitionKey, str]:
        """List the versions that are loaded, with the ids of their revisions."""

    async def unload(self, name: str, version: str, revision_id: str) -> None:
        """Give up a revision that is loaded; what runs finishes, and the next call loads anew."""

    @property
    def usual_size(self) -> PoolSize:
        """Size of the pool of a version that has no dedicated one."""

    @property
    def max_workers_per_user(self) -> int:
        """Workers that all services of one person may have together; 0 for any number."""

    def resize(self, name: str, version: str, size: PoolSize | None) -> None:
        """Give a version workers of its own in this number, or the usual one with None.

        Returns at once; what is to be kept starts on its own, now and whenever it ends.
        """

    def reject(
        self,
        name: str,
        version: str,
        error: MlsvcServerError,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> None:
        """Count a request of somebody who may call that was refused for how it was sent."""

    async def has_size(self, name: str, version: str, size: PoolSize) -> bool:
        """Whether the pool of a version has this size and all the workers that are to be kept."""

    async def consume(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> ScoringAnswer:
        """Answer one request.

        Parameters
        ----------
        caller, request_id
            Who made it, and its id, for the list of the newest calls.

        Raises
        ------
        NotFound
            There is no such service version.
        Busy
            All workers are busy and the queue is full.
        DeadlinePassed
            It took longer than it may, and was stopped.
        MlsvcServerError
            The worker ended in the middle, or none can be started.
        """

    def stream(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> AnswerStream:
        """Answer one request item by item; what :meth:`consume` raises is the stream's outcome."""

    async def consume_many(
        self,
        key: DefinitionKey,
        bodies: Sequence[bytes],
        at_a_time: int,
        caller: Caller | None = None,
        numbers: Sequence[int] = (),
    ) -> list[Outcome]:
        """Answer several requests, beside those whose callers wait; tells what became of each.

        Parameters
        ----------
        at_a_time
            How many of them may run at a time. The others wait, and a ``WaitTooLong`` becomes of
            those that no worker has room for soon.
        caller, numbers
            Who made them, and by which numbers that one knows them.

        Raises
        ------
        MlsvcServerError
            The engine can't be asked now, or ended in the middle; any of them may have run.
        """

    async def statistics(self) -> dict[str, Any]:
        """Count ``services`` that are loaded, ``workers``, and ``r_workers`` among them.

        ``last_call`` is in seconds since 1970, or None.
        """

    async def all_figures(self) -> Mapping[DefinitionKey, Figures]:
        """Tell of all versions that are loaded, or were called since the engine started."""

    async def failing(self) -> Mapping[DefinitionKey, str]:
        """Return the versions whose processes keep ending or can't be started, each with why."""

    async def figures(self, name: str, version: str, *, with_history: bool = False) -> Figures:
        """Tell how a version is and what it did; zeros for one that is not known."""

    async def counters(self) -> EngineCounters:
        """Return counters of all versions that are loaded or were called; it costs little."""

    async def logs(
        self, name: str, version: str, *, after: int | None, limit: int
    ) -> Sequence[LogEntry]:
        """Return what a version has printed, oldest first: the newest entries in this number.

        With ``after`` only entries with a greater id, and the oldest of these in this number.
        """

    async def calls(
        self, name: str, version: str, *, limit: int, only_failed: bool = False
    ) -> Sequence[RecentCall]:
        """Return the newest calls of a version in this number, the newest first."""

    async def call(self, name: str, version: str, number: int) -> RecentCall | None:
        """Return one of these calls; None where it is not kept."""

    async def memory_of(self, name: str, version: str) -> int:
        """Measure the memory of a version's processes, in bytes; what they share counts once."""
