"""Watch for accounts that are removed, shut out or changed while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from traitlets import Float
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.policy import Action, Reach, reach
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.repeated import Repeated


class Holder(Protocol):
    """Something that runs on behalf of people."""

    @property
    def needs(self) -> Action:
        """What they have to be allowed for it to go on."""

    def held_for(self) -> set[str]:
        """Return the ids of accounts for which something runs."""

    async def end_all_of(self, account_id: str) -> None:
        """End what runs for an account."""


class AccountWatch(LoggingConfigurable):
    """Ends what runs for people who may not have it any more, and forgets their tokens.

    The command line changes accounts and signing keys in the database, and so do other servers of
    that database.

    Parameters
    ----------
    accounts
        Says who is there still.
    tokens
        Knows tokens that were good a moment ago.
    holders
        Hold what is to end.
    """

    interval = Float(
        0.5,
        min=0.05,
        help="Seconds between two looks for accounts that were removed, disabled or changed.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        accounts: AccountManager,
        tokens: TokenManager,
        holders: Sequence[Holder],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._accounts = accounts
        self._tokens = tokens
        self._holders = holders
        self._looking = Repeated(
            self.look,
            seconds=self.interval,
            failure="accounts could not be looked at",
            log=self.log,
        )

    async def start(self) -> None:
        """Begin to look."""
        self._looking.start()

    async def stop(self) -> None:
        """Look no more; may be called twice."""
        await self._looking.stop()

    async def look(self) -> None:
        """Look once.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        held = {holder: holder.held_for() for holder in self._holders}
        known = self._tokens.known_accounts() | self._accounts.outsiders.known_accounts()
        ids = known.union(*held.values())
        if not ids:
            return
        living = await self._accounts.living(ids)
        self._accounts.outsiders.compare(living)
        self._tokens.compare(living)
        await self._tokens.compare_keys()
        await self._tokens.compare_signing_keys()
        for holder, owners in held.items():
            for account_id in owners:
                principal = living.get(account_id)
                if principal is None or reach(principal, holder.needs) is Reach.NOBODYS:
                    await holder.end_all_of(account_id)
