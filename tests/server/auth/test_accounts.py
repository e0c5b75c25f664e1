"""Local accounts."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticator import Identity
from jupyter_mlsvc_server.auth.errors import (
    IdentityProviderUnavailable,
    InvalidAdminPassword,
    InvalidPassword,
    InvalidUserName,
    NotAlone,
    UnusableSecretFile,
    UserExists,
    UserNotFound,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.passwords import Passwords
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import Busy, TooManyRequests
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as account_table
from tests.clocks import ManualClock
from tests.waiting import until

PASSWORD = "correct horse"


async def stored_hash(database: Database, name: str = "ann") -> str:
    query = sa.select(account_table.c.password_hash).where(account_table.c.name == name)
    return str(await database.read(lambda connection: connection.scalar(query)))


async def test_a_right_password_tells_who_it_is(accounts: AccountManager) -> None:
    assert await accounts.verify("ann", PASSWORD) == Principal("ann", "ann", Role.CONTRIBUTOR)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "incorrect horse"),
        ("ann", ""),
        ("ann", "x" * 5_000_000),
        ("ann", "\ud800"),
        ("ANN", PASSWORD),
        ("bob", PASSWORD),
        ("", PASSWORD),
        ("a\x00nn", PASSWORD),
        ("ann' OR '1'='1", PASSWORD),
    ],
    ids=["wrong", "empty", "huge", "surrogate", "case", "unknown", "no-name", "nul", "sql"],
)
async def test_wrong_credentials_get_one_answer(
    accounts: AccountManager, name: str, password: str
) -> None:
    with pytest.raises(WrongCredentials, match=r"^The user name or the password is wrong\.$"):
        await accounts.verify(name, password)


async def test_where_nothing_confines_code_a_second_account_ends_logins(
    accounts: AccountManager,
) -> None:
    accounts.must_be_alone = True
    await accounts.verify("ann", PASSWORD)
    await accounts.add("ben", PASSWORD, Role.READER)
    for name in ("ann", "ben"):
        with pytest.raises(NotAlone, match="more than one account by now"):
            await accounts.verify(name, PASSWORD)
    accounts.must_be_alone = False
    await accounts.verify("ben", PASSWORD)


async def test_a_disabled_user_is_refused(accounts: AccountManager, database: Database) -> None:
    await database.run(
        lambda connection: connection.execute(account_table.update().values(disabled=True))
    )
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", PASSWORD)


class RecordedPasswords(Passwords):
    """Keeps the hashes that passwords are compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.compared: list[str] = []

    def fits(self, hashed: str, password: str) -> bool:
        self.compared.append(hashed)
        return super().fits(hashed, password)


async def test_an_unknown_user_costs_as_much_hashing_as_a_wrong_password(
    accounts: AccountManager,
) -> None:
    accounts._passwords = recorded = RecordedPasswords()
    for name in ("ann", "nobody"):
        with pytest.raises(WrongCredentials):
            await accounts.verify(name, "incorrect horse")
    known, unknown = recorded.compared
    assert extract_parameters(unknown) == extract_parameters(known)
    # It is computed to the end: a hash that cannot be read would fail at once, as something else.
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(unknown, "incorrect horse")


@pytest.mark.parametrize("name", ["a", "Ann.B-c_d@example.org", "9", "x" * 64])
async def test_user_names_that_are_taken(accounts: AccountManager, name: str) -> None:
    await accounts.add(name, PASSWORD, Role.READER)
    assert (await accounts.verify(name, PASSWORD)).name == name


@pytest.mark.parametrize("name", ["", " ann", "a b", "-a", "a/b", "ä", "x" * 65, "ann\n", "a\\b"])
async def test_user_names_that_are_refused(accounts: AccountManager, name: str) -> None:
    with pytest.raises(InvalidUserName, match="is no valid user name"):
        await accounts.add(name, PASSWORD, Role.READER)


@pytest.mark.parametrize("name", ["ann", "Ann"])
async def test_a_name_is_given_once_whatever_its_case(accounts: AccountManager, name: str) -> None:
    with pytest.raises(UserExists, match="already"):
        await accounts.add(name, PASSWORD, Role.READER)
    assert [account.name for account in await accounts.list()] == ["ann"]


