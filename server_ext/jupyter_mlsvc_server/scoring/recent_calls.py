"""The newest calls of service versions, one by one, kept in memory within bounds.

Every call makes a record, so that has to cost little: it is one tuple that is appended to a queue
of fixed length, and nothing is formatted until somebody reads it. Calls that went wrong have a
queue of their own, so that those which succeed don't push them out.

What a call printed is in the log of its version (:mod:`.service_log`); a record has the number of
its entry. A call that failed keeps its text besides: others may print much meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import msgspec

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.definition import DefinitionKey

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.request import PendingRequest

MAX_CALLS: Final = 1000
"""Calls of a version that may be kept, and as many of those that went wrong."""

MAX_BODY_BYTES: Final = 2**14
"""Bytes of a request, and of an answer, that are kept where a version keeps bodies."""

_CALL_BYTES: Final = 320
"""What a record takes beside its texts, about."""

_SHARE: Final = 8
"""Versions whose texts could fill all of the memory together."""

CallerKind = Literal["person", "key", "batch"]


class Caller(Protocol):
    """Who has made a call."""

    @property
    def name(self) -> str:
        """Name of the person or of the service key."""

    @property
    def kind(self) -> CallerKind:
        """What they are."""


class BatchCaller(msgspec.Struct, frozen=True):
    """A batch, which calls for its owner.

    Attributes
    ----------
    name
        Name of the owner.
    batch_id
        Id of the batch; that of a request is the number of its record.
    """

    name: str
    batch_id: str
    kind: CallerKind = "batch"


class RecentCall(NamedTuple):
    """A call that is over.

    Attributes
    ----------
    number : int
        Greater than those of the version's calls before it, since the server started.
    time : float
        When it was over, in seconds since 1970.
    seconds : float or None
        From its arrival to its answer; None where it came into no queue.
    caller : Caller or None
        Who made it, where that is known.
    request_id : int or str
        Id of the request, or a number by which who has sent it knows that.
    request_bytes, answer_bytes : int
        Sizes of the bodies.
    status : int
        Status of the answer.
    success : bool
        Whether the code ran through and gave its outputs.
    problem : str
        What went wrong, in a line; empty where nothing did, and where the answer says so.
    entry_id : int
        Number of its entry in the log of the version; 0 without one.
    text : str
        What it printed and its traceback, where it failed.
    request, answer : bytes or None
        Beginnings of the bodies, where the version keeps them.
    first_item : float or None
        From its arrival to the first item, where it was answered item by item.
    """

    number: int
    time: float
    seconds: float | None
    caller: Caller | None
    request_id: int | str
    request_bytes: int
    answer_bytes: int
    status: int = 200
    success: bool = True
    problem: str = ""
    entry_id: int = 0
    text: str = ""
    request: bytes | None = None
    answer: bytes | None = None
    first_item: float | None = None

    @property
    def text_bytes(self) -> int:
        """Bytes that its text and its bodies take, about."""
        return len(self.text) + len(self.request or b"") + len(self.answer or b"")


ShortCall = tuple[int, float, float, Caller | None, int | str, int, int]
"""The first members of a :class:`RecentCall`, which are all that is to be said of most calls."""

_number = itemgetter(0)
"""Returns the number of either."""


class RecentCalls:
    """The newest calls of a version.

    Parameters
    ----------
    store
        What all versions share.
    """

    __slots__ = ("_failed", "_store", "_succeeded", "add")

    def __init__(self, store: RecentCallStore) -> None:
        self._store = store
        self._succeeded: deque[ShortCall | RecentCall] = deque(maxlen=store.most)
        self._failed: deque[RecentCall] = deque(maxlen=store.most)
        self.add = self._succeeded.append
        """Keep a call that succeeded, without bodies."""

    def add_other(self, call: RecentCall) -> None:
        """Keep a call that failed or has bodies."""
        if call.success:
            self._succeeded.append(call)
        else:
            self._failed.append(call)
        if call.text_bytes:
            self._bound_texts()
        self._store.note(_CALL_BYTES + call.text_bytes)

    def add_unanswered(
        self, number: int, moment: float, request: PendingRequest, error: MlsvcServerError
    ) -> None:
        """Keep a call that no worker has answered."""
        seconds = monotonic() - request.arrived if request.arrived else None
        size = len(request.body)
        self.add_other(
            RecentCall(
                *(number, moment, seconds, request.caller, request.id, size, 0),
                status=error.status,
                success=False,
                problem=error.message,
            )
        )

    def _bound_texts(self) -> None:
        while self.size > self._store.limit // _SHARE and len(self) > 1:
            self.forget_oldest()

    def list(self, *, limit: int, only_failed: bool = False) -> Sequence[RecentCall]:
        """Return the newest calls in this number, the newest first."""
        calls = [*self._failed] if only_failed else [*self._failed, *self._succeeded]
        return [_whole(call) for call in sorted(calls, key=_number, reverse=True)[:limit]]

    def find(self, number: int) -> RecentCall | None:
        """Return the call with a number; None where it is not kept."""
        calls = (*self._failed, *self._succeeded)
        return next((_whole(call) for call in calls if _number(call) == number), None)

    def forget_oldest(self) -> None:
        """Drop the oldest call."""
        failed, succeeded = self._failed, self._succeeded
        if failed and (not succeeded or _number(failed[0]) < _number(succeeded[0])):
            failed.popleft()
        else:
            succeeded.popleft()

    def forget_bodies(self) -> None:
        """Drop what is kept of bodies; the version keeps none from now on."""
        failed = [_bare(call) for call in self._failed]
        succeeded = [_bare(_whole(call)) for call in self._succeeded]
        self.clear()
        self._failed.extend(failed)
        self._succeeded.extend(succeeded)

    def clear(self) -> None:
        """Drop all calls."""
        self._failed.clear()
        self._succeeded.clear()

    @property
    def size(self) -> int:
        """Bytes that they take, about."""
        calls = (*self._failed, *self._succeeded)
        texts = sum(call.text_bytes for call in calls if isinstance(call, RecentCall))
        return len(self) * _CALL_BYTES + texts

    @property
    def last_time(self) -> float:
        """When the last call was over; 0 without one."""
        return max((queue[-1][1] for queue in (self._failed, self._succeeded) if queue), default=0)

    def __len__(self) -> int:
        return len(self._failed) + len(self._succeeded)


class RecentCallStore:
    """The newest calls of all versions.

    Parameters
    ----------
    most
        Calls of a version that are kept, and as many that failed; 0 keeps none.
    limit
        Bytes that all may take together, about.
    """

    def __init__(self, most: int, limit: int) -> None:
        self.most = most
        self.limit = limit
        self._unseen = 0
        self._versions: dict[DefinitionKey, RecentCalls] = {}

    def of(self, key: DefinitionKey) -> RecentCalls:
        """Return the calls of a version, none where there are none."""
        found = self._versions.get(key)
        if found is None:
            found = self._versions[key] = RecentCalls(self)
        return found

    def drop(self, key: DefinitionKey) -> None:
        """Forget the calls of a version."""
        self._versions.pop(key, None)

    def note(self, size: int) -> None:
        """Count bytes that came, and make room once they are many."""
        self._unseen += size
        if self._unseen > self.limit // _SHARE:
            self.make_room()

    def make_room(self) -> None:
        """Have versions that were quiet for longest forget their calls, until all fit."""
        self._unseen = 0
        sizes = {key: calls.size for key, calls in self._versions.items()}
        total = sum(sizes.values())
        for key in sorted(sizes, key=lambda key: self._versions[key].last_time):
            if total <= self.limit:
                return
            self._versions[key].clear()
            total -= sizes[key]


def _whole(call: ShortCall | RecentCall) -> RecentCall:
    return call if isinstance(call, RecentCall) else RecentCall(*call)


def _bare(call: RecentCall) -> RecentCall:
    return call._replace(request=None, answer=None)  # noqa: SLF001 - public of named tuples
