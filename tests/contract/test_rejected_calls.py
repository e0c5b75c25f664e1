"""Calls that never reach the code are counted apart from those that fail."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.doors import Door

pytestmark = pytest.mark.kernel


class Pieces:
    """A long body whose length is not told ahead."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b" " * 2**20] * 66)


REJECTED: dict[str, tuple[int, dict[str, Any]]] = {
    "an input that is missing": (400, {"json": {"a": 1}}),
    "no JSON": (400, {"data": b"{nonsense"}),
    "another charset": (415, {"data": b"{}", "headers": {"Content-Type": "text/json; charset=x"}}),
    "an unknown coding": (415, {"data": b"{}", "headers": {"Content-Encoding": "br"}}),
    "a broken coding": (400, {"data": b"{}", "headers": {"Content-Encoding": "gzip"}}),
    "a bomb": (
        413,
        {"data": gzip.compress(b" " * 2**27), "headers": {"Content-Encoding": "gzip"}},
    ),
    "a body that is too long": (413, {"data": b" " * (65 * 2**20)}),
    "one that comes in pieces": (413, {"data": Pieces()}),
}


def figures(door: Door, name: str) -> dict[str, Any]:
    """What the server tells of a service."""
    told: dict[str, Any] = door.get(f"/services/{name}/1.0/statistics").json()
    (row,) = [each for each in door.get("/statistics").json() if each["name"] == name]
    counts = ("calls", "errors", "rejected")
    assert [row[each] for each in counts] == [told[each] for each in counts]
    for each in counts:
        assert sum(interval[each] for interval in told["history"]) == told[each]
    return told


def test_calls_that_do_not_fit_are_no_errors(door: Door, published: str) -> None:
    path = f"/api/{published}/1.0"
    assert door.post(path, json={"a": 1, "b": 2}).ok
    for number, (status, sent) in enumerate(REJECTED.values(), start=1):
        answer = door.post(path, **sent)
        assert answer.status_code == status, answer.text
        told = figures(door, published)
        assert (told["calls"], told["errors"], told["rejected"]) == (number + 1, 0, number)


def test_calls_that_fail_are_not_rejected(door: Door, service_name: str) -> None:
    path = f"/services/{service_name}/1.0"
    assert door.post(path, json={"code": "1 / 0", "runtimeType": "Python"}).ok
    assert door.post(f"/api/{service_name}/1.0", json={}).json()["success"] is False
    told = figures(door, service_name)
    assert (told["calls"], told["errors"], told["rejected"]) == (1, 1, 0)
    door.delete(path)


def test_calls_of_nobody_and_of_nothing_count_for_nobody(
    door: Door, published: str, people: Callable[[str], str]
) -> None:
    path = f"/api/{published}/1.0"
    assert door.post(path, json={"a": 1, "b": 2}).ok
    coded = {"Content-Encoding": "br"}
    assert door.with_token(None).post(path, data=b"{}", headers=coded).status_code == 401
    assert door.post("/api/nothing/1.0", data=b"{}", headers=coded).status_code == 415
    assert figures(door, published)["rejected"] == 0
    assert door.with_token(people("rita")).post(path, data=b"{}", headers=coded).status_code == 415
    assert figures(door, published)["rejected"] == 1
    assert "nothing" not in {each["name"] for each in door.get("/statistics").json()}
