"""``jupyter mlsvc user`` in processes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlsvc_server.audit.log import files
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import InvalidAccessToken
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from tests.clocks import ManualClock

pytestmark = pytest.mark.process

PASSWORD = "correct horse"
COMMAND = [
    sys.executable,
    "-c",
    "from jupyter_mlsvc_server.auth.cli import UserApp; UserApp.launch_instance()",
]


class Shell:
    """Runs the command against a data folder."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.environment = os.environ | {
            "MLSVC_DATA_DIR": str(self.data_dir),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "jupyter"),
            "HOME": str(folder),
        }

    def user(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            check=False,
        )

    def at_terminal(self, *arguments: str, typed: list[str]) -> tuple[int, str]:
        """Run at a terminal of its own and answer each prompt."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(COMMAND[0], [*COMMAND, *arguments], self.environment)  # pragma: no cover
        shown = b""
        answers = [f"{line}\n".encode() for line in typed]
        with os.fdopen(terminal, "r+b", buffering=0) as screen:
            while True:
                try:
                    piece = screen.read(1024)
                except OSError:  # the other end is closed
                    break
                shown += piece
                if answers and piece.rstrip().endswith(b":"):
                    screen.write(answers.pop(0))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_user_is_added_listed_and_removed(shell: Shell) -> None:
    added = shell.user("add", "ann", "--role", "owner", stdin=f"{PASSWORD}\n")
    assert (added.returncode, added.stdout, added.stderr) == (0, "Added ann (owner).\n", "")
    head, row = shell.user("list").stdout.splitlines()
    assert head.split() == ["NAME", "ROLE", "KIND", "STATE", "CREATED", "(UTC)"]
    assert row.split()[:4] == ["ann", "owner", "local", "enabled"]
    assert shell.user("remove", "ann").returncode == 0
    assert "No users." in shell.user("list").stdout
    again = shell.user("remove", "ann")
    assert again.returncode == 1
    events = [json.loads(line) for path in files(shell.data_dir) for line in path.open()]
    assert [(event["operation"], event["object"], event["result"]) for event in events] == [
        ("user add", "ann", "done"),
        ("user remove", "ann", "done"),
        ("user remove", "ann", "refused"),
    ]
    assert {event["by"] for event in events} == {"command"}
    assert PASSWORD not in str(events)
    assert stat.S_IMODE(shell.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((shell.data_dir / "mlsvc.db").stat().st_mode) == 0o600


async def test_what_the_command_adds_can_log_in(shell: Shell) -> None:
    await asyncio.to_thread(shell.user, "add", "ann", stdin=f"{PASSWORD}\n")
    await asyncio.to_thread(shell.user, "passwd", "ann", stdin="battery staple\n")
    database = Database(data_dir=shell.data_dir)
    await database.start()
    principal = await AccountManager(database=database).verify("ann", "battery staple")
    await database.stop()
    assert (principal.name, principal.role) == ("ann", Role.CONTRIBUTOR)


def test_the_password_comes_from_a_private_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    assert shell.user("add", "ann", "--password-file", str(file)).returncode == 0
    file.chmod(0o644)
    refused = shell.user("passwd", "ann", "--password-file", str(file))
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_the_data_folder_can_be_given(shell: Shell, tmp_path: Path) -> None:
    there = tmp_path / "else where"
    assert shell.user("add", "ann", f"--data-dir={there}", stdin=f"{PASSWORD}\n").returncode == 0
    assert (there / "mlsvc.db").exists()
    assert not shell.data_dir.exists()


def test_the_servers_configuration_names_the_data_folder(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config" / "jupyter_mlsvc_config.py"
    config.parent.mkdir()
    config.write_text(f"c.MlsvcApp.data_dir = {str(tmp_path / 'configured')!r}\n")
    assert shell.user("list").returncode == 0
    assert (tmp_path / "configured" / "mlsvc.db").exists()


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "sentence"),
    [
        ((), "", 2, "Name one of these commands"),
        (("frob",), "", 2, "There is no command 'frob'. Name one of these commands"),
        (("add",), PASSWORD, 2, "Give one user name."),
        (("add", "ann", "bob"), PASSWORD, 2, "Give one user name."),
        (("list", "ann"), "", 2, "Give no argument."),
        (("role", "ann"), "", 2, "Give one user name and one role."),
        (("role", "ann", "king"), "", 2, "There is no role 'king'."),
        (("disable", "ann", "--kind=jupyter"), "", 1, "There is no user 'ann'"),
        (("add", "ann"), "", 2, "no password on its first line"),
        (("add", "ann"), "short", 1, "8 to 1024 characters"),
        (("add", "a/b"), PASSWORD, 1, "'a/b' is no valid user name"),
        (("add", "ann", "--role=king"), PASSWORD, 1, "king"),
        (("remove", "bob"), "", 1, "There is no user 'bob'"),
        (("passwd", "bob"), PASSWORD, 1, "There is no user 'bob'"),
        (("list", "--data-dir=/proc/nowhere"), "", 1, "/proc/nowhere/mlsvc.db cannot be used"),
    ],
)
def test_a_mistake_gets_a_sentence_and_an_exit_code(
    shell: Shell, arguments: tuple[str, ...], stdin: str, status: int, sentence: str
) -> None:
    done = shell.user(*arguments, stdin=stdin)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_name_is_given_once(shell: Shell) -> None:
    shell.user("add", "ann", stdin=PASSWORD)
    again = shell.user("add", "ann", stdin=PASSWORD)
    assert again.returncode == 1
    assert "There is a user 'ann' already" in again.stderr


def test_a_file_that_is_no_database_is_named(shell: Shell) -> None:
    shell.data_dir.mkdir()
    (shell.data_dir / "mlsvc.db").write_text("this is a text, and no database at all " * 10)
    done = shell.user("list")
    assert done.returncode == 1
    assert "mlsvc.db cannot be used: file is not a database." in done.stderr
    assert "Traceback" not in done.stderr


def test_at_a_terminal_the_password_is_asked_twice_and_not_shown(shell: Shell) -> None:
    status, shown = shell.at_terminal("add", "ann", typed=[PASSWORD, PASSWORD])
    assert status == 0, shown
    assert "Password:" in shown
    assert "Again:" in shown
    assert "Added ann (contributor)." in shown
    assert PASSWORD not in shown


def test_at_a_terminal_two_different_passwords_change_nothing(shell: Shell) -> None:
    status, shown = shell.at_terminal("add", "ann", typed=[PASSWORD, "battery staple"])
    assert status == 2
    assert "The two passwords differ; nothing was changed." in shown
    assert "No users." in shell.user("list").stdout


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(("remove", "ann"), ""), (("passwd", "ann"), "battery staple\n")],
    ids=["remove", "passwd"],
)
async def test_the_command_takes_effect_on_a_running_server_within_the_cache_time(
    database: Database,
    accounts: AccountManager,
    shell: Shell,
    arguments: tuple[str, ...],
    stdin: str,
) -> None:
    clock = ManualClock()
    tokens = TokenManager(
        database=database,
        accounts=accounts,
        data_dir=database.data_dir,
        monotonic_clock=clock,
    )
    await tokens.start()
    pair = await tokens.login("ann", PASSWORD)
    await tokens.principal_of(pair.access_token)
    done = await asyncio.to_thread(
        shell.user, *arguments, f"--data-dir={database.data_dir}", stdin=stdin
    )
    assert done.returncode == 0, done.stderr
    clock.advance(tokens.cache_seconds)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(pair.access_token)
