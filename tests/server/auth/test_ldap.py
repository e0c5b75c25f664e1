"""Logins that a directory verifies: slapd, by StartTLS and LDAPS, there and away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticators import Authenticators
from jupyter_mlsvc_server.auth.errors import (
    IdentityProviderUnavailable,
    InvalidRefreshToken,
    NoRole,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.ldap import LdapAuthenticator
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from tests.clocks import ManualClock
from tests.directory import (
    GROUPS,
    PEOPLE,
    SEARCHER,
    SEARCHERS_PASSWORD,
    SLAPD,
    Directory,
)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not SLAPD.exists(), reason="slapd is the directory"),
]

LOCAL_PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with Directory(tmp_path_factory.mktemp("directory")) as answering:
        yield answering


@pytest.fixture
def search(tmp_path: Path) -> dict[str, Any]:
    """Settings that look people up instead of taking a template."""
    file = tmp_path / "password"
    file.write_text(SEARCHERS_PASSWORD)
    file.chmod(0o600)
    return {
        "bind_dn_template": "",
        "user_search_base": PEOPLE,
        "user_search_filter": "(&(objectClass=inetOrgPerson)(uid={username}))",
        "lookup_dn_search_user": SEARCHER,
        "lookup_dn_search_password_file": str(file),
    }


@pytest.mark.parametrize("by_search", [False, True])
@pytest.mark.parametrize("tls", ["before_bind", "on_connect"])
async def test_the_right_password_tells_who_it_is(
    directory: Directory, search: dict[str, Any], tls: str, by_search: bool
) -> None:
    port = directory.tls_port if tls == "on_connect" else directory.port
    settings = directory.settings(
        tls_strategy=tls, server_port=port, **(search if by_search else {})
    )
    ann = await LdapAuthenticator(**settings).authenticate("ann", "anns secret")
    assert ann is not None
    assert (ann.user_name, ann.role) == ("ldap:ann", Role.CONTRIBUTOR)


@pytest.mark.parametrize("by_search", [False, True])
@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", "\x00"),
        ("ann", "eves secret"),
        ("nobody", "anns secret"),
        ("", "anns secret"),
        ("*", "anns secret"),
        ("ann)(uid=*", "anns secret"),
        ("ann,ou=people", "anns secret"),
        ("ann\n", "anns secret"),
        ("a" * 1000, "anns secret"),
    ],
)
async def test_nobody_else_gets_in(
    directory: Directory, search: dict[str, Any], username: str, password: str, by_search: bool
) -> None:
    authenticator = LdapAuthenticator(**directory.settings(**search if by_search else {}))
    assert await authenticator.authenticate(username, password) is None


@pytest.mark.parametrize("by_search", [False, True])
async def test_a_name_with_the_signs_of_filters_and_names_is_taken_as_it_is(
    directory: Directory, search: dict[str, Any], by_search: bool
) -> None:
    authenticator = LdapAuthenticator(**directory.settings(**search if by_search else {}))
    ola = await authenticator.authenticate("o,la*(x)", "olas secret")
    assert ola is not None
    assert ola.role is Role.OWNER


async def test_groups_can_be_looked_for_and_named_in_full(directory: Directory) -> None:
    authenticator = LdapAuthenticator(
        **directory.settings(
            group_attribute="ou",
            group_search_base=GROUPS,
            group_search_filter="(member={userdn})",
            role_groups={"reader": [f"cn=data-science,{GROUPS}"]},
        )
    )
    ann = await authenticator.authenticate("ann", "anns secret")
    assert ann is not None
    assert ann.role is Role.READER
    assert ann.subject != f"uid=ann,{PEOPLE}"


async def test_who_is_in_no_group_may_do_nothing(directory: Directory) -> None:
    with pytest.raises(NoRole):
        await LdapAuthenticator(**directory.settings()).authenticate("eve", "eves secret")


@pytest.mark.parametrize(
    "changes",
    [
        {"tls_ca_file": "", "tls_strategy": "before_bind"},
        {"server_address": "127.0.0.1"},
        {"server_port": 1},
        {"bind_dn_template": "", "user_search_base": PEOPLE, "lookup_dn_search_user": "cn=x"},
    ],
)
async def test_a_directory_that_is_not_the_right_one_is_503(
    directory: Directory, changes: dict[str, Any]
) -> None:
    clock = ManualClock(0)
    authenticator = LdapAuthenticator(**directory.settings(**changes), clock=clock)
    for _ in range(2):
        with pytest.raises(IdentityProviderUnavailable):
            await authenticator.authenticate("ann", "anns secret")


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "server_address"), ({"server_address": "x"}, "user_search_base")],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TraitError, match=words):
        LdapAuthenticator(**settings)


async def test_people_of_the_directory_and_of_the_server_log_in_side_by_side(
    directory: Directory, database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock(0)
    authenticator = LdapAuthenticator(
        **directory.settings(directory_timeout=30), subject_attribute="entryUUID", clock=clock
    )
    Authenticators(accounts, [authenticator])
    wall_clock = ManualClock()
    tokens = TokenManager(
        database=database,
        accounts=accounts,
        data_dir=database.data_dir,
        wall_clock=wall_clock,
        directory_renewal_limit=7200,
    )
    await tokens.start()

    async def who(name: str, password: str) -> tuple[str, Role]:
        pair = await tokens.login(name, password)
        renewed = await tokens.renew(pair.refresh_token)
        found = await tokens.principal_of(renewed.access_token)
        return found.name, found.role

    assert await who("ann", LOCAL_PASSWORD) == ("ann", Role.CONTRIBUTOR)
    assert await who("ann", "anns secret") == ("ldap:ann", Role.CONTRIBUTOR)
    assert await who("ldap:ann", "anns secret") == ("ldap:ann", Role.CONTRIBUTOR)
    for name, password in (("ann", "wrong"), ("ldap:ann", LOCAL_PASSWORD), ("ann", "")):
        with pytest.raises(WrongCredentials):
            await tokens.login(name, password)
    directory.stop()
    try:
        assert await who("ann", LOCAL_PASSWORD) == ("ann", Role.CONTRIBUTOR)
        with pytest.raises(IdentityProviderUnavailable) as raised:
            await tokens.login("ann", "anns secret")
        assert raised.value.status == 503
    finally:
        directory.start()
    clock.advance(10)
    of_directory = await tokens.login("ann", "anns secret")
    local = await tokens.login("ann", LOCAL_PASSWORD)
    wall_clock.advance(7200)
    await tokens.renew(local.refresh_token)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(of_directory.refresh_token)
    await tokens.stop()