@pytest.mark.parametrize("password", ["", "short77", "x" * 1025])
async def test_passwords_have_8_to_1024_characters(accounts: AccountManager, password: str) -> None:
    with pytest.raises(InvalidPassword, match="8 to 1024"):
        await accounts.add("bob", password, Role.READER)
    with pytest.raises(InvalidPassword):
        await accounts.set_password("ann", password)
    await accounts.verify("ann", PASSWORD)


async def test_a_password_does_not_depend_on_how_its_letters_are_composed(
    accounts: AccountManager,
) -> None:
    await accounts.add("bob", "pa\u0308sswort", Role.READER)
    assert (await accounts.verify("bob", "p\u00e4sswort")).name == "bob"


async def test_a_changed_password_takes_the_place_of_the_old(accounts: AccountManager) -> None:
    await accounts.set_password("ann", "battery staple")
    await accounts.verify("ann", "battery staple")
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", PASSWORD)


async def test_a_removed_user_is_gone(accounts: AccountManager) -> None:
    await accounts.remove("ann")
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", PASSWORD)
    assert await accounts.list() == []


async def test_changing_or_removing_nobody_says_so(accounts: AccountManager) -> None:
    with pytest.raises(UserNotFound, match="no user 'bob'"):
        await accounts.remove("bob")
    with pytest.raises(UserNotFound, match="no user 'bob'"):
        await accounts.set_password("bob", PASSWORD)


