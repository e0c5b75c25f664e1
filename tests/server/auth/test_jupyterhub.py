"""Tokens of JupyterHub: whose they are, which are taken, and for how long the hub's word counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from traitlets import TraitError

from jupyter_mlsvc_server.auth import jupyterhub
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticators import Authenticators
from jupyter_mlsvc_server.auth.errors import (
    IdentityProviderUnavailable,
    InvalidHubToken,
    NoAccessToService,
    NoRole,
)
from jupyter_mlsvc_server.auth.jupyterhub import HubAuthenticator, hub_user
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from tests.clocks import ManualClock

API = "http://127.0.0.1:8081/hub/api"
ACCESS = "access:services!service=mlsvc"
MARIA = "11111111111111111111111111111111"
ROBOT = "22222222222222222222222222222222"

OwnersOf = dict[str, dict[str, Any]]


def owner(name: str, *scopes: str, kind: str = "user", **members: Any) -> dict[str, Any]:
    """Describe the owner of a token as the hub does."""
    return {"kind": kind, "name": name, "admin": False, "groups": [], "scopes": [*scopes]} | members


class Hub:
    """The answers of a hub."""

    def __init__(self) -> None:
        self.owners: OwnersOf = {MARIA: owner("maria", ACCESS, groups=["data-science"])}
        self.problem: tuple[int, Any] | None = None
        self.is_away = False
        self.asked: list[str] = []
        self.clock = ManualClock(1000.0)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.was_asked_twice = threading.Event()

    def get_json(self, url: str, *, headers: dict[str, str], **_: Any) -> tuple[int, Any]:
        assert url == f"{API}/user"
        token = headers["Authorization"].removeprefix("token ")
        self.asked.append(token)
        if self.asked.count(MARIA) == 2:
            self.was_asked_twice.set()
        assert self.may_answer.wait(30)
        if self.is_away:
            raise IdentityProviderUnavailable("it is away")
        if self.problem is not None:
            return self.problem
        found = self.owners.get(token)
        return (200, found) if found else (403, {"status": 403, "message": "Forbidden"})

    def authenticator(self, **settings: Any) -> HubAuthenticator:
        given = {
            "api_url": API,
            "service_name": "mlsvc",
            "role_groups": {"contributor": ["Data-Science"]},
        }
        return HubAuthenticator(**{**given, **settings}, clock=self.clock)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(jupyterhub, "get_json", made.get_json)
    return made


async def role_of(hub: Hub, described: dict[str, Any], **settings: Any) -> Role:
    hub.owners[MARIA] = described
    identity, _ = await hub.authenticator(**settings).verify(MARIA)
    return identity.role


async def test_the_hub_says_whose_a_token_is(hub: Hub) -> None:
    identity, expires_on = await hub.authenticator().verify(MARIA)
    assert (identity.subject, identity.user_name) == ("user:maria", "jupyterhub:maria")
    assert (identity.role, expires_on) == (Role.CONTRIBUTOR, float("inf"))


async def test_a_service_of_the_hub_is_not_the_person_of_that_name(hub: Hub) -> None:
    hub.owners[ROBOT] = owner("maria", "access:services", kind="service")
    authenticator = hub.authenticator(default_role="reader")
    person, _ = await authenticator.verify(MARIA)
    program, _ = await authenticator.verify(ROBOT)
    assert (person.issuer, program.subject) == (program.issuer, "service:maria")
    assert program.role is Role.READER


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        ["access:servers!server=maria/", "self"],
        ["access:services!service=mlsvc2"],
        ["access:services!service=other", "access:services!servic"],
        ["ACCESS:SERVICES"],
    ],
)
async def test_a_token_without_access_to_the_service_is_refused(
    hub: Hub, scopes: list[str]
) -> None:
    hub.owners[MARIA]["scopes"] = scopes
    with pytest.raises(NoAccessToService, match="lacks the scope access:services!service=mlsvc"):
        await hub.authenticator(default_role="owner").verify(MARIA)


async def test_groups_scopes_and_being_admin_give_the_highest_of_their_roles(hub: Hub) -> None:
    scopes = {"reader": ["custom:mlsvc:read"], "owner": ["custom:mlsvc:own"]}
    in_group = owner("maria", ACCESS, groups=["data-science"])
    reading = owner("maria", ACCESS, "custom:mlsvc:read")
    assert await role_of(hub, in_group, role_scopes=scopes) is Role.CONTRIBUTOR
    assert await role_of(hub, reading, role_scopes=scopes) is Role.READER
    both = reading | {"groups": ["data-science"]}
    assert await role_of(hub, both, role_scopes=scopes) is Role.CONTRIBUTOR
    owning = owner("maria", ACCESS, "custom:mlsvc:own", groups=["data-science"])
    assert await role_of(hub, owning, role_scopes=scopes) is Role.OWNER
    admin = owner("maria", ACCESS, admin=True)
    assert await role_of(hub, admin, admin_role="owner") is Role.OWNER
    assert await role_of(hub, owner("maria", ACCESS), default_role="caller") is Role.CALLER


async def test_who_has_no_role_is_let_in_nowhere(hub: Hub) -> None:
    for described in (owner("maria", ACCESS), owner("maria", ACCESS, admin=True)):
        with pytest.raises(NoRole):
            await role_of(hub, described)


async def test_a_token_that_the_hub_does_not_know_is_invalid_at_once(hub: Hub) -> None:
    with pytest.raises(InvalidHubToken):
        await hub.authenticator().verify(ROBOT)


async def test_the_hub_is_asked_again_after_a_bounded_time(hub: Hub) -> None:
    authenticator = hub.authenticator(cache_seconds=30)
    await authenticator.verify(MARIA)
    del hub.owners[MARIA]
    hub.clock.advance(29.9)
    await authenticator.verify(MARIA)
    hub.clock.advance(0.2)
    with pytest.raises(InvalidHubToken):
        await authenticator.verify(MARIA)
    # Nothing of it is left for a hub that is away.
    hub.is_away = True
    with pytest.raises(IdentityProviderUnavailable):
        await authenticator.verify(MARIA)


async def test_a_token_that_was_good_counts_while_the_hub_is_away_for_a_bounded_time(
    hub: Hub,
) -> None:
    authenticator = hub.authenticator(cache_seconds=30, outage_seconds=300)
    await authenticator.verify(MARIA)
    hub.is_away = True
    hub.clock.advance(299)
    await authenticator.verify(MARIA)
    with pytest.raises(IdentityProviderUnavailable):
        await authenticator.verify(ROBOT)
    hub.clock.advance(2)
    with pytest.raises(IdentityProviderUnavailable):
        await authenticator.verify(MARIA)


@pytest.mark.parametrize(
    "problem",
    [(404, {}), (302, {}), (429, {}), (200, {}), (200, {"kind": "user", "name": ""})],
)
async def test_an_answer_of_something_else_says_nothing_of_a_token(hub: Hub, problem: Any) -> None:
    hub.problem = problem
    with pytest.raises(IdentityProviderUnavailable):
        await hub.authenticator().verify(MARIA)


def test_a_description_of_somebody_is_read_with_care() -> None:
    assert hub_user({"kind": "group", "name": "maria"}) is None
    assert hub_user({"kind": "user", "name": ["maria"]}) is None
    user = hub_user({"kind": "user", "name": "m", "admin": "yes", "groups": None, "scopes": [1]})
    assert user is not None
    assert (user.is_admin, user.groups, user.scopes) == (False, (), frozenset())


async def test_many_who_ask_at_once_ask_the_hub_once(hub: Hub) -> None:
    authenticator = hub.authenticator()
    answers = await asyncio.gather(*(authenticator.verify(MARIA) for _ in range(50)))
    assert {identity.user_name for identity, _ in answers} == {"jupyterhub:maria"}
    assert hub.asked == [MARIA]


async def test_made_up_tokens_leave_room_for_those_that_were_good(hub: Hub) -> None:
    authenticator = hub.authenticator(cache_seconds=0)
    await authenticator.verify(MARIA)
    hub.may_answer.clear()
    made_up = [
        asyncio.create_task(authenticator.verify(f"made-up-{number:04}")) for number in range(200)
    ]
    await asyncio.sleep(0)
    good = asyncio.create_task(authenticator.verify(MARIA))
    await asyncio.to_thread(hub.was_asked_twice.wait, 30)
    assert MARIA in hub.asked[1:]
    assert len(hub.asked) <= 1 + 2 + 1
    hub.may_answer.set()
    assert (await good)[0].user_name == "jupyterhub:maria"
    outcomes = await asyncio.gather(*made_up, return_exceptions=True)
    assert {type(each) for each in outcomes} == {InvalidHubToken, IdentityProviderUnavailable}
    await authenticator.close()


async def test_who_leaves_takes_the_answer_from_nobody(hub: Hub) -> None:
    authenticator = hub.authenticator()
    hub.may_answer.clear()
    leaving, staying = (asyncio.create_task(authenticator.verify(MARIA)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    hub.may_answer.set()
    assert (await staying)[0].user_name == "jupyterhub:maria"


def test_it_needs_to_know_the_hub_and_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_URL", f"{API}/")
    with pytest.raises(TraitError, match="api_url and service_name"):
        HubAuthenticator()
    monkeypatch.setenv("JUPYTERHUB_SERVICE_NAME", "mlsvc")
    assert HubAuthenticator().api_url == API
    with pytest.raises(TraitError, match="has to be an address"):
        HubAuthenticator(api_url="hub:8081")


# --- beside other tokens ---------------------------------------------------------------------


@pytest.fixture
def tokens(
    hub: Hub, database: Database, accounts: AccountManager, tmp_path: Any
) -> Callable[..., TokenManager]:
    def make(**settings: Any) -> TokenManager:
        return TokenManager(
            database=database,
            accounts=accounts,
            data_dir=tmp_path,
            authenticators=Authenticators(accounts, [hub.authenticator(**settings)]),
            monotonic_clock=hub.clock,
        )

    return make


async def test_a_person_of_the_hub_has_an_account_of_their_own(
    tokens: Callable[..., TokenManager], accounts: AccountManager, hub: Hub
) -> None:
    await accounts.add("maria", "correct horse", Role.OWNER)
    manager = tokens()
    await manager.start()
    principal = await manager.principal_of(MARIA)
    assert (principal.name, principal.role) == ("jupyterhub:maria", Role.CONTRIBUTOR)
    assert manager.recall(MARIA) == principal
    names = {each.name for each in await accounts.list()}
    assert names == {"ann", "maria", "jupyterhub:maria"}
    pair = await manager.login("maria", "correct horse")
    assert (await manager.principal_of(pair.access_token)).name == "maria"
    # What is no token of the hub's is not shown to it.
    assert set(hub.asked) == {MARIA}


async def test_a_revoked_token_is_refused_within_both_times(
    tokens: Callable[..., TokenManager], hub: Hub
) -> None:
    manager = tokens(cache_seconds=30)
    await manager.start()
    await manager.principal_of(MARIA)
    del hub.owners[MARIA]
    hub.clock.advance(30 + manager.cache_seconds)
    with pytest.raises(InvalidHubToken):
        await manager.principal_of(MARIA)
    assert manager.recall(MARIA) is None
