"""Routes of the list of compute nodes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from jupyter_mlsvc.wire.models import GetComputeNodesResponse, UpdateComputeNodesRequest
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, route
from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes


class ComputeNodeRoutes:
    """Gives the list, and takes changes that change nothing."""

    def __init__(self, *, compute_nodes: ComputeNodes) -> None:
        self._compute_nodes = compute_nodes

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/computenodes", get=self.list, post=self.set, put=self.add, delete=self.remove),
        ]

    async def list(self, request: ApiRequest) -> Response:
        """Give the list (contract: ``getComputeNodes``)."""
        return json_response(GetComputeNodesResponse(compute_nodes=self._compute_nodes.list()))

    async def set(self, request: ApiRequest) -> Response:
        """Replace the list (contract: ``setComputeNodes``)."""
        self._compute_nodes.set(request.principal, await _entries(request))
        return _unchanged()

    async def add(self, request: ApiRequest) -> Response:
        """Add to the list (contract: ``addComputeNode``)."""
        self._compute_nodes.add(request.principal, await _entries(request))
        return _unchanged()

    async def remove(self, request: ApiRequest) -> Response:
        """Take from the list (contract: ``removeComputeNode``)."""
        self._compute_nodes.remove(request.principal, await _entries(request))
        return _unchanged()


async def _entries(request: ApiRequest) -> Sequence[str]:
    """Read nodes in the body; none without the member, as the contract has it optional."""
    return (await request.parse(UpdateComputeNodesRequest)).entries or ()


def _unchanged() -> Response:
    return json_response("The list of compute nodes is as it was.")
