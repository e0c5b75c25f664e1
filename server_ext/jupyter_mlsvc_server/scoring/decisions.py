"""What the scheduler of a pool decides, and the workers as it knows them."""

from __future__ import annotations

from collections import deque

import msgspec

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.request import PendingRequest


class Worker:
    """A worker as the scheduler knows it.

    Parameters
    ----------
    batch_size
        Requests that it answers together, or runs at a time.
    is_concurrent
        Whether it begins with each request when it gets it, and answers in any order.
    """

    __slots__ = (
        "batch_size", "began", "idle_since", "is_concurrent", "is_leaving", "is_lost", "is_stalled",
        "requests", "sent",
    )  # fmt: skip

    def __init__(self, batch_size: int = 1, *, is_concurrent: bool = False) -> None:
        self.batch_size = batch_size
        self.is_concurrent = is_concurrent
        self.began = 0.0
        """When it could take its first request."""
        self.requests: deque[PendingRequest] = deque()
        """Requests that it was given and has not answered; the first one runs."""
        self.idle_since = 0.0
        self.sent = 0
        """Requests that it was given since its start."""
        self.is_leaving = False
        """Whether it gets no more requests, because it ends."""
        self.is_stalled = False
        """Whether it has not answered a request that it was to cancel at its deadline."""
        self.is_lost = False
        """Whether nothing can be sent to it any more."""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a worker a request; `more_wait` says whether others wait for room."""

    worker: Worker
    request: PendingRequest
    more_wait: bool


class Fail(msgspec.Struct, frozen=True, gc=False):
    """Give a caller an error that counts as a failure of the service."""

    request: PendingRequest
    error: MlsvcServerError


class GiveBack(msgspec.Struct, frozen=True, gc=False):
    """Give a group an error for a request that no worker had room for."""

    request: PendingRequest
    error: MlsvcServerError


class PassOn(msgspec.Struct, frozen=True, gc=False):
    """Have a request that has not run answered by another pool."""

    request: PendingRequest


class StartWorker(msgspec.Struct, frozen=True, gc=False):
    """Start a worker, and report that it started or did not."""


class CloseWorker(msgspec.Struct, frozen=True, gc=False):
    """Let a worker end that has no request."""

    worker: Worker


class KillWorker(msgspec.Struct, frozen=True, gc=False):
    """End a worker at once, whose request is over its deadline or could not be stopped."""

    worker: Worker
    problem: MlsvcServerError


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Have a worker cancel a request that it runs among others."""

    worker: Worker
    request: PendingRequest


class AwaitExit(msgspec.Struct, frozen=True, gc=False):
    """Find out how a worker ended, and report it where a request waits for that."""

    worker: Worker
    request: PendingRequest | None
    was_expected: bool


class MakeRoom(msgspec.Struct, frozen=True, gc=False):
    """Let idle workers of the same person's other versions go; it may be for the first one here."""

    is_first: bool


class WakeUp(msgspec.Struct, frozen=True, gc=False):
    """Report after so many seconds that a pause is over."""

    seconds: float


Decision = (
    Send
    | Fail
    | GiveBack
    | PassOn
    | StartWorker
    | CloseWorker
    | KillWorker
    | Cancel
    | AwaitExit
    | MakeRoom
    | WakeUp
)
