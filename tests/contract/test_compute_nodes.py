"""Compute nodes: the list has one entry, and nobody can make it another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error

pytestmark = pytest.mark.kernel

OTHER = "http://1.1.1.1:10-12"


def nodes(door: Door) -> list[str]:
    answer = door.get("/computenodes")
    assert answer.status_code == 200
    assert list(answer.json()) == ["computeNodes"]
    listed: list[str] = answer.json()["computeNodes"]
    return listed


def test_the_one_node_is_a_back_end_of_the_status(door: Door) -> None:
    (node,) = nodes(door)
    back_ends = door.get("/status").json()["components"]["backends"]["components"]
    assert list(back_ends) == [node]
    details = back_ends[node]["details"]
    assert details["pythonCanOpenShell"] == "True"
    assert details["pythonMaxPoolSize"] > 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_owner_may_name_the_node_that_is_there(door: Door, method: str) -> None:
    (node,) = nodes(door)
    for entry in (node, node.rstrip("/"), node.replace("localhost", "LocalHost")):
        answer = door.call(method, "/computenodes", json={"entries": [entry]})
        assert answer.status_code == 200, answer.text
    assert nodes(door) == [node]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_node_is_400(door: Door, method: str) -> None:
    (node,) = nodes(door)
    for entries in ([OTHER], [node, OTHER]):
        answer = door.call(method, "/computenodes", json={"entries": entries})
        assert_error(answer, 400, OTHER, node)
    assert nodes(door) == [node]


def test_the_only_node_stays(door: Door) -> None:
    (node,) = nodes(door)
    assert_error(door.delete("/computenodes", json={"entries": [node]}), 400, "removed")
    assert_error(door.post("/computenodes", json={"entries": []}), 400, "empty")
    assert_error(door.post("/computenodes", json={}), 400, "empty")
    assert nodes(door) == [node]


BODIES: list[Any] = [{"entries": "x"}, {"entries": [1]}, ["x"]]


@pytest.mark.parametrize("body", BODIES, ids=map(str, BODIES))
def test_a_body_that_does_not_fit_is_400(door: Door, body: Any) -> None:
    assert_error(door.put("/computenodes", json=body), 400)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["ana", "rita"])
def test_only_an_owner_may_change_the_list(
    door: Door, people: Callable[[str], str], method: str, name: str
) -> None:
    somebody = door.with_token(people(name))
    assert nodes(somebody) == nodes(door)
    body = {"entries": nodes(door)}
    assert_error(somebody.call(method, "/computenodes", json=body), 403, "role")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_without_a_token_it_is_401(door: Door, method: str) -> None:
    assert_error(door.with_token(None).call(method, "/computenodes"), 401)
