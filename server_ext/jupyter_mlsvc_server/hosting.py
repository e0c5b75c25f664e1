"""What a server does otherwise while it has hosts: configured by one, ended with the last.

A host is a Jupyter server. It starts the server as a child with its configuration at standard
input, and holds a stream open, its lease. Nothing here knows HTTP; ``api/host.py`` has the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from socket import AF_UNIX, SOCK_DGRAM
from typing import IO, Any, Final

import msgspec
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigList, DeferredConfigString, LazyConfigValue

from jupyter_mlsvc_server.formats.host import ChildInput, StartProblem

_GRACE: Final = 3.0
"""Seconds after the last lease until the server ends: a host may have lost its connection only."""
_FIRST_LEASE: Final = 60.0
"""Seconds that the server waits for a host at all."""


class Leases:
    """Counts the hosts of a server, and ends it after the last.

    Parameters
    ----------
    end
        Called once when no host is left; None where the server does not depend on hosts.
    grace, first_lease
        Seconds without a host until the end, later and at the start.
    """

    def __init__(
        self,
        end: Callable[[], object] | None = None,
        *,
        grace: float = _GRACE,
        first_lease: float = _FIRST_LEASE,
    ) -> None:
        self._end = end
        self._grace = grace
        self._first_lease = first_lease
        self._count = 0
        self._is_farewell = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Hosts that there are."""
        return self._count

    def start(self) -> None:
        """Begin to wait for the first host."""
        if self._count == 0:
            self._end_in(self._first_lease)

    def stop(self) -> None:
        """End nothing any more; may be called twice."""
        self._end = None
        self._cancel()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be one more host while this is open."""
        self._count += 1
        self._cancel()
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._end_in(0 if self._is_farewell else self._grace)
            self._is_farewell = False

    def say_farewell(self) -> bool:
        """Note that the next lease which ends does not come back.

        Returns
        -------
        bool
            Whether the server ends then.
        """
        is_last = self._end is not None and self._count <= 1
        self._is_farewell = True
        return is_last

    def _end_in(self, seconds: float) -> None:
        if self._end is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def notify_service_manager(state: str) -> None:
    """Tell systemd how far this server is, where it wants to know (``Type=notify``)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(AF_UNIX, SOCK_DGRAM) as notice:
            notice.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            notice.send(state.encode())


class StartReport(logging.Handler):
    """Tells the host why the server does not start: the last critical line of the log.

    The host reads it from the standard output of its child. Nothing else is to be written there,
    so what this process and its children print goes to standard error from now on.
    """

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self._report: IO[bytes] = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        with contextlib.suppress(OSError, ValueError):
            self._report.write(msgspec.json.encode(StartProblem(record.getMessage())) + b"\n")
            self._report.flush()

    def close(self) -> None:
        """Send nothing any more: the server serves."""
        super().close()
        with contextlib.suppress(OSError):
            self._report.close()


def read_host_config() -> Config:
    """Read what the host writes to standard input: configuration, and variables for us alone."""
    given = msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=ChildInput)
    os.environ.update(given.secrets)
    return Config(
        {
            name: Config({key: _restored(value) for key, value in section.items()})
            for name, section in given.sections.items()
        }
    )


def _restored(value: Any) -> object:
    """Make a value of a configuration from JSON; the kinds that JSON has not are marked."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    match value:
        case {"$text": str(text)}:
            return DeferredConfigString(text)
        case {"$texts": [*texts]}:
            return DeferredConfigList(texts)
        case {"$set": [*items]}:
            return {_restored(item) for item in items}
        case {"$changes": {**changes}}:
            return _lazy({str(key): _restored(change) for key, change in changes.items()})
        case dict():
            return {str(key): _restored(item) for key, item in value.items()}
    return value


def _lazy(changes: dict[str, Any]) -> LazyConfigValue:
    lazy = LazyConfigValue()
    lazy.extend(changes.get("extend", []))
    lazy.prepend(changes.get("prepend", []))
    for index, item in changes.get("inserts", []):
        lazy.insert(index, item)
    if "update" in changes:
        lazy.update(changes["update"])
    return lazy
