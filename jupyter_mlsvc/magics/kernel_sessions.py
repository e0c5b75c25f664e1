"""Sessions that end with this kernel: those of a run that no notebook belongs to.

While the kernel lives a thread renews their leases, and when it ends they are closed. Where it is
killed nobody renews them, and the server closes them.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_mlsvc.errors import Gone, MlsvcError, NotFound

if TYPE_CHECKING:
    from jupyter_mlsvc.client.client import Client

_TIMEOUT: Final = (2.0, 4.0)
"""Jupyter kills a kernel that takes more than five seconds to end."""

_RENEWALS: Final = 4
"""Renewals within a lease, so that one that fails costs nothing."""


class KernelSessions:
    """Keeps sessions until this kernel ends.

    Parameters
    ----------
    client : callable
        Gives the client of the notebook. Others are made of it, for the thread and for the end.
    """

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client
        self._leases: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def add(self, session_id: str, lease_seconds: float | None) -> None:
        """Close a session when the kernel ends, and renew its lease until then if it has one."""
        with self._lock:
            if not self._leases:
                atexit.register(self._close)
            self._leases[session_id] = lease_seconds or 0.0
            if lease_seconds and self._thread is None:
                self._stopped = threading.Event()
                self._thread = threading.Thread(
                    target=self._renew, args=(self._stopped,), name="mlsvc-lease", daemon=True
                )
                self._thread.start()

    def discard(self, session_id: str) -> None:
        """Forget a session that has ended."""
        with self._lock:
            self._leases.pop(session_id, None)
            if not self._leases:
                self._stop()

    def clear(self) -> None:
        """Forget all; those with a lease end with it."""
        with self._lock:
            self._leases.clear()
            self._stop()

    def _stop(self) -> None:
        atexit.unregister(self._close)
        self._stopped.set()
        self._thread = None

    def _renew(self, stopped: threading.Event) -> None:
        client: Client | None = None
        while True:
            with self._lock:
                leases = {key: seconds for key, seconds in self._leases.items() if seconds}
            if stopped.wait(min(leases.values(), default=60.0) / _RENEWALS):
                break
            for session_id in leases:
                try:
                    client = client or self._client().clone()
                    client.sessions.with_id(session_id).renew()
                except (NotFound, Gone):
                    self.discard(session_id)
                except MlsvcError:
                    continue
        if client is not None:
            client.close()

    def _close(self) -> None:
        # A child that was forked has a copy of this list, and no right to it.
        if os.getpid() != self._process or not self._leases:
            return
        with suppress(MlsvcError), self._client().clone(_TIMEOUT) as client:
            for session_id in tuple(self._leases):
                # By force: nobody waits for what runs there.
                client.sessions.with_id(session_id).close(force=True)


def kernel_id(shell: Any) -> str:
    """Return the id that Jupyter knows this kernel by, or one for a process without a kernel."""
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        with suppress(Exception):
            from ipykernel.connect import get_connection_file

            stem = Path(get_connection_file()).stem
            found = re.search(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", stem)
            if found is not None:
                return found[0]
        return str(kernel.ident)
    return str(uuid.uuid4())
