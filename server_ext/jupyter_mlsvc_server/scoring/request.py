"""A request on its way through the pool of a service version."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.recent_calls import Caller

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.group import Group
    from jupyter_mlsvc_server.scoring.stream import AnswerStream

Ended = Callable[[ScoringAnswer | MlsvcServerError], None]
"""What is called with the answer to a request, or with an error."""


class PendingRequest:
    """A request that has no answer yet.

    Parameters
    ----------
    key
        The service version.
    body
        The request, as it came.
    ended
        Called once with the answer, or the error that there is instead.
    group
        The group that the request belongs to, if any.
    caller
        Who made the request, where that is known.
    id
        By which the caller knows the request.
    stream
        Where the items of the answer go, if the caller takes them as they come.
    """

    __slots__ = (
        "_ended", "arrived", "attempts", "body", "caller", "cancelled_at", "group", "id", "is_over",
        "is_suspect", "key", "number", "started", "starts", "stream", "waits_since",
    )  # fmt: skip

    def __init__(
        self,
        key: DefinitionKey,
        body: Body,
        ended: Ended,
        group: Group | None = None,
        caller: Caller | None = None,
        id: int | str = "",  # noqa: A002 - as it is called everywhere
        stream: AnswerStream | None = None,
    ) -> None:
        self.key = key
        self.body = body
        self.group = group
        self.caller = caller
        self.id = id
        self.stream = stream
        self.arrived = self.started = self.waits_since = 0.0
        self.cancelled_at = 0.0
        """When its worker was told to cancel it; 0 where it was not."""
        self.number = 0
        """Number of the request on the connection to its worker."""
        self.attempts = 0
        """Pools that went before they could answer."""
        self.starts = 0
        """Workers that ended over it."""
        self.is_suspect = False
        """Whether a worker ended over it and may have ended over others; it runs alone now."""
        self.is_over = False
        """Whether nobody waits for an answer any more."""
        self._ended = ended

    def end(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        """Give the caller an outcome, unless they have one or have left."""
        if not self.is_over:
            self.is_over = True
            self._ended(outcome)

    def abandon(self) -> None:
        """Forget the caller, who left; if the request runs, its answer is read and dropped."""
        self.is_over = True
