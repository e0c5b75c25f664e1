"""``jupyter mlsvc signing-key``: the keys that sign access tokens, also while servers run."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from traitlets import Bool

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.auth.cli import DatabaseCommand, table
from jupyter_mlsvc_server.auth.signing_keys import SigningKeyStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.cli import CommandGroup
from jupyter_mlsvc_server.storage.database import Database


class RotateSigningKey(DatabaseCommand):
    """Make a new key, which signs access tokens from now on.

    Tokens that earlier keys have signed stay valid until they expire. Where a key may be known to
    others, --at-once deletes the earlier ones: programs that have a refresh token go on with it,
    others log in again.
    """

    name = "jupyter-mlsvc-signing-key-rotate"
    description = __doc__
    command = "jupyter mlsvc signing-key"
    usage = "jupyter mlsvc signing-key rotate [--at-once]"
    examples = usage

    at_once = Bool(False, help="Whether tokens that earlier keys signed end now.").tag(config=True)

    flags = {  # noqa: RUF012 - as the base class has it
        **DatabaseCommand.flags,
        "at-once": (
            {"RotateSigningKey": {"at_once": True}},
            "End all tokens that earlier keys have signed.",
        ),
    }

    async def work_on(self, database: Database, *_words: str) -> str:
        """Add the key."""
        now = time.time()
        lifetime = float(TokenManager.access_token_lifetime.default_value)
        configured = self.config.TokenManager.get("access_token_lifetime", lifetime)
        since = float("inf") if self.at_once else now - 2 * max(lifetime, float(configured))
        key = await SigningKeyStore(database=database).rotate(now, since)
        return f"Key {key.id} signs access tokens from now on."


class ListSigningKeys(DatabaseCommand):
    """List the keys that sign or verify access tokens, the one that signs last."""

    name = "jupyter-mlsvc-signing-key-list"
    description = __doc__
    command = "jupyter mlsvc signing-key"
    usage = "jupyter mlsvc signing-key list"
    examples = usage
    is_change = False

    async def work_on(self, database: Database, *_words: str) -> str:
        """Write a line a key, without the key."""
        keys = await SigningKeyStore(database=database).read()
        if not keys:
            return "No keys. The first start of a server makes one."
        rows = [
            (key.id, f"{datetime.fromtimestamp(key.created_at, UTC):%Y-%m-%d %H:%M:%S}")
            for key in keys
        ]
        return table([("ID", "MADE AT (UTC)"), *rows])


class SigningKeyApp(CommandGroup):
    """Change and list the keys that sign access tokens."""

    command = RotateSigningKey.command
    name = "jupyter-mlsvc-signing-key"
    description = __doc__
    version = __version__
    subcommands = {  # noqa: RUF012
        "list": (ListSigningKeys, "List the keys."),
        "rotate": (RotateSigningKey, "Make a new key."),
    }
    examples = "\n".join(command.usage for command, _ in subcommands.values())
