"""People for whom others answer, such as a Jupyter server; each has an account of that kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from jupyter_mlsvc_server.auth.errors import AccountDisabled
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.store import Account, AccountStore
from jupyter_mlsvc_server.errors import MachineFault
from jupyter_mlsvc_server.storage.clock import Clock

_FRESH_SECONDS: Final = 1.0
"""Seconds for which an account is taken to be as it was read."""
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account
    role: Role
    name: str
    groups: frozenset[str]
    fresh_until: float


class Outsiders:
    """Finds accounts of people whom this server did not verify itself.

    One that was read a moment ago is not read again. While the database does not answer, those
    that are known are taken to be as they were.

    Parameters
    ----------
    store
        Where accounts are kept.
    clock
        The clock by which what was read is fresh.
    """

    def __init__(self, *, store: AccountStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def find(
        self,
        kind: str,
        subject: str,
        name: str,
        role: Role,
        groups: frozenset[str] = frozenset(),
    ) -> Account:
        """Return the account of somebody; it is made the first time.

        Raises
        ------
        AccountDisabled
            It is shut out.
        """
        account = await self._account(kind, subject, name, role, groups)
        if account.disabled:
            raise AccountDisabled(account.name)
        return account

    def known_accounts(self) -> set[str]:
        """Return the ids of accounts that are taken to be as they were read."""
        return {each.account.id for each in self._known.values()}

    def compare(self, living: Container[str]) -> None:
        """Forget accounts that are removed or shut out.

        Parameters
        ----------
        living
            Ids of those of :meth:`known_accounts` that are neither.
        """
        for key in [key for key, each in self._known.items() if each.account.id not in living]:
            del self._known[key]

    async def _account(
        self, kind: str, subject: str, name: str, role: Role, groups: frozenset[str]
    ) -> Account:
        known = self._known.get((kind, subject))
        if known is not None and (known.name, known.role, known.groups) != (name, role, groups):
            known = None
        now = self._clock()
        if known is not None and now < known.fresh_until:
            return known.account
        try:
            account = await self._store.find_or_add(kind, subject, name, role, groups)
        except MachineFault:
            if known is None:
                raise
            return known.account
        self._known[kind, subject] = _Known(account, role, name, groups, now + _FRESH_SECONDS)
        self._known.move_to_end((kind, subject))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return account
