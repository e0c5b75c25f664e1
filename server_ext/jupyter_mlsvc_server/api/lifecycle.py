"""How far the server is in its life.

::

    starting ──► serving ──► draining ──► stopping
                    │                        ▲
                    └────────────────────────┘

A server that drains answers all calls, but says that it is not ready, and asks each client to go
elsewhere with the next one. One that stops lets what runs end, and takes nothing new.
"""

from __future__ import annotations

import asyncio
import enum
import re
from dataclasses import dataclass, field
from typing import Final

from jupyter_mlsvc_server.errors import NotServing

_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


class Stage(enum.Enum):
    """Where the server is in its life."""

    STARTING = enum.auto()
    SERVING = enum.auto()
    DRAINING = enum.auto()
    STOPPING = enum.auto()


@dataclass(slots=True)
class Lifecycle:
    """What operations need to know of the server; ``server`` writes it.

    Attributes
    ----------
    stage
        Where the server is; :meth:`stop` is the way to the last one.
    public_url
        Address of the public API, as programs are told; empty while its port is closed.
    is_at_any_address
        Whether the public API listens at all addresses of the machine.
    metrics_url
        Address of the metrics where they have one of their own.
    problem
        What does not work though the server runs, and what to do; empty for nothing.
    stopping
        Set once the server stops; streams that have no end of their own end then.
    """

    stage: Stage = Stage.STARTING
    public_url: str = ""
    is_at_any_address: bool = False
    metrics_url: str = ""
    problem: str = ""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Take nothing new any more; may be called twice."""
        self.stage = Stage.STOPPING
        self.stopping.set()

    def public_url_for(self, host: str) -> str:
        """Return the address of the public API for a caller who used a ``Host`` header."""
        if not self.is_at_any_address or not _HOST.fullmatch(host):
            return self.public_url
        scheme, _, address = self.public_url.partition("://")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return f"{scheme}://{name}:{address.rpartition(':')[2]}"

    def require_serving(self) -> None:
        """Raise ``NotServing`` unless calls are answered."""
        if self.stage not in {Stage.SERVING, Stage.DRAINING}:
            raise NotServing(is_stopping=self.stage is Stage.STOPPING)

    def require_ready(self) -> None:
        """Raise ``NotServing`` unless new clients are welcome."""
        if self.stage is not Stage.SERVING:
            raise NotServing(is_stopping=self.stage is not Stage.STARTING)
