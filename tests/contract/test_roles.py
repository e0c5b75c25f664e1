"""Every operation as every role, with one's own things and those of others, over real HTTP."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jupyter_mlsvc.wire.operations import OPERATIONS, Operation
from jupyter_mlsvc_server.api.permissions import needed
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.policy import Action, Reach, reach
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.store import LOCAL
from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.storage.database import Database
from tests.contract.doors import Door, sign_in
from tests.serving import tables_of_all_nouns
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse battery"
FOR_ALL = {"/user", "/swagger.json", "/openapi.json"}
"""Paths for everybody who is known."""

ASKED = [each for each in OPERATIONS if not each.public and each.path != "/metrics"]


@dataclass
class Person:
    """Somebody with a role, and the names of what they have."""

    door: Door
    role: Role
    things: dict[str, str]

    def call(self, operation: Operation, things: dict[str, str], body: bytes = b"[") -> int:
        """Call an operation, most often with a body that means nothing; returns the status."""
        path = re.sub(r"{(\w+)}", lambda found: things.get(found[1], "x"), operation.path)
        path = path.replace("/snapshots/x", f"/snapshots/{things['snapshot']}")
        path = path.replace("/sessions/x", f"/sessions/{things['session']}")
        sent: dict[str, Any] = {}
        if operation.method != "get":
            sent = {"data": body, "headers": {"Content-Type": "application/json"}}
        if operation.tag.startswith("Services") and "realtime" in path:
            sent = {"files": {"description": (None, "another")}}
        return self.door.call(operation.method.upper(), path, **sent).status_code


@pytest.fixture(scope="module")
def cast(mlsvc_server: ServerProcess) -> Iterator[dict[str, Person]]:
    """One of each role, and ``other``, another contributor; the contributors have things."""
    roles = {str(role): role for role in Role} | {"other": Role.CONTRIBUTOR}
    names = {key: f"{key}-{uuid.uuid4().hex[:6]}" for key in roles}

    async def add() -> None:
        database = Database(data_dir=mlsvc_server.data_dir)
        await database.start()
        accounts = AccountManager(database=database)
        for key, role in roles.items():
            await accounts.add(names[key], PASSWORD, role)
        accounts.close()
        await database.stop()

    asyncio.run(add())
    nothing = {"name": names["owner"], "version": "1", "session": str(uuid.uuid4())}
    nothing |= {"snapshot": str(uuid.uuid4()), "execution": str(uuid.uuid4())}
    people = {}
    for key, role in roles.items():
        door = sign_in(mlsvc_server.public_url, names[key], PASSWORD)
        people[key] = Person(door, role, nothing)
    for key in ("contributor", "other"):
        people[key].things = things_of(people[key].door, names[key])
    yield people
    for key in ("contributor", "other"):
        door, things = people[key].door, people[key].things
        for kind in ("snapshots", "sessions"):
            door.delete(f"/{kind}/{things[kind.removesuffix('s')]}")
        door.delete(f"/services/{things['name']}/1")


def things_of(door: Door, name: str) -> dict[str, str]:
    """Make a session, a snapshot, a service and a batch of it."""
    session = door.post("/sessions", json={}).json()["sessionId"]
    snapshot = door.post(f"/sessions/{session}/snapshot", json={}).json()["snapshotId"]
    assert door.post(f"/services/{name}/1", json={"code": "x = 1"}).status_code == 201
    batch: dict[str, Any] = door.post(f"/api/{name}/1/batch", json=[{}]).json()
    things = {"name": name, "version": "1", "session": session, "snapshot": snapshot}
    return things | {"batchExecutionId": batch["batchExecutionId"], "index": "0"}


@pytest.mark.parametrize("operation", ASKED, ids=lambda each: each.id)
def test_a_role_reaches_as_far_as_the_policy_says(
    operation: Operation, cast: dict[str, Person]
) -> None:
    action = needed(operation.method.upper(), operation.path)
    for key in ("owner", "contributor", "reader", "caller"):
        person = cast[key]
        how_far = Reach.ANYBODYS
        if action is not None:
            how_far = reach(Principal("", "", person.role), action)
        status = person.call(operation, cast["owner"].things)
        assert (status == 403) == (how_far is Reach.NOBODYS), (key, status)
        assert status not in {401, 500}, key
        takes_things = "{" in operation.path and action is not Action.PUBLISH
        if how_far is not Reach.OWN or not takes_things:
            continue
        if key == "contributor":
            # A service is there for all to see; anything else of somebody does not exist.
            refused = person.call(operation, cast["other"].things, b"{}")
            assert refused == 403 if action is Action.CHANGE_SERVICE else 404
            if operation.method != "delete":
                own = person.call(operation, person.things)
                assert own not in {401, 403, 500}, own


def test_members_of_a_group_change_what_belongs_to_it(
    cast: dict[str, Person], mlsvc_server: ServerProcess
) -> None:
    owner, publisher, member = (cast[key].door for key in ("owner", "contributor", "other"))
    group, name = f"group-{uuid.uuid4().hex[:6]}", f"of-group-{uuid.uuid4().hex[:6]}"
    path, body = f"/services/{name}", {"code": "x = 1", "group": group.upper()}
    refused = publisher.post(f"{path}/1", json=body)
    assert (refused.status_code, refused.json()["errorCode"]) == (403, "NotInGroup")

    assert owner.post(f"{path}/1", json=body | {"group": "a\n"}).status_code == 201
    assert owner.patch(f"{path}/1", json={"group": "a\nb"}).status_code == 400
    assert owner.delete(f"{path}/1").status_code == 200

    async def join() -> None:
        database = Database(data_dir=mlsvc_server.data_dir)
        await database.start()
        accounts = AccountManager(database=database)
        for key in ("contributor", "other", "reader"):
            user = cast[key].door.get("/user").json()["name"]
            await accounts.set_member(LOCAL, user, group, is_member=True)
        accounts.close()
        await database.stop()

    asyncio.run(join())
    wait_until(lambda: publisher.post(f"{path}/1", json=body).status_code == 201)
    assert owner.get(f"{path}/1").json()[0]["group"] == group
    wait_until(lambda: member.patch(f"{path}/1", json={"code": "x = 2"}).status_code == 200)
    assert member.post(f"{path}/2", json={"code": "x = 3"}).status_code == 201
    assert publisher.patch(f"{path}/2", json={"code": "x = 4"}).status_code == 200
    (seen,) = cast["reader"].door.get(f"{path}/1").json()
    assert (seen["code"], seen["myPermissionOnService"]) == ("x = 2", "read only")
    assert cast["reader"].door.delete(f"{path}/1").status_code == 403
    # What is taken back is its publishers' alone.
    assert publisher.patch(f"{path}/1", json={"group": ""}).status_code == 200
    refused = member.patch(f"{path}/1", json={"code": "x = 5"})
    assert (refused.status_code, member.delete(f"{path}/2").status_code) == (403, 200)
    assert publisher.delete(f"{path}/1").status_code == 200


def test_every_call_asks_for_an_action() -> None:
    calls = [
        (method, route.path)
        for table in tables_of_all_nouns()
        for route in table
        for method, operation in route.operations.items()
        if not operation.is_public
    ]
    assert {path for method, path in calls if needed(method, path) is None} == FOR_ALL


def test_a_refusal_names_who_can_help(cast: dict[str, Person]) -> None:
    refused = cast["reader"].door.post("/sessions", json={})
    assert "AccountManager.readers_use_sessions" in refused.json()["message"]
    refused = cast["caller"].door.get("/snapshots")
    assert "your role is caller. Whoever runs the server" in refused.text
