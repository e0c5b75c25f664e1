"""How far the server is in its life."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_mlsvc_server.errors import NotServing


@dataclass(slots=True)
class Lifecycle:
    """What operations need to know of the server; ``server`` writes it.

    Attributes
    ----------
    is_ready
        Whether all managers have started.
    is_stopping
        Whether they are being stopped.
    public_url
        Address of the public API; empty while its port is closed.
    metrics_url
        Address of the metrics where they have one of their own.
    problem
        What does not work though the server runs, and what to do; empty for nothing.
    """

    is_ready: bool = False
    is_stopping: bool = False
    public_url: str = ""
    metrics_url: str = ""
    problem: str = ""

    def require_ready(self) -> None:
        """Raise ``NotServing`` unless all managers have started."""
        if not self.is_ready:
            raise NotServing(is_stopping=self.is_stopping)