async def test_a_password_is_stored_and_logged_nowhere(
    accounts: AccountManager, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", "incorrect horse")
    await accounts.verify("ann", PASSWORD)
    files = b"".join(path.read_bytes() for path in database.data_dir.iterdir())
    assert b"$argon2id$" in files
    assert b"correct horse" not in files
    assert "horse" not in caplog.text
    assert "horse" not in repr([vars(accounts), await accounts.list()])


def test_hashes_of_accounts_cost_what_is_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.auth.passwords.PasswordHasher", PasswordHasher)
    assert Passwords().nobodys.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_hash_of_lower_cost_is_renewed_at_login(
    accounts: AccountManager, database: Database
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await database.run(lambda c: c.execute(account_table.update().values(password_hash=weak)))
    await accounts.verify("ann", PASSWORD)
    renewed = await stored_hash(database)
    assert renewed != weak
    await accounts.verify("ann", PASSWORD)
    assert await stored_hash(database) == renewed


# --- too many attempts -----------------------------------------------------------------------


@pytest.mark.usefixtures("accounts")
async def test_too_many_failures_refuse_even_the_right_password_for_a_while(
    database: Database,
) -> None:
    clock = ManualClock()
    accounts = AccountManager(
        database=database, failed_logins=2, failed_logins_window=60.0, clock=clock
    )
    for _ in range(2):
        with pytest.raises(WrongCredentials):
            await accounts.verify("ann", "incorrect horse")
    with pytest.raises(TooManyRequests) as refusal:
        await accounts.verify("ann", PASSWORD)
    assert refusal.value.headers == {"Retry-After": "60"}
    clock.advance(59.5)
    with pytest.raises(TooManyRequests) as refusal:
        await accounts.verify("ann", PASSWORD)
    assert refusal.value.headers == {"Retry-After": "1"}
    clock.advance(0.5)
    assert (await accounts.verify("ann", PASSWORD)).name == "ann"
    assert accounts.logins == {"wrong": 2, "limited": 2, "success": 1}


@pytest.mark.usefixtures("accounts")
async def test_failures_of_one_name_do_not_count_for_another(database: Database) -> None:
    accounts = AccountManager(database=database, failed_logins=1)
    with pytest.raises(WrongCredentials):
        await accounts.verify("bob", PASSWORD)
    with pytest.raises(TooManyRequests):
        await accounts.verify("bob", PASSWORD)
    await accounts.verify("ann", PASSWORD)


@pytest.mark.usefixtures("accounts")
async def test_a_success_clears_earlier_failures(database: Database) -> None:
    accounts = AccountManager(database=database, failed_logins=2)
    for password in ("incorrect", PASSWORD, "incorrect", PASSWORD):
        if password == PASSWORD:
            await accounts.verify("ann", password)
        else:
            with pytest.raises(WrongCredentials):
                await accounts.verify("ann", password)


async def test_many_right_logins_at_once_all_pass(accounts: AccountManager) -> None:
    answers = await asyncio.gather(*(accounts.verify("ann", PASSWORD) for _ in range(15)))
    assert {answer.name for answer in answers} == {"ann"}


@pytest.mark.usefixtures("accounts")
async def test_guesses_in_parallel_do_not_pass_the_login_rate_limit(database: Database) -> None:
    accounts = AccountManager(database=database, failed_logins=2)
    outcomes = await asyncio.gather(
        *(accounts.verify("ann", f"guess number {n}") for n in range(12)), return_exceptions=True
    )
    looked_at = [outcome for outcome in outcomes if isinstance(outcome, WrongCredentials)]
    assert 2 <= len(looked_at) <= 3
    assert sum(isinstance(outcome, TooManyRequests) for outcome in outcomes) >= 9


@pytest.mark.usefixtures("accounts")
async def test_a_flood_of_logins_is_refused_rather_than_queued(database: Database) -> None:
    narrow = AccountManager(database=database, waiting_logins=4)
    outcomes = await asyncio.gather(
        *(narrow.verify(f"user{n}", PASSWORD) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Busy) for outcome in outcomes) == 5


@pytest.mark.usefixtures("accounts")
async def test_guesses_from_elsewhere_refuse_nobody(database: Database) -> None:
    accounts = AccountManager(database=database, failed_logins=2)
    await accounts.verify("ann", PASSWORD, "192.0.2.1")
    for _ in range(2):
        with pytest.raises(WrongCredentials):
            await accounts.verify("ann", "incorrect horse", "192.0.2.2")
    with pytest.raises(TooManyRequests):
        await accounts.verify("ann", PASSWORD, "192.0.2.2")
    await accounts.verify("ann", PASSWORD, "192.0.2.1")
    await accounts.verify("ann", PASSWORD, "192.0.2.3")


@pytest.mark.usefixtures("accounts")
async def test_ever_new_names_from_one_address_are_refused(database: Database) -> None:
    accounts = AccountManager(database=database, failed_logins_of_address=3)
    for number in range(3):
        with pytest.raises(WrongCredentials):
            await accounts.verify(f"name{number}", PASSWORD, "2001:db8::1")
    with pytest.raises(TooManyRequests):
        await accounts.verify("ann", PASSWORD, "2001:db8::2")
    await accounts.verify("ann", PASSWORD, "2001:db8:0:1::2")


@pytest.mark.usefixtures("accounts")
async def test_nothing_is_hashed_for_a_client_that_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = AccountManager(database=database)
    hashed: list[str] = []

    def fits(_: str, password: str) -> bool:
        hashed.append(password)
        return False

    monkeypatch.setattr(accounts._passwords, "fits", fits)
    logins = [asyncio.create_task(accounts.verify("ann", f"guess {n}")) for n in range(20)]
    await asyncio.sleep(0)
    for login in logins[2:]:
        login.cancel()
    await asyncio.gather(*logins, return_exceptions=True)
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", "last guess")
    assert sorted(hashed) == ["guess 0", "guess 1", "last guess"]


# --- the first start -------------------------------------------------------------------------


@pytest.fixture
def empty(database: Database, monkeypatch: pytest.MonkeyPatch) -> AccountManager:
    monkeypatch.delenv("MLSVC_ADMIN_PASSWORD", raising=False)
    monkeypatch.delenv("MLSVC_ADMIN_PASSWORD_FILE", raising=False)
    return AccountManager(database=database)


async def test_without_a_password_no_admin_is_made_and_the_log_says_how(
    empty: AccountManager, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    empty.log = logging.getLogger("test")
    await empty.ensure_admin()
    assert await empty.list() == []
    command = f"jupyter mlsvc user add NAME --role owner --data-dir {database.data_dir}"
    assert command in caplog.text


async def test_the_admin_comes_from_the_environment_which_forgets_the_password(
    empty: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", PASSWORD)
    await empty.ensure_admin()
    admin = await empty.verify("admin", PASSWORD)
    assert (admin.name, admin.role) == ("admin", Role.OWNER)
    assert "MLSVC_ADMIN_PASSWORD" not in os.environ


async def test_the_admin_comes_from_a_private_file(
    empty: AccountManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nsecond line\n")
    file.chmod(0o600)
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD_FILE", str(file))
    await empty.ensure_admin()
    assert (await empty.verify("admin", PASSWORD)).role is Role.OWNER


@pytest.mark.parametrize(
    ("mode", "text", "why"),
    [(0o640, PASSWORD, "chmod 600"), (0o604, PASSWORD, "chmod 600"), (0o600, "\n", "first line")],
    ids=["group", "others", "empty"],
)
async def test_a_password_file_that_is_open_or_empty_is_refused(
    empty: AccountManager,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: int,
    text: str,
    why: str,
) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    file.chmod(mode)
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD_FILE", str(file))
    with pytest.raises(UnusableSecretFile, match=why):
        await empty.ensure_admin()
    assert await empty.list() == []


async def test_an_admin_password_that_is_too_short_names_its_variable(
    empty: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", "short")
    with pytest.raises(InvalidAdminPassword, match=r"^MLSVC_ADMIN_PASSWORD gives .* 8 to 1024"):
        await empty.ensure_admin()


async def test_a_missing_password_file_is_named(
    empty: AccountManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD_FILE", str(tmp_path / "nothing"))
    with pytest.raises(UnusableSecretFile, match="nothing cannot be read: No such file"):
        await empty.ensure_admin()


async def test_where_there_are_users_no_admin_is_made(
    accounts: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", PASSWORD)
    await accounts.ensure_admin()
    assert [account.name for account in await accounts.list()] == ["ann"]


async def test_a_second_start_leaves_the_admins_password_alone(
    empty: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for password in (PASSWORD, "battery staple"):
        monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", password)
        await empty.ensure_admin()
    await empty.verify("admin", PASSWORD)


# --- beside a directory ----------------------------------------------------------------------


class SlowDirectory:
    """Knows one person, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.problem: Exception | None = None

    async def match(self, username: str, password: str) -> Identity | None:
        self.asked += 1
        await self.may_answer.wait()
        if self.problem is not None:
            raise self.problem
        fits = password == "in the directory"
        return Identity("ldap://x", username, f"ldap:{username}", Role.READER) if fits else None


@pytest.fixture
async def directory(accounts: AccountManager) -> SlowDirectory:
    slow = SlowDirectory()
    accounts.elsewhere = slow.match
    return slow


async def test_who_waits_for_a_directory_keeps_nobody_from_logging_in(
    accounts: AccountManager, directory: SlowDirectory
) -> None:
    of_directory = [
        asyncio.create_task(accounts.verify(f"person{n}", "in the directory")) for n in range(9)
    ]
    await until(lambda: directory.asked)
    assert (await accounts.verify("ann", PASSWORD)).name == "ann"
    assert directory.asked <= 4
    directory.may_answer.set()
    assert len({each.name for each in await asyncio.gather(*of_directory)}) == 9


async def test_guesses_beside_a_slow_directory_do_not_pass_the_limit(
    database: Database, directory: SlowDirectory
) -> None:
    accounts = AccountManager(database=database, failed_logins=3)
    accounts.elsewhere = directory.match
    guesses = [asyncio.create_task(accounts.verify("ann", f"guess {n}")) for n in range(12)]
    await until(lambda: sum(guess.done() for guess in guesses) >= 8)
    directory.may_answer.set()
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(outcome, WrongCredentials) for outcome in outcomes) <= 4
    assert {type(outcome) for outcome in outcomes} == {WrongCredentials, TooManyRequests}


@pytest.mark.parametrize("problem", [None, IdentityProviderUnavailable("it is away")])
async def test_what_a_directory_says_yes_to_or_nothing_counts_as_no_failure(
    database: Database, directory: SlowDirectory, problem: Exception | None
) -> None:
    accounts = AccountManager(database=database, failed_logins=2, failed_logins_of_address=2)
    accounts.elsewhere = directory.match
    directory.problem = problem
    directory.may_answer.set()
    for number in range(6):
        login = accounts.verify(f"person{number % 2}", "in the directory", f"192.0.2.{number % 2}")
        if problem is None:
            await login
        else:
            with pytest.raises(IdentityProviderUnavailable):
                await login
