"""Dedicated pools: a version's own number of workers, real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.contract.test_bad_input import assert_error
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse battery"


def pool(name: str) -> str:
    return f"/services/{name}/1.0/pool"


def status(door: Door, name: str) -> str:
    """State of the pool, which every spelling tells alike."""
    answer = door.get(pool(name))
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()
    (node,) = door.get("/computenodes").json()["computeNodes"]
    assert row["computeNodeEndpoint"] == row["ComputeNodeEndpoint"] == node
    assert row["status"] == row["Status"]
    told: str = row["Status"]
    return told


def workers(door: Door, name: str) -> int:
    """Count the processes of a service; those of others come and go."""
    count: int = door.get(f"/services/{name}/1.0/statistics").json()["workers"]
    return count


def publish(door: Door, name: str) -> None:
    body = {"code": "y = 1", "outputParameterDefinitions": [{"name": "y", "type": "integer"}]}
    assert door.post(f"/services/{name}/1.0", json=body).status_code == 201


def test_a_pool_is_made_resized_and_given_up(door: Door, published: str) -> None:
    assert status(door, published) == "NotFound"
    assert workers(door, published) == 0, "none is started before the first call"
    answer = door.post(pool(published), json={"InitialPoolSize": 3, "MaxPoolSize": 4})
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json(), str)
    wait_until(lambda: status(door, published) == "Success")
    assert workers(door, published) == 3

    door.post(pool(published), json={"InitialPoolSize": 1, "MaxPoolSize": 2})
    wait_until(lambda: status(door, published) == "Success" and workers(door, published) == 2)

    assert door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2}).json()["success"]
    answer = door.delete(pool(published))
    assert answer.status_code == 200
    assert isinstance(answer.json(), str)
    assert status(door, published) == "NotFound"
    assert door.delete(pool(published)).status_code == 200


def test_a_change_of_the_service_keeps_its_pool(door: Door, published: str) -> None:
    door.post(pool(published), json={"InitialPoolSize": 2, "MaxPoolSize": 2})
    wait_until(lambda: status(door, published) == "Success")
    assert door.patch(f"/services/{published}/1.0", json={"code": "total = 7"}).status_code == 200
    assert status(door, published) == "Success"
    answer = door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2}).json()
    assert answer["outputParameters"] == {"total": 7}
    wait_until(lambda: workers(door, published) == 2)


def test_a_deleted_version_takes_its_pool_with_it(door: Door, service_name: str) -> None:
    publish(door, service_name)
    door.post(pool(service_name), json={"InitialPoolSize": 2})
    door.delete(f"/services/{service_name}/1.0")
    publish(door, service_name)
    assert status(door, service_name) == "NotFound"
    door.delete(f"/services/{service_name}/1.0")


@pytest.mark.parametrize(
    "body",
    [{}, None, {"InitialPoolSize": 3}, {"MaxPoolSize": 0}, {"InitialPoolSize": 0}],
    ids=str,
)
def test_both_sizes_are_optional(door: Door, published: str, body: Any) -> None:
    assert door.post(pool(published), json=body).status_code == 200
    wait_until(lambda: status(door, published) == "Success")
    assert door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2}).json()["success"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"InitialPoolSize": 3, "MaxPoolSize": 2}, "InitialPoolSize"),
        ({"InitialPoolSize": -1}, "InitialPoolSize"),
        ({"MaxPoolSize": -1}, "MaxPoolSize"),
        ({"MaxPoolSize": 1_000_000}, "MaxPoolSize"),
        ({"InitialPoolSize": "3"}, "InitialPoolSize"),
        ({"InitialPoolSize": 1.5}, "InitialPoolSize"),
        ([1], "object"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_400(door: Door, published: str, body: Any, word: str) -> None:
    assert_error(door.post(pool(published), json=body), 400, word)
    assert status(door, published) == "NotFound"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_service_is_404(door: Door, published: str, method: str) -> None:
    for path in (pool("nothing"), f"/services/{published}/2.0/pool", pool(published.upper())):
        assert_error(door.call(method, path, json={}), 404, "service")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_a_token_it_is_401(door: Door, published: str, method: str) -> None:
    assert_error(door.with_token(None).call(method, pool(published), json={}), 401)


def test_publishers_and_owners_may_change_a_pool_and_all_may_see_it(
    door: Door, service_name: str, people: Callable[[str], str]
) -> None:
    ana, ben, rita = (door.with_token(people(name)) for name in ("ana", "ben", "rita"))
    publish(ana, service_name)
    for somebody in (ben, rita):
        assert_error(somebody.post(pool(service_name), json={}), 403, "may not change")
        assert_error(somebody.delete(pool(service_name)), 403, "may not change")
        assert status(somebody, service_name) == "NotFound"
    assert ana.post(pool(service_name), json={}).status_code == 200
    assert door.post(pool(service_name), json={"InitialPoolSize": 0}).status_code == 200
    assert status(rita, service_name) in {"Pending", "Success"}
    assert ana.delete(pool(service_name)).status_code == 200
    ana.delete(f"/services/{service_name}/1.0")


@pytest.mark.slow
def test_a_pool_outlives_a_restart_and_is_there_before_anybody_calls(tmp_path: Path) -> None:
    with ServerProcess(data_dir=tmp_path, admin_password=PASSWORD) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        publish(door, "Kept")
        publish(door, "Usual")
        door.post(pool("Kept"), json={"InitialPoolSize": 2, "MaxPoolSize": 2})
        wait_until(lambda: status(door, "Kept") == "Success")
    with ServerProcess(data_dir=tmp_path, admin_password=PASSWORD) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        wait_until(lambda: status(door, "Kept") == "Success")
        assert workers(door, "Kept") == 2
        assert status(door, "Usual") == "NotFound"
