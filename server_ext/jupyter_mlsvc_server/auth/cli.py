"""``jupyter mlsvc user``: local accounts, also while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import http.client
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from traitlets import Bool, Enum, Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.audit.command import note_command
from jupyter_mlsvc_server.audit.record import Result
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.passwords import read_password_file
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.store import LOCAL
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.host import (
    SECRET_HEADER,
    socket_address,
    socket_path,
    socket_secret,
)
from jupyter_mlsvc_server.storage.cli import CommandGroup, DataFolderCommand, Misuse
from jupyter_mlsvc_server.storage.database import Database

_TELL_SECONDS: Final = 10.0


class DatabaseCommand(DataFolderCommand):
    """What commands about users and keys share: names, the database, a line of the audit log."""

    words: ClassVar[Sequence[str]] = ()
    """What the command line names, in order."""
    is_change: ClassVar[bool] = True

    async def work_on(self, database: Database, *words: str) -> str:
        """Do what the command is for; returns what to print."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Ask for what is missing, before the database is opened."""

    async def run(self) -> None:
        """Open the database and do the work."""
        words = self._words()
        self.prepare()
        database = Database(data_dir=self.folder, parent=self)
        await database.start()
        try:
            said = await self.work_on(database, *words)
        except MlsvcServerError:
            self._note(words, "refused")
            raise
        finally:
            await database.stop()
        self._note(words, "done")
        if self.is_change:
            await asyncio.to_thread(tell_server, self.folder)
        print(said)  # noqa: T201

    def _note(self, words: Sequence[str], result: Result) -> None:
        if self.is_change:
            note_command(self, "/".join(words), result)

    def _words(self) -> list[str]:
        if len(self.extra_args) != len(self.words):
            raise Misuse(
                f"Give {' and '.join(f'one {each}' for each in self.words) or 'no argument'}."
            )
        return self.extra_args


class UserCommand(DatabaseCommand):
    """A command about users."""

    command = "jupyter mlsvc user"
    words: ClassVar[Sequence[str]] = ("user name",)

    async def work_on(self, database: Database, *words: str) -> str:
        """Do it with the accounts of the database."""
        return await self.work(AccountManager(database=database, parent=self), *words)

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Do what the command is for; returns what to print."""
        raise NotImplementedError


class KindCommand(UserCommand):
    """A command for accounts of any kind."""

    kind = Unicode(
        LOCAL,
        help="Who knows the user: local for those with a password here, jupyter for those of "
        "Jupyter servers, jupyterhub for those of JupyterHub. 'jupyter mlsvc user list' shows it.",
    ).tag(config=True)

    aliases = {**UserCommand.aliases, "kind": "KindCommand.kind"}  # noqa: RUF012


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
    usage = (
        "jupyter mlsvc user add NAME [--role owner|contributor|reader|caller] [--take-over] "
        "[--password-file FILE]"
    )
    examples = "jupyter mlsvc user add ann --role contributor"

    role = Enum(
        [role.value for role in Role],
        Role.CONTRIBUTOR.value,
        help="owner: everything. contributor: publish, and change their own services. "
        "reader: list and call services. caller: call services, and read what that needs.",
    ).tag(config=True)

    take_over = Bool(False, help="Whether the user gets what removed users of that name own.").tag(
        config=True
    )

    aliases = {**PasswordCommand.aliases, "role": "AddUser.role"}  # noqa: RUF012
    flags = {  # noqa: RUF012
        **PasswordCommand.flags,
        "take-over": (
            {"AddUser": {"take_over": True}},
            "Give the user what removed users of that name own.",
        ),
    }

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Add the user."""
        (name,) = words
        role = Role(self.role)
        owned = await accounts.add(name, self._password, role, take_over=self.take_over)
        taken = f" They have {owned} of before." if owned else ""
        return f"Added {name} ({self.role}).{taken}"


class ChangePassword(PasswordCommand):
    """Change a user's password; they have to log in again everywhere."""

    name = "jupyter-mlsvc-user-passwd"
    description = __doc__
    usage = "jupyter mlsvc user passwd NAME [--password-file FILE]"
    examples = "jupyter mlsvc user passwd ann"

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Change the password."""
        (name,) = words
        await accounts.set_password(name, self._password)
        return f"Changed the password of {name}; their tokens are no longer valid."


class ChangeRole(UserCommand):
    """Give a user another role; it counts from their next request on."""

    name = "jupyter-mlsvc-user-role"
    description = __doc__
    usage = "jupyter mlsvc user role NAME owner|contributor|reader|caller"
    examples = "jupyter mlsvc user role ann reader"
    words = ("user name", "role")

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Change the role."""
        name, role = words
        if role not in set(Role):
            raise Misuse(f"There is no role {role!r}.")
        await accounts.set_role(name, Role(role))
        return f"{name} is {role} now."


