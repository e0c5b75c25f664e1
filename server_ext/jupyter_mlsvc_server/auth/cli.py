"""``jupyter mlsvc user``: local accounts, also while the server runs."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from jupyter_core.application import JupyterApp
from traitlets import Enum, Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.passwords import read_password_file
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.storage.cli import DataFolderCommand, Misuse
from jupyter_mlsvc_server.storage.database import Database

_MISUSED: Final = 2


class UserCommand(DataFolderCommand):
    """What all commands about users share: a name, and opening the database."""

    command = "jupyter mlsvc user"
    takes_name: ClassVar[bool] = True

    async def work(self, accounts: AccountManager, name: str) -> str:
        """Do what the command is for; returns what to print."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Ask for what is missing, before the database is opened."""

    async def run(self) -> None:
        """Open the database and do the work."""
        name = self._name()
        self.prepare()
        database = Database(data_dir=self.folder, parent=self)
        await database.start()
        try:
            accounts = AccountManager(database=database, parent=self)
            print(await self.work(accounts, name))  # noqa: T201
        finally:
            await database.stop()

    def _name(self) -> str:
        expected = 1 if self.takes_name else 0
        if len(self.extra_args) != expected:
            raise Misuse("Give one user name." if self.takes_name else "Give no argument.")
        return self.extra_args[0] if self.takes_name else ""


class PasswordCommand(UserCommand):
    """A command that needs a new password."""

    password_file = Unicode(
        "",
        help="File of mode 0600 with the password on its first line. Default: the command asks "
        "twice, or reads a line from standard input where that is no terminal.",
    ).tag(config=True)

    aliases = {  # noqa: RUF012
        **UserCommand.aliases,
        "password-file": "PasswordCommand.password_file",
    }
    _password = ""

    def prepare(self) -> None:
        """Get the password."""
        if self.password_file:
            self._password = read_password_file(Path(self.password_file).expanduser())
        elif sys.stdin.isatty():
            self._password = _ask_twice()
        else:
            self._password = sys.stdin.readline().rstrip("\r\n")
            if not self._password:
                raise Misuse("Standard input has no password on its first line.")


class AddUser(PasswordCommand):
    """Add a user who can log in with a password."""

    name = "jupyter-mlsvc-user-add"
    description = __doc__
    usage = "jupyter mlsvc user add NAME [--role owner|contributor|reader] [--password-file FILE]"
    examples = "jupyter mlsvc user add ann --role contributor"

    role = Enum(
        [role.value for role in Role],
        Role.CONTRIBUTOR.value,
        help="owner: everything. contributor: publish, and change their own services. "
        "reader: list and call services.",
    ).tag(config=True)

    aliases = {**PasswordCommand.aliases, "role": "AddUser.role"}  # noqa: RUF012

    async def work(self, accounts: AccountManager, name: str) -> str:
        """Add the user."""
        await accounts.add(name, self._password, Role(self.role))
        return f"Added {name} ({self.role})."


class ChangePassword(PasswordCommand):
    """Change a user's password; they have to log in again everywhere."""

    name = "jupyter-mlsvc-user-passwd"
    description = __doc__
    usage = "jupyter mlsvc user passwd NAME [--password-file FILE]"
    examples = "jupyter mlsvc user passwd ann"

    async def work(self, accounts: AccountManager, name: str) -> str:
        """Change the password."""
        await accounts.set_password(name, self._password)
        return f"Changed the password of {name}; their tokens are no longer valid."


class RemoveUser(UserCommand):
    """Remove a user; what they published stays."""

    name = "jupyter-mlsvc-user-remove"
    description = __doc__
    usage = "jupyter mlsvc user remove NAME"
    examples = usage

    async def work(self, accounts: AccountManager, name: str) -> str:
        """Remove the user."""
        await accounts.remove(name)
        return f"Removed {name}; their tokens are no longer valid, their services stay."


class ListUsers(UserCommand):
    """List all users with their roles."""

    name = "jupyter-mlsvc-user-list"
    description = __doc__
    usage = "jupyter mlsvc user list"
    examples = usage
    takes_name = False

    async def work(self, accounts: AccountManager, _name: str) -> str:
        """Write a line a user."""
        users = [
            (user.name, user.role.value, user.created_at[:19]) for user in await accounts.list()
        ]
        if not users:
            return "No users. Add one with: jupyter mlsvc user add NAME --role owner"
        return _table([("NAME", "ROLE", "CREATED (UTC)"), *users])


class UserApp(JupyterApp):
    """Add, change, list and remove local accounts."""

    name = "jupyter-mlsvc-user"
    description = __doc__
    version = __version__
    subcommands = {  # noqa: RUF012
        "add": (AddUser, "Add a user."),
        "passwd": (ChangePassword, "Change a user's password."),
        "list": (ListUsers, "List all users."),
        "remove": (RemoveUser, "Remove a user."),
    }
    examples = "\n".join(command.usage for command, _ in subcommands.values())

    def start(self) -> None:
        """Run the subcommand; without one, say which there are."""
        if self.subapp is not None:
            self.subapp.start()
            return
        unknown = f"There is no command {self.extra_args[0]!r}. " if self.extra_args else ""
        print(  # noqa: T201
            f"jupyter mlsvc user: {unknown}Name one of these commands:\n{self.examples}",
            file=sys.stderr,
        )
        self.exit(_MISUSED)


def _ask_twice() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise Misuse("The two passwords differ; nothing was changed.")
    return password


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
