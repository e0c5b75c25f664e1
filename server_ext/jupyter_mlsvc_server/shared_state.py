"""State that the servers of one database have in memory, and tell each other of.

What is told late, or never, is looked for in the database as well: revisions by ``RevisionWatch``,
tokens by ``TokenManager`` and ``AccountWatch``. Signals make it a matter of milliseconds. Events
and failed logins are in memory only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.events.hub import EventHub
from jupyter_mlsvc_server.events.record import Change, Kind
from jupyter_mlsvc_server.services.revision_watch import RevisionWatch
from jupyter_mlsvc_server.storage.signals import Signals


def share_state(
    signals: Signals,
    *,
    accounts: AccountManager,
    tokens: TokenManager,
    events: EventHub,
    revision_watch: RevisionWatch,
) -> None:
    """Have the parts of a server tell those of other servers what changed, and hear of theirs."""

    def share_event(change: Change) -> None:
        # A session is there for callers of its own server only.
        if change.kind is not Kind.SESSION:
            signals.send("event", msgspec.to_builtins(change))

    def take_event(body: object) -> None:
        change = msgspec.convert(body, Change)
        if change.kind is Kind.SERVICE:
            revision_watch.look_soon()
        events.take(change)

    def share_login(what: str, keys: Any) -> None:
        signals.send("login", [what, *keys])

    def take_login(body: list[str]) -> None:
        accounts.login_limits.take(body[0], body[1:])

    def look_at_all() -> None:
        revision_watch.look_soon()
        tokens.look_up_all()
        events.begin_anew()

    events.share = share_event
    accounts.login_limits.share = share_login
    tokens.on_revoked(partial(signals.send, "revoked"))
    signals.on("event", take_event)
    signals.on("login", take_login)
    signals.on("revoked", lambda _body: tokens.look_up_all())
    signals.on_gap(look_at_all)