class DisableUser(KindCommand):
    """Shut a user out; their tokens and service keys, sessions and running batches end."""

    name = "jupyter-mlsvc-user-disable"
    description = __doc__
    usage = "jupyter mlsvc user disable NAME [--kind KIND]"
    examples = usage

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Disable the account."""
        (name,) = words
        await accounts.set_disabled(self.kind, name, disabled=True)
        return f"Disabled {name}. Tokens, sessions and running batches end; all else stays."


class EnableUser(KindCommand):
    """Let a user in again who was shut out."""

    name = "jupyter-mlsvc-user-enable"
    description = __doc__
    usage = "jupyter mlsvc user enable NAME [--kind KIND]"
    examples = usage

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Enable the account."""
        (name,) = words
        await accounts.set_disabled(self.kind, name, disabled=False)
        return f"Enabled {name}."


class RenameUser(UserCommand):
    """Call a user otherwise; what they own stays theirs, and their logins go on."""

    name = "jupyter-mlsvc-user-rename"
    description = __doc__
    usage = "jupyter mlsvc user rename NAME NEW_NAME"
    examples = "jupyter mlsvc user rename ann anna"
    words = ("user name", "new name")

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Rename the account."""
        name, new = words
        await accounts.rename(name, new)
        return f"{name} is called {new} now."


class RemoveUser(KindCommand):
    """Remove a user; what runs for them ends, what they published stays."""

    name = "jupyter-mlsvc-user-remove"
    description = __doc__
    usage = "jupyter mlsvc user remove NAME [--kind KIND]"
    examples = usage

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Remove the user."""
        (name,) = words
        owned = await accounts.remove(name, self.kind)
        said = f"Removed {name}. Tokens, sessions and running batches end."
        if owned:
            said += f" What stays: {owned}."
        if owned and self.kind == LOCAL:
            said += f" A new user gets that with: jupyter mlsvc user add {name} --take-over"
        return said


class ListUsers(UserCommand):
    """List all users with their roles."""

    name = "jupyter-mlsvc-user-list"
    description = __doc__
    usage = "jupyter mlsvc user list"
    examples = usage
    words = ()
    is_change = False

    async def work(self, accounts: AccountManager, *_words: str) -> str:
        """Write a line a user."""
        rows = [
            (
                *(user.name, user.role.value, user.kind),
                "disabled" if user.disabled else "enabled",
                user.created_at[:19],
            )
            for user in await accounts.list()
        ]
        if not rows:
            return "No users. Add one with: jupyter mlsvc user add NAME --role owner"
        return table([("NAME", "ROLE", "KIND", "STATE", "CREATED (UTC)"), *rows])


class UserApp(CommandGroup):
    """Add, change, list and remove local accounts."""

    command = UserCommand.command
    name = "jupyter-mlsvc-user"
    description = __doc__
    version = __version__
    subcommands = {  # noqa: RUF012
        "add": (AddUser, "Add a user."),
        "passwd": (ChangePassword, "Change a user's password."),
        "list": (ListUsers, "List all users."),
        "role": (ChangeRole, "Give a user another role."),
        "disable": (DisableUser, "Shut a user out."),
        "enable": (EnableUser, "Let a user in again."),
        "rename": (RenameUser, "Call a user otherwise."),
        "remove": (RemoveUser, "Remove a user."),
    }
    examples = "\n".join(command.usage for command, _ in subcommands.values())


def tell_server(data_dir: Path) -> None:
    """Have the server of a data folder look at once; one that can't be told looks by itself."""
    connection = http.client.HTTPConnection("localhost", timeout=_TELL_SECONDS)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_TELL_SECONDS)
        with socket_address(socket_path(data_dir)) as address:
            connection.sock.connect(address)
        secret = socket_secret(socket_path(data_dir))
        connection.request("POST", "/host/accounts", headers={SECRET_HEADER: secret})
        connection.getresponse().read()


def _ask_twice() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise Misuse("The two passwords differ; nothing was changed.")
    return password


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows, with their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
