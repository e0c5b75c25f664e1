"""Local accounts."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from traitlets import Bool, Float, Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.auth.addresses import network_of
from jupyter_mlsvc_server.auth.authenticator import Identity
from jupyter_mlsvc_server.auth.errors import (
    InvalidAdminPassword,
    InvalidGroupName,
    InvalidPassword,
    InvalidUserName,
    NotAlone,
    UserExists,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.login_limits import LoginLimits
from jupyter_mlsvc_server.auth.login_queue import LoginQueue
from jupyter_mlsvc_server.auth.outsiders import Outsiders
from jupyter_mlsvc_server.auth.passwords import Passwords, read_password_file
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.store import LOCAL, NO_HASH, Account, AccountStore, Owned
from jupyter_mlsvc_server.errors import MlsvcServerError, TooManyRequests
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.database import Database

ADMIN: Final = "admin"
PASSWORD_VARIABLE: Final = "MLSVC_ADMIN_PASSWORD"  # noqa: S105
PASSWORD_FILE_VARIABLE: Final = "MLSVC_ADMIN_PASSWORD_FILE"  # noqa: S105

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASHES_AT_ONCE: Final = 2  # each takes a core and 64 MiB
_HASHING_NICENESS: Final = 10
_DIRECTORY_QUESTIONS: Final = 4
"""Logins at once for which a directory is asked; each takes a thread."""

T = TypeVar("T")


class AccountManager(LoggingConfigurable):
    """Adds, changes, removes and verifies users.

    Parameters
    ----------
    database
        Where they are kept.
    clock
        The clock by which failed logins are forgotten.
    """

    failed_logins = Integer(
        10,
        min=0,
        help="How many logins may fail under one user name from one address within "
        "failed_logins_window before further ones from there are refused unseen. As many from any "
        "address delay those from addresses that never logged in under that name. 0 sets no limit.",
    ).tag(config=True)
    failed_logins_of_address = Integer(
        30,
        min=0,
        help="How many logins may fail from one address (of IPv6: one /64) within "
        "failed_logins_window, under whatever names, before it may log in under names only that it "
        "logged in under before. Logins from this machine are delayed instead. 0 sets no limit.",
    ).tag(config=True)
    failed_logins_window = Float(
        60.0, min=0, help="Seconds after which a failed login no longer counts."
    ).tag(config=True)
    readers_use_sessions = Bool(
        False,
        help="Whether users with the role reader may use sessions, which is to run code on the "
        "server's machine.",
    ).tag(config=True)
    waiting_logins = Integer(
        400,
        min=1,
        help="How many logins may wait for their turn before more are refused: from one address a "
        "quarter of them, from this machine three.",
    ).tag(config=True)

    def __init__(self, *, database: Database, clock: Clock = time.monotonic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._store = AccountStore(database=database)
        self._data_dir = database.data_dir
        self.outsiders = Outsiders(store=self._store, clock=clock)
        """People for whom others answer."""
        self._passwords = Passwords()
        self.login_limits = LoginLimits(
            failures=self.failed_logins,
            address_failures=self.failed_logins_of_address,
            window=self.failed_logins_window,
            clock=clock,
        )
        """What failed lately; other servers of the database may share it."""
        self._queue = LoginQueue(slots=_HASHES_AT_ONCE, places=self.waiting_logins)
        self._directory_queue = LoginQueue(slots=_DIRECTORY_QUESTIONS, places=self.waiting_logins)
        self._hashers = ThreadPoolExecutor(_HASHES_AT_ONCE, "hashing", _lower_priority)
        self.logins: Counter[str] = Counter()
        """Logins since the server started, by what became of them."""
        self.elsewhere: Callable[[str, str], Awaitable[Identity | None]] | None = None
        """Knows people by name and password who have no account with a password here."""
        self.must_be_alone = False
        """Whether nothing would keep the code of one account from what is another's."""
        self._listeners: list[Callable[[], None]] = []

    def on_revoked(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever a user's tokens became invalid."""
        self._listeners.append(listener)

    def close(self) -> None:
        """End the threads that hash; may be called twice."""
        self._hashers.shutdown(wait=False)

    async def verify(self, name: str, password: str, address: str = "") -> Principal:
        """Return the principal of a user name and password; raises as :meth:`log_in`."""
        return (await self.log_in(name, password, address))[0]

    async def log_in(self, name: str, password: str, address: str = "") -> tuple[Principal, str]:
        """Return the principal of a user name and password, and the hash that the password fits.

        Parameters
        ----------
        address
            Where the login comes from; empty for this machine.

        Raises
        ------
        WrongCredentials
            No such user, or another password; neither the answer nor its time tells which.
        TooManyRequests
            Too many logins failed from there, or are waiting.
        NotAlone
            There is another account, and nothing confines code.
        """
        try:
            account, hashed = await self._verified(name, password, address)
        except WrongCredentials:
            self.logins["wrong"] += 1
            raise
        except TooManyRequests:
            self.logins["limited"] += 1
            raise
        if self.must_be_alone and len(await self.list()) > 1:
            raise NotAlone
        self.logins["success"] += 1
        return self.principal_of(account), hashed

    async def _verified(self, name: str, password: str, address: str) -> tuple[Account, str]:
        network = network_of(address)
        is_known = self.login_limits.knows(name, network)
        delay = self.login_limits.check(name, network)

        async def verify_here() -> tuple[Account, str] | None:
            # Others may have failed while this one waited.
            self.login_limits.check(name, network)
            found = await self._match(name, password)
            if found is None:
                # Until a directory says otherwise, so that many at once are no way round.
                self.login_limits.failed(name, network)
            return found

        async def verify_elsewhere() -> tuple[Account, str] | None:
            try:
                found = await self._match_elsewhere(name, password)
            except MlsvcServerError:
                # Nobody said that the password is wrong.
                self.login_limits.forgive(name, network)
                raise
            if found is not None:
                self.login_limits.forgive(name, network)
            return found

        self._queue.enter(network, is_known=is_known)
        try:
            if delay:
                await asyncio.sleep(delay)
            found = await self._queue.run(network, verify_here, is_known=is_known)
            if found is None and self.elsewhere is not None:
                # Who waits for a directory keeps nobody from being verified here.
                found = await self._directory_queue.run(
                    network, verify_elsewhere, is_known=is_known
                )
        finally:
            self._queue.leave(network)
        if found is None:
            raise WrongCredentials(name, address)
        self.login_limits.succeeded(name, network)
        return found

    async def add(self, name: str, password: str, role: Role, *, take_over: bool = False) -> Owned:
        """Add a user.

        Parameters
        ----------
        take_over
            Whether the user gets what removed users of that name own.

        Returns
        -------
        Owned
            What the user took over.

        Raises
        ------
        InvalidUserName
            The name breaks the rule.
        InvalidPassword
            The password is too short or too long.
        UserExists
            The name is in use.
        NameOwnsThings
            A removed user of that name owns something, which nobody took over.
        """
        _require_valid(name)
        hashed = await self._hash(password)
        owned = await self._store.add(name, hashed, role, take_over=take_over)
        self.log.info("added user=%s role=%s", name, role)
        return owned

    async def set_password(self, name: str, password: str) -> None:
        """Change a user's password; their tokens become invalid.

        Raises
        ------
        UserNotFound
            No such user.
        InvalidPassword
            The password is too short or too long.
        """
        await self._store.set_password(name, await self._hash(password))
        self._tell_listeners()
        self.log.info("changed password user=%s", name)

    async def set_role(self, name: str, role: Role) -> None:
        """Give a user another role.

        Raises
        ------
        UserNotFound
            No such user.
        """
        await self._store.set_role(name, role)
        self._tell_listeners()
        self.log.info("changed role user=%s role=%s", name, role)

    async def set_member(self, kind: str, name: str, group: str, *, is_member: bool) -> None:
        """Put somebody into a group of this server, or take them out of it.

        Parameters
        ----------
        kind, name
            The account.
        group
            Name of the group; upper and lower case count as the same.

        Raises
        ------
        InvalidGroupName
            The name breaks the rule.
        UserNotFound
            No such account.
        """
        if not _NAME.fullmatch(group):
            raise InvalidGroupName(group)
        await self._store.set_member(kind, name, group.lower(), is_member=is_member)
        self._tell_listeners()
        change = "joined" if is_member else "left"
        self.log.info("%s group=%s user=%s kind=%s", change, group, name, kind)

    async def set_disabled(self, kind: str, name: str, *, disabled: bool) -> None:
        """Shut somebody out, or let them in again.

        Raises
        ------
        UserNotFound
            No such account.
        """
        await self._store.set_disabled(kind, name, disabled=disabled)
        self._tell_listeners()
        self.log.info("%s user=%s kind=%s", "disabled" if disabled else "enabled", name, kind)

    async def rename(self, name: str, new: str) -> None:
        """Call a user otherwise; what they own and their tokens stay theirs.

        Raises
        ------
        InvalidUserName
            The new name breaks the rule.
        UserNotFound
            No such user.
        UserExists, NameOwnsThings
            The new name is not free.
        """
        _require_valid(new)
        await self._store.rename(name, new)
        self._tell_listeners()
        self.log.info("renamed user=%s to=%s", name, new)

    async def remove(self, name: str, kind: str = LOCAL) -> Owned:
        """Remove an account; its tokens become invalid, what it published stays.

        Returns
        -------
        Owned
            What stays.

        Raises
        ------
        UserNotFound
            No such account.
        """
        owned = await self._store.remove(kind, name)
        self._tell_listeners()
        self.log.info("removed user=%s kind=%s", name, kind)
        return owned

    async def living(self, ids: Collection[str]) -> dict[str, Principal]:
        """Read those of some accounts that are neither removed nor shut out, by their ids."""
        found = await self._store.living(ids)
        return {each.id: self.principal_of(each) for each in found.values()}

    def principal_of(self, account: Account) -> Principal:
        """Return an account as somebody who asks."""
        return Principal(
            account.id,
            account.name,
            account.role,
            self.readers_use_sessions,
            groups=account.groups,
        )

    async def known_elsewhere(
        self,
        kind: str,
        subject: str,
        name: str,
        role: Role,
        groups: frozenset[str] = frozenset(),
    ) -> Principal:
        """Return the principal of somebody for whom others answer; the account is made at need.

        Parameters
        ----------
        kind, subject
            Who knows them, and what they are known by there.
        name, role
            What to call them, and what they may do.
        groups
            Groups that they are in there.

        Raises
        ------
        AccountDisabled
            The account is shut out here.
        """
        return self.principal_of(await self.outsiders.find(kind, subject, name, role, groups))

    async def list(self) -> list[Account]:
        """Name all users."""
        return await self._store.list()

    async def ensure_admin(self) -> None:
        """At the first start, add the owner ``admin`` if a password was given; there is no default.

        ``MLSVC_ADMIN_PASSWORD`` holds it, or ``MLSVC_ADMIN_PASSWORD_FILE`` names a file of mode
        0600. The password leaves the environment, so that no kernel inherits it; what other
        processes are shown of the environment has lost it when the program began.

        Raises
        ------
        InvalidAdminPassword
            The password is too short or too long.
        UnusableSecretFile
            The file can't be read, or others can read it.
        """
        password = os.environ.pop(PASSWORD_VARIABLE, "")
        file = os.environ.get(PASSWORD_FILE_VARIABLE, "")
        if any(each.kind == LOCAL for each in await self.list()):
            return
        if not password and not file:
            self.log.warning(
                "There is no user yet, so nobody can log in. Add one with: "
                "jupyter mlsvc user add NAME --role owner --data-dir %s",
                shlex.quote(str(self._data_dir)),
            )
            return
        variable = PASSWORD_VARIABLE if password else PASSWORD_FILE_VARIABLE
        password = password or await asyncio.to_thread(read_password_file, Path(file))
        try:
            await self.add(ADMIN, password, Role.OWNER)
        except InvalidPassword as error:
            raise InvalidAdminPassword(variable, error.message) from None
        except UserExists:
            self.log.info("another process added %s first", ADMIN)

    async def _match(self, name: str, password: str) -> tuple[Account, str] | None:
        """Return the local account of a name and password, and its hash; None for nobody's."""
        found = await self._store.find(name) if _NAME.fullmatch(name) else None
        hashed = found[1] if found else self._passwords.nobodys
        fits = await self._hashing(self._passwords.fits, hashed, password)
        if found is None or not fits or found[0].disabled:
            return None
        if self._passwords.is_outdated(hashed):
            fresh = await self._hashing(self._passwords.hash, password)
            if await self._store.replace_hash(name, hashed, fresh):
                hashed = fresh
        return found[0], hashed

    async def _match_elsewhere(self, name: str, password: str) -> tuple[Account, str] | None:
        """Ask who else knows people by name and password, whether or not there is such a user."""
        who = None if self.elsewhere is None else await self.elsewhere(name, password)
        if who is None:
            return None
        account = await self.outsiders.find(
            who.issuer, who.subject, who.user_name, who.role, who.groups
        )
        return account, NO_HASH

    async def _hashing(self, work: Callable[..., T], *arguments: str) -> T:
        """Hash beside the event loop, at a priority that leaves the cores to calls of services."""
        return await asyncio.get_running_loop().run_in_executor(self._hashers, work, *arguments)

    async def _hash(self, password: str) -> str:
        async def hash_it() -> str:
            return await self._hashing(self._passwords.hash, password)

        return await self._queue.run("", hash_it, is_known=True)

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()


def _lower_priority() -> None:
    # On Linux each thread has a priority of its own, and those that it starts have the same.
    thread = threading.get_native_id()
    own = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, own + _HASHING_NICENESS)


def _require_valid(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidUserName(name)
