"""Service keys over HTTP: what they are for, from which pages, how often, and until when."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.contract.doors import Door
from tests.server.api.conftest import Publish
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PAGE = "http://app.example"
BODY = {"n": "1"}

Make = Callable[..., Door]


@pytest.fixture
def make(limited_server: ServerProcess, limited_api: Api, echo: str) -> Make:
    """A function that makes a key for ``echo``, and gives a door with it."""

    def make_one(**options: Any) -> Door:
        services = [echo.removeprefix("/api/")]
        answer = limited_api("POST", "/keys", json={"services": services} | options)
        assert answer.status_code == 201, answer.text
        return Door(limited_server.public_url, answer.json()["key"])

    return make_one


def test_a_key_calls_and_describes_its_service_and_does_nothing_else(
    make: Make, limited_api: Api, publish: Publish, limited_token: str, echo: str
) -> None:
    name = f"billing-{uuid.uuid4().hex[:6]}"
    key = make(name=name, note="for billing")
    nobody = key.with_token(None)
    assert key.post(echo, json=BODY).ok
    assert nobody.post(echo, json=BODY, headers={"X-API-Key": str(key.token)}).ok
    assert key.get(f"{echo}/swagger.json").ok
    listed = [f"/api/{each['name']}/{each['version']}" for each in key.get("/services").json()]
    assert listed == [echo]
    other = publish("y = n", name=echo.split("/")[2], version="2.0")
    refused = [
        key.post(other, json=BODY),
        key.get(f"{other}/swagger.json"),
        key.post(f"{echo}/batch", json=[BODY]),
        key.get("/keys"),
        key.post("/keys", json={}),
        key.post("/sessions", json={}),
        key.get("/status"),
    ]
    assert {each.status_code for each in refused} == {403}
    as_key = nobody.post(echo, json=BODY, headers={"X-API-Key": limited_token})
    assert as_key.status_code == 401
    mine = next(each for each in limited_api("GET", "/keys").json() if each["name"] == name)
    assert (mine["note"], mine["maker"], mine["state"]) == ("for billing", "admin", "active")
    assert (mine["calls"], mine["lastUse"] is not None) == (2, True)
    assert str(key.token) not in json.dumps(mine)
    about = echo.replace("/api/", "/services/")
    found = limited_api("GET", f"{about}/statistics").json()["keys"]
    assert {"name": name, "calls": 2} in found


def test_events_and_the_audit_log_name_the_key(
    make: Make, limited_server: ServerProcess, limited_api: Api
) -> None:
    place = limited_api("GET", "/events?wait=0").json()
    name = f"k-{uuid.uuid4().hex[:6]}"
    make(name=name).post("/sessions", json={})
    assert limited_api("DELETE", f"/keys/{name}").ok
    seen = limited_api("GET", f"/events?run={place['run']}&after={place['last']}&wait=0").json()
    changes = [(each["action"], each["name"]) for each in seen["events"] if each["kind"] == "key"]
    assert changes == [("created", name), ("deleted", name)]
    log = limited_server.data_dir / "audit" / "audit.jsonl"

    def noted() -> set[tuple[str, str]]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return {(line["operation"], line["object"] or line["who"]) for line in lines}

    expected = {("createServiceKey", name), ("revokeServiceKey", name), ("createSession", name)}
    wait_until(lambda: expected <= noted())


def test_pages_of_its_origins_call_with_a_key(make: Make, echo: str) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    stranger = {"Origin": "http://stranger.example"}
    key, other = make(origins=[PAGE]), make()
    nobody = key.with_token(None)
    preflight = nobody.call("OPTIONS", echo, headers=asks)
    assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
    allowed = preflight.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"X-API-Key", "If-None-Match"} <= set(allowed)
    preflight = nobody.call("OPTIONS", echo, headers=stranger)
    assert "Access-Control-Allow-Origin" not in preflight.headers
    with requests.Session() as session:
        session.headers.update({"X-API-Key": str(key.token), "Origin": PAGE})
        for _ in range(3):
            answer = session.post(key.url + echo, json=BODY, timeout=60)
            assert answer.ok, answer.text
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert "ETag" in answer.headers["Access-Control-Expose-Headers"].split(", ")
    refused = key.post(echo, json=BODY, headers=stranger)
    assert refused.status_code == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert "stranger.example" in refused.json()["message"]
    # The server's setting and its own pages are for all keys.
    for own in ("http://page.example", key.url):
        assert key.post(echo, json=BODY, headers={"Origin": own}).ok
    # What another key allows is not for this one: the page can't read the answer.
    answer = other.post(echo, json=BODY, headers={"Origin": PAGE})
    assert "Access-Control-Allow-Origin" not in answer.headers
    wrong = key.with_token("mlsvckey_wrong").post(echo, json=BODY, headers={"Origin": PAGE})
    assert (wrong.status_code, wrong.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


def test_pages_of_its_origins_read_a_stream_with_a_key(
    make: Make, publish: Publish, limited_api: Api
) -> None:
    path = publish("yield n\nyield n")
    key = make(origins=[PAGE], services=[path.removeprefix("/api/")])
    headers = {"X-API-Key": str(key.token), "Origin": PAGE, "Accept": "application/x-ndjson"}
    answer = key.with_token(None).post(path, json=BODY, headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    items = [json.loads(line).get("value") for line in answer.text.splitlines()]
    assert items == ["1", "1", None]
    headers["Origin"] = "http://stranger.example"
    assert key.with_token(None).post(path, json=BODY, headers=headers).status_code == 403
    limited_api("DELETE", path.replace("/api/", "/services/"))


def test_calls_over_the_rate_are_refused_until_there_is_room(make: Make, echo: str) -> None:
    key = make(rate="3/minute")
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key.token}"
        answers = [session.post(key.url + echo, json=BODY, timeout=60) for _ in range(5)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "3 calls a minute" in answers[-1].json()["message"]


def test_a_revoked_key_is_refused_by_the_very_next_call(
    make: Make, limited_api: Api, echo: str
) -> None:
    name = f"k-{uuid.uuid4().hex[:6]}"
    key = make(name=name)
    before: list[int] = []
    after: list[int] = []
    is_revoked, is_enough = threading.Event(), threading.Event()

    def call() -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {key.token}"
            while not is_enough.is_set():
                kept = after if is_revoked.is_set() else before
                kept.append(session.post(key.url + echo, json=BODY, timeout=60).status_code)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        wait_until(lambda: len(before) > 50)
        assert limited_api("DELETE", f"/keys/{name}").ok
        is_revoked.set()
        wait_until(lambda: len(after) > 5)
    finally:
        is_enough.set()
        thread.join()
    assert set(before) <= {200, 401}
    assert set(after) == {401}
    assert limited_api("DELETE", f"/keys/{name}").status_code == 404
