"""``jupyter mlsvc key``: keys of applications, also while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from traitlets import Float, Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.auth.cli import CommandGroup, DatabaseCommand, table
from jupyter_mlsvc_server.auth.service_keys import ServiceKeyStore
from jupyter_mlsvc_server.storage.database import Database


class KeyCommand(DatabaseCommand):
    """A command about keys."""

    command = "jupyter mlsvc key"
    words: ClassVar[Sequence[str]] = ("name",)

    async def work_on(self, database: Database, *words: str) -> str:
        """Do it with the keys of the database."""
        return await self.work(ServiceKeyStore(database=database), *words)

    async def work(self, keys: ServiceKeyStore, *words: str) -> str:
        """Do what the command is for; returns what to print."""
        raise NotImplementedError


class AddKey(KeyCommand):
    """Make a key with which an application calls services; it is shown this once."""

    name = "jupyter-mlsvc-key-add"
    description = __doc__
    usage = "jupyter mlsvc key add NAME [--services A,B] [--user USER] [--days N]"
    examples = "jupyter mlsvc key add billing --services churn,credit --user ann --days 90"

    services = Unicode(
        "", help="Names of the services that the key is for, with commas. Default: all."
    ).tag(config=True)
    user = Unicode("", help="User with whom the key ends, when they are disabled or removed.").tag(
        config=True
    )
    days = Float(0.0, min=0, help="Days for which the key is good. 0: until it is revoked.").tag(
        config=True
    )

    aliases = {  # noqa: RUF012
        **KeyCommand.aliases,
        "services": "AddKey.services",
        "user": "AddKey.user",
        "days": "AddKey.days",
    }

    async def work(self, keys: ServiceKeyStore, *words: str) -> str:
        """Make the key."""
        (name,) = words
        services = [each.strip() for each in self.services.split(",") if each.strip()]
        expires_at = datetime.now(UTC) + timedelta(days=self.days) if self.days else None
        return await keys.add(
            name, maker=self.user, services=services or None, expires_at=expires_at
        )


class ListKeys(KeyCommand):
    """List all keys; the keys themselves are not kept."""

    name = "jupyter-mlsvc-key-list"
    description = __doc__
    usage = "jupyter mlsvc key list"
    examples = usage
    words = ()
    is_change = False

    async def work(self, keys: ServiceKeyStore, *_words: str) -> str:
        """Write a line a key."""
        now = datetime.now(UTC).isoformat()
        rows = [
            (
                key.name,
                "all" if key.services is None else ",".join(key.services),
                key.maker,
                _state(key.disabled, key.expires_at, now),
                key.created_at[:19],
                (key.expires_at or "never")[:19],
            )
            for key in await keys.list()
        ]
        if not rows:
            return "No keys. Make one with: jupyter mlsvc key add NAME"
        return table(
            [("NAME", "SERVICES", "USER", "STATE", "CREATED (UTC)", "EXPIRES (UTC)"), *rows]
        )


def _state(disabled: bool, expires_at: str | None, now: str) -> str:
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "disabled" if disabled else "enabled"


class RevokeKey(KeyCommand):
    """Make a key invalid for good."""

    name = "jupyter-mlsvc-key-revoke"
    description = __doc__
    usage = "jupyter mlsvc key revoke NAME"
    examples = usage

    async def work(self, keys: ServiceKeyStore, *words: str) -> str:
        """Revoke the key."""
        (name,) = words
        await keys.revoke(name)
        return f"Revoked {name}."


class KeyApp(CommandGroup):
    """Make, list and revoke keys of applications."""

    command = KeyCommand.command
    name = "jupyter-mlsvc-key"
    description = __doc__
    version = __version__
    subcommands = {  # noqa: RUF012
        "add": (AddKey, "Make a key."),
        "list": (ListKeys, "List all keys."),
        "revoke": (RevokeKey, "Revoke a key."),
    }
    examples = "\n".join(command.usage for command, _ in subcommands.values())
