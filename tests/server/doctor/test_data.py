"""The doctor on what is stored: data folder, disk, database and accounts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from traitlets.config import Config

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.doctor import data
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.installation import ID_FILE


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(data_dir=tmp_path / "data")


async def make_database(setup: Setup, *users: str) -> None:
    database = Database(data_dir=setup.data_dir)
    await database.start()
    accounts = AccountManager(database=database)
    for user in users:
        await accounts.add(user, "correct horse", Role.OWNER)
    accounts.close()
    await database.stop()


def write(setup: Setup, statement: str) -> None:
    engine = sa.create_engine(f"sqlite:///{setup.data_dir / 'mlsvc.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def states(findings: list[Finding]) -> dict[str, State]:
    return {each.check: each.state for each in findings}


# --- data folder -----------------------------------------------------------------------------


def test_a_data_folder_that_is_not_there_yet_is_made_by_the_start(setup: Setup) -> None:
    (found,) = data.check_data_folder(setup)
    assert found.state is State.INFO


@pytest.mark.parametrize(
    ("mode", "state", "mend"), [(0o700, State.OK, ""), (0o755, State.FAIL, "chmod -R go= ")]
)
def test_a_data_folder_is_nobody_elses(setup: Setup, mode: int, state: State, mend: str) -> None:
    setup.data_dir.mkdir()
    setup.data_dir.chmod(mode)
    (found,) = data.check_data_folder(setup)
    assert (found.state, mend in found.mend) == (state, True)


def test_a_signing_key_that_others_may_read_is_told(setup: Setup) -> None:
    setup.data_dir.mkdir(mode=0o700)
    key = setup.data_dir / "secret.key"
    key.touch()
    key.chmod(0o644)
    (found,) = data.check_data_folder(setup)
    assert found.state is State.FAIL
    assert "secret.key" in found.message


@pytest.mark.parametrize("exists", [True, False])
def test_a_data_folder_that_cannot_be_written_is_told(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if exists:
        setup.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(os, "access", lambda *_: False)
    (found,) = data.check_data_folder(setup)
    assert found.state is State.FAIL
    assert found.mend


# --- disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "files_left", "state"),
    [
        (10 * 2**30, 500, State.OK),
        (10 * 2**30, 5, State.WARN),
        (2**29, 500, State.WARN),
        (2**20, 500, State.FAIL),
    ],
)
def test_disk_needs_room(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, free: int, files_left: int, state: State
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=free))
    system = SimpleNamespace(f_files=1000, f_favail=files_left)
    monkeypatch.setattr(os, "statvfs", lambda _place: system)
    (found,) = data.check_disk(setup)
    assert found.state is state


# --- database --------------------------------------------------------------------------------


def test_a_database_that_is_not_there_yet_is_made_by_the_start(setup: Setup) -> None:
    (found,) = data.check_database(setup)
    assert found.state is State.INFO


async def test_a_database_with_an_account_is_well(setup: Setup) -> None:
    await make_database(setup, "ann")
    found = [*data.check_database(setup)]
    assert states(found) == {"database": State.OK, "accounts": State.OK}


async def test_a_database_without_accounts_lets_nobody_in(setup: Setup) -> None:
    await make_database(setup)
    found = [*data.check_database(setup)]
    assert states(found) == {"database": State.OK, "accounts": State.WARN}
    assert "jupyter mlsvc user add" in found[-1].mend


async def test_an_older_schema_is_brought_up_to_date_by_the_start(setup: Setup) -> None:
    await make_database(setup)
    write(setup, "UPDATE alembic_version SET version_num = '0001'")
    (found,) = data.check_database(setup)
    assert found.state is State.INFO


async def test_a_newer_schema_is_told(setup: Setup) -> None:
    await make_database(setup)
    write(setup, "UPDATE alembic_version SET version_num = '9999'")
    (found,) = data.check_database(setup)
    assert (found.state, "newer version" in found.message) == (State.FAIL, True)


async def test_a_database_of_another_data_folder_is_told(setup: Setup) -> None:
    await make_database(setup, "ann")
    write(setup, "INSERT INTO installations VALUES ('this one')")
    (setup.data_dir / ID_FILE).write_text("another one")
    found = [*data.check_database(setup)]
    assert [each.state for each in found] == [State.OK, State.FAIL, State.OK]
    assert "jupyter mlsvc adopt" in found[1].mend


async def test_a_database_of_something_else_is_told(setup: Setup) -> None:
    setup.data_dir.mkdir()
    write(setup, "CREATE TABLE others (id INTEGER)")
    (found,) = data.check_database(setup)
    assert (found.state, "no schema" in found.message) == (State.FAIL, True)


def test_a_damaged_database_is_told(setup: Setup) -> None:
    setup.data_dir.mkdir()
    (setup.data_dir / "mlsvc.db").write_bytes(b"no database " * 1000)
    (found,) = data.check_database(setup)
    assert (found.state, "not a database" in found.message) == (State.FAIL, True)


async def test_the_configured_database_is_looked_at(setup: Setup, tmp_path: Path) -> None:
    elsewhere = Config(Database={"url": f"sqlite:///{tmp_path / 'elsewhere.db'}"})
    (found,) = data.check_database(Setup(data_dir=setup.data_dir, config=elsewhere))
    assert "elsewhere.db" in found.message


async def test_looking_at_the_database_changes_nothing(setup: Setup) -> None:
    await make_database(setup, "ann")
    file = setup.data_dir / "mlsvc.db"
    file.chmod(0o400)
    before = file.read_bytes()
    [*data.check_database(setup)]
    assert file.read_bytes() == before
