"""The compute node has the name that it is given."""

from __future__ import annotations

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes


def test_the_local_node_has_the_name_that_is_set() -> None:
    name = "http://node-7:9999/"
    nodes = ComputeNodes(config=Config({"ComputeNodes": {"local_node": name}}))
    owner = Principal("olga", "olga", Role.OWNER)
    assert nodes.list() == [name]
    nodes.set(owner, [name])
    with pytest.raises(BadRequest, match="http://node-7:9999/ is its only compute node"):
        nodes.set(owner, ["http://localhost:12805/"])
