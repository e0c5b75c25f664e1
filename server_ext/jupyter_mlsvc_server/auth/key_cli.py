"""``jupyter mlsvc key``: keys of applications, also while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from traitlets import Float, Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import CreateServiceKeyRequest
from jupyter_mlsvc_server.auth.cli import DatabaseCommand, table
from jupyter_mlsvc_server.auth.key_options import new_key
from jupyter_mlsvc_server.auth.service_keys import ServiceKeyStore
from jupyter_mlsvc_server.storage.cli import CommandGroup
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database

_COLUMNS: Final = (
    *("NAME", "SERVICES", "USER", "STATE", "CREATED (UTC)", "EXPIRES (UTC)"),
    *("CALLS", "LAST USE (UTC)", "NOTE"),
)


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


class CreateKey(KeyCommand):
    """Make a key with which an application calls services; it is shown this once."""

    name = "jupyter-mlsvc-key-create"
    description = __doc__
    usage = (
        "jupyter mlsvc key create NAME [--services A,B/V1.0] [--days N] [--note TEXT] "
        "[--rate 10/second] [--origins https://example.org] [--user USER]"
    )
    examples = "jupyter mlsvc key create billing --services churn,credit --user ann --days 90"

    services = Unicode(
        "",
        help="Services that the key is for, with commas: names, or NAME/VERSION for one version. "
        "Default: all.",
    ).tag(config=True)
    note = Unicode("", help="What the key is for, in a line.").tag(config=True)
    rate = Unicode(
        "", help="How many calls it may make, such as 10/second or 600/minute. Default: no limit."
    ).tag(config=True)
    origins = Unicode(
        "", help="Origins, with commas, whose pages may call with the key from a browser."
    ).tag(config=True)
    user = Unicode("", help="User with whom the key ends, when they are disabled or removed.").tag(
        config=True
    )
    days = Float(0.0, min=0, help="Days for which the key is good. 0: until it is revoked.").tag(
        config=True
    )

    aliases = {  # noqa: RUF012
        **KeyCommand.aliases,
        "services": "CreateKey.services",
        "note": "CreateKey.note",
        "rate": "CreateKey.rate",
        "origins": "CreateKey.origins",
        "user": "CreateKey.user",
        "days": "CreateKey.days",
    }

    async def work(self, keys: ServiceKeyStore, *words: str) -> str:
        """Make the key."""
        (name,) = words
        request = CreateServiceKeyRequest(
            name=name,
            services=_items(self.services) or None,
            note=self.note,
            rate=self.rate,
            origins=_items(self.origins),
            expires_in_seconds=self.days * 86_400 if self.days else None,
        )
        return await keys.add(new_key(request), maker=self.user)


def _items(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


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
        now = now_text()
        rows = [
            (
                key.name,
                "all" if key.services is None else ",".join(key.services),
                key.maker,
                key.state(now),
                key.created_at[:19],
                (key.expires_at or "never")[:19],
                str(key.calls),
                (key.last_used_at or "never")[:19],
                key.note,
            )
            for key in await keys.list()
        ]
        if not rows:
            return "No keys. Make one with: jupyter mlsvc key create NAME"
        return table([_COLUMNS, *rows])


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
        "create": (CreateKey, "Make a key."),
        "add": (CreateKey, "The same."),
        "list": (ListKeys, "List all keys."),
        "revoke": (RevokeKey, "Revoke a key."),
    }
    examples = "\n".join(each.usage for each in (CreateKey, ListKeys, RevokeKey))
