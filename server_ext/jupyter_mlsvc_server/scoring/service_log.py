"""Logs of service versions: what their code has printed, kept in memory within bounds.

Only a call that prints, raises or loses its process makes an entry. The log of a version outlives
its processes and revisions, and goes with the version or the server.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal

from jupyter_mlsvc_server.scoring.definition import DefinitionKey

MAX_ENTRIES: Final = 1000
"""Entries of a version that are kept."""

_SHARE: Final = 8
"""Versions that could fill all of the memory together; one alone gets this part of it."""

_ENTRY_BYTES: Final = 300
"""What an entry takes beside its text."""

Level = Literal["info", "error"]


class LogEntry:
    """What a request has printed, or how a process has ended.

    Attributes
    ----------
    id : int
        Greater than those of all entries before it, of those before a restart too.
    time : float
        Seconds since 1970.
    level : str
        ``error`` where the code has raised or a process has ended, else ``info``.
    text : str
        What was printed, with the traceback where the code has raised.
    problem : str
        What went wrong, in a line; empty where nothing did.
    request_id : str
        Id of the request, as its caller got it; empty where there is none.
    trace_id : str
        Id of the request's trace; empty where it is not traced.
    """

    __slots__ = ("id", "level", "problem", "request_id", "text", "time", "trace_id")

    def __init__(self, number: int, at: float, level: Level, text: str, problem: str) -> None:
        self.id = number
        self.time = at
        self.level: Level = level
        self.text = text
        self.problem = problem
        self.request_id = ""
        self.trace_id = ""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return _ENTRY_BYTES + sys.getsizeof(self.text) + sys.getsizeof(self.problem)


class ServiceLog:
    """The newest entries of a version.

    Parameters
    ----------
    store
        What all versions share.
    """

    def __init__(self, store: ServiceLogs) -> None:
        self._store = store
        self._entries: deque[LogEntry] = deque()
        self.size = 0
        self.is_dropped = False
        """Whether the version is gone; its last calls may still run."""

    def add(self, level: Level, text: str, problem: str = "") -> LogEntry | None:
        """Add an entry; return it, or None where nothing is kept."""
        if not self._store.limit or self.is_dropped:
            return None
        entry = LogEntry(self._store.next_id(), self._store.clock(), level, text, problem)
        self._entries.append(entry)
        self._resize(entry.size)
        while len(self._entries) > MAX_ENTRIES or (
            self.size > self._store.limit // _SHARE and len(self._entries) > 1
        ):
            self.forget_oldest()
        self._store.make_room(self)
        return entry

    def forget_oldest(self) -> None:
        """Drop the oldest entry."""
        self._resize(-self._entries.popleft().size)

    def _resize(self, by: int) -> None:
        self.size += by
        self._store.size += by

    def entries(self, *, after: int | None, limit: int) -> Sequence[LogEntry]:
        """Return entries, oldest first; see ``ScoringEngine.logs``."""
        if after is None:
            return [*self._entries][-limit:] if limit else []
        newer = itertools.dropwhile(lambda entry: entry.id <= after, self._entries)
        return [*itertools.islice(newer, limit)]

    def __len__(self) -> int:
        return len(self._entries)


class ServiceLogs:
    """The logs of all versions.

    Parameters
    ----------
    limit
        Bytes that they may take together, about; 0 keeps nothing.
    clock
        Seconds since 1970.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self.clock = clock
        self.size = 0
        # By the time of the start, so that ids go on after a restart: nobody logs one each 10 µs.
        self.next_id = itertools.count(int(clock() * 1e5)).__next__
        self._logs: dict[DefinitionKey, ServiceLog] = {}

    def of(self, key: DefinitionKey) -> ServiceLog:
        """Return the log of a version, an empty one where there is none."""
        return self._logs.setdefault(key, ServiceLog(self))

    def drop(self, key: DefinitionKey) -> None:
        """Forget the log of a version."""
        log = self._logs.pop(key, None)
        if log is not None:
            log.is_dropped = True
            self.size -= log.size

    def make_room(self, newest: ServiceLog) -> None:
        """Have those that were quiet for longest forget, until all fit."""
        if self.size <= self.limit:
            return
        for log in sorted(self._logs.values(), key=_last_id):
            while len(log) > (log is newest) and self.size > self.limit:
                log.forget_oldest()


def _last_id(log: ServiceLog) -> int:
    last = log.entries(after=None, limit=1)
    return last[0].id if last else 0
