"""The list of compute nodes, which are the machines that run code: here this one alone."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from traitlets import Unicode
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest


class ComputeNodes(LoggingConfigurable):
    """Answers the contract's calls about compute nodes for a server that has one."""

    local_node = Unicode(
        "http://localhost:12805/",
        help="Name of the compute node, which is the server itself, in its status, its list of "
        "compute nodes and the state of pools. It is an address by the contract; nothing listens "
        "there.",
    ).tag(config=True)

    def list(self) -> list[str]:
        """List the nodes (contract: ``getComputeNodes``)."""
        return [self.local_node]

    def set(self, principal: Principal, entries: Sequence[str]) -> None:
        """Take a list of nodes that is the one it has (contract: ``setComputeNodes``).

        Raises
        ------
        Forbidden
            The caller is no Owner.
        BadRequest
            Another node is in the list, or the local one is not.
        """
        self._require_local(principal, entries)
        if not entries:
            raise BadRequest(f"The list is empty. {self._only_node}")

    def add(self, principal: Principal, entries: Sequence[str]) -> None:
        """Take nodes that are in the list already (contract: ``addComputeNode``).

        Raises
        ------
        Forbidden, BadRequest
            As for :meth:`set`.
        """
        self._require_local(principal, entries)

    def remove(self, principal: Principal, entries: Sequence[str]) -> None:
        """Refuse to do without the only node (contract: ``removeComputeNode``).

        Raises
        ------
        Forbidden, BadRequest
            As for :meth:`set`; and one of the entries is the local node.
        """
        self._require_local(principal, entries)
        if entries:
            raise BadRequest(f"{self.local_node} can't be removed. {self._only_node}")

    @property
    def _only_node(self) -> str:
        return f"This server runs all code itself: {self.local_node} is its only compute node."

    def _require_local(self, principal: Principal, entries: Sequence[str]) -> None:
        require(principal, Action.ADMINISTER, None, "change the list of compute nodes")
        local = _same(self.local_node)
        others = [entry for entry in entries if _same(entry) != local]
        if others:
            raise BadRequest(f"{', '.join(others)} can't be a compute node here. {self._only_node}")


def _same(uri: str) -> tuple[str, str, str]:
    """Make addresses alike that mean the same."""
    scheme, place, path, *_ = urlsplit(uri.strip())
    return scheme, place.lower(), path.rstrip("/")
