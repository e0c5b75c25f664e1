"""Base of the magics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

from jupyter_mlsvc.magics.connection import MlsvcConnection


class MlsvcMagics(Magics):
    """Magics that share a connection.

    Parameters
    ----------
    shell : InteractiveShell
        Where they are registered.
    connection : MlsvcConnection
        The client and the current session.
    """

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell, *, connection: MlsvcConnection) -> None:
        super().__init__(shell)
        self.connection = connection

    def namespace(self, local_ns: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Variables that the caller sees."""
        user: dict[str, Any] = self.shell.user_ns
        return user if local_ns is None or local_ns is user else {**user, **local_ns}
