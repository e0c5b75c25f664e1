"""LDAP and Active Directory: names and passwords that a company's directory verifies."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from traitlets import Enum, Integer, TraitError, Unicode

from jupyter_mlsvc_server.auth.authenticator import Authenticator, Identity
from jupyter_mlsvc_server.auth.errors import IdentityProviderUnavailable
from jupyter_mlsvc_server.auth.passwords import read_password_file
from jupyter_mlsvc_server.storage.clock import Clock

_ON_CONNECT: Final = "on_connect"
_BEFORE_BIND: Final = "before_bind"
_INSECURE: Final = "insecure"
_WRONG: Final = {19, 32, 34, 48, 49, 50, 53}
"""Results of a bind that are the person's: locked, no such entry, wrong password, shut out."""
_LONGEST: Final = 256
_PAUSE: Final = 5.0
"""Seconds for which a directory that did not answer is not asked again."""


class LdapAuthenticator(Authenticator):
    """Verifies names and passwords of POST /login by a bind to a directory.

    Settings have the names that JupyterHub's LDAPAuthenticator has for them.

    Parameters
    ----------
    clock
        The clock by which a directory that did not answer is asked again.
    """

    default_prefix = "ldap"

    server_address = Unicode(
        help="Name of the directory's machine, as its certificate has it."
    ).tag(config=True)
    server_port = Integer(
        None,
        allow_none=True,
        help="Port of the directory; 3269 is Active Directory's global catalog. Default: 636 where "
        "tls_strategy is on_connect, else 389.",
    ).tag(config=True)
    tls_strategy = Enum(
        [_BEFORE_BIND, _ON_CONNECT, _INSECURE],
        _BEFORE_BIND,
        help="before_bind is StartTLS, on_connect is LDAPS; insecure sends passwords in the clear.",
    ).tag(config=True)
    tls_ca_file = Unicode(
        help="File (PEM) with the authorities that the directory's certificate is checked by. "
        "Empty takes the system's."
    ).tag(config=True)
    bind_dn_template = Unicode(
        help="Who binds, such as 'uid={username},ou=people,dc=example,dc=org', or "
        "'{username}@example.org' with Active Directory. Empty looks the person up first."
    ).tag(config=True)
    lookup_dn_search_user = Unicode(
        help="Who looks people up, where there is no template; empty is nobody."
    ).tag(config=True)
    lookup_dn_search_password_file = Unicode(
        help="File of mode 0600 with the password of lookup_dn_search_user."
    ).tag(config=True)
    user_search_base = Unicode(
        help="Below which entry people are looked for. Empty takes what the template names."
    ).tag(config=True)
    user_search_filter = Unicode(
        "(uid={username})",
        help="Filter for the one entry of a person; '(sAMAccountName={username})' with Active "
        "Directory. A memberOf in it restricts who can log in.",
    ).tag(config=True)
    subject_attribute = Unicode(
        "entryUUID",
        help="Attribute that never changes, nor becomes another person's; objectGUID with Active "
        "Directory.",
    ).tag(config=True)
    group_attribute = Unicode(
        "memberOf", help="Attribute of a person with the names of their groups."
    ).tag(config=True)
    group_search_base = Unicode(
        help="Below which entry groups are looked for, where people have no such attribute."
    ).tag(config=True)
    group_search_filter = Unicode(
        "(member={userdn})", help="Filter for the groups of a person; {username} can be in it, too."
    ).tag(config=True)
    directory_timeout = Integer(
        5, min=1, help="Seconds that the directory may take to answer."
    ).tag(config=True)

    def __init__(self, *, clock: Clock = time.monotonic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            import ldap3
        except ModuleNotFoundError:
            raise TraitError(
                "LdapAuthenticator needs a package to ask a directory: "
                "pip install 'jupyter-mlsvc[server,ldap]'"
            ) from None
        if not self.server_address:
            raise TraitError("LdapAuthenticator needs a setting of server_address.")
        if not (self.bind_dn_template or self.user_search_base):
            raise TraitError("LdapAuthenticator needs bind_dn_template or user_search_base.")
        self._ldap: Any = ldap3
        self._clock = clock
        self._ask_again_at = float("-inf")
        file = self.lookup_dn_search_password_file
        self._search_password = read_password_file(Path(file).expanduser()) if file else None

    async def authenticate(self, username: str, password: str) -> Identity | None:
        """Return who has a name and password; None for nobody.

        Raises
        ------
        IdentityProviderUnavailable
            The directory does not answer, or not as it is set up.
        NoRole
            None of the person's groups may use this server.
        """
        # A bind without a password succeeds, as nobody (RFC 4513, 5.1.2).
        if not password or not username.strip() or len(username) > _LONGEST:
            return None
        if not username.isprintable() or "\x00" in password:
            return None
        if self._clock() < self._ask_again_at:
            raise IdentityProviderUnavailable("the directory did not answer a moment ago")
        try:
            return await asyncio.to_thread(self._authenticate, username, password)
        except IdentityProviderUnavailable as error:
            self._ask_again_at = self._clock() + _PAUSE
            self.log.warning("the directory does not answer as it should: %s", error.logged)
            raise

    def _authenticate(self, username: str, password: str) -> Identity | None:
        with self._explained():
            dn = self._bind_name(username)
            if dn is None or not (connection := self._bound(dn, password)):
                return None
            try:
                return self._identity(connection, dn, username)
            finally:
                connection.unbind()

    def _bind_name(self, username: str) -> str | None:
        """Return who binds for a person: by the template, else by a search."""
        if self.bind_dn_template:
            from ldap3.utils.dn import escape_rdn

            return self.bind_dn_template.format(username=escape_rdn(username))
        user = self.lookup_dn_search_user or None
        connection = self._bound(user, self._search_password)
        if connection is None:
            raise IdentityProviderUnavailable("it refuses lookup_dn_search_user")
        try:
            entry = self._entry(connection, self.user_search_base, username)
        finally:
            connection.unbind()
        return None if entry is None else str(entry["dn"])

    def _identity(self, connection: Any, dn: str, username: str) -> Identity | None:
        entry = self._entry(connection, self.user_search_base or dn, username)
        if entry is None:
            return None
        own_dn = str(entry["dn"])
        subject = _first(entry["raw_attributes"].get(self.subject_attribute))
        groups = [_text(value) for value in entry["raw_attributes"].get(self.group_attribute, ())]
        groups += self._found_groups(connection, own_dn, username)
        named = [name for group in groups for name in (group, _common_name(group))]
        shown = self.account_name(username.casefold())
        return Identity(
            f"ldap://{self.server_address}",
            subject.hex() if subject else own_dn.casefold(),
            shown,
            self.role_of(named, shown),
            self.group_names(named),
        )

    def _entry(self, connection: Any, base: str, username: str) -> dict[str, Any] | None:
        """Find the one entry of a person; None for none, or for several."""
        is_own = not self.user_search_base
        found = self._search(
            connection,
            base,
            "(objectClass=*)" if is_own else self._filled(self.user_search_filter, username),
            [self.subject_attribute, self.group_attribute],
            scope=self._ldap.BASE if is_own else self._ldap.SUBTREE,
        )
        if len(found) > 1:
            self.log.warning("user_search_filter fits %d entries of one name", len(found))
        return found[0] if len(found) == 1 else None

    def _found_groups(self, connection: Any, dn: str, username: str) -> list[str]:
        if not self.group_search_base:
            return []
        wanted = self._filled(self.group_search_filter, username, dn)
        found = self._search(connection, self.group_search_base, wanted, [])
        return [str(entry["dn"]) for entry in found]

    def _search(
        self, connection: Any, base: str, wanted: str, attributes: list[str], scope: str = ""
    ) -> list[dict[str, Any]]:
        connection.search(
            base,
            wanted,
            search_scope=scope or self._ldap.SUBTREE,
            attributes=attributes or [self._ldap.NO_ATTRIBUTES],
            time_limit=self.directory_timeout,
        )
        if connection.result["result"] not in {0, 32}:
            raise IdentityProviderUnavailable(f"a search: {connection.result['description']}")
        # Referrals to other directories are not followed: they would get the password.
        return [each for each in connection.response if each["type"] == "searchResEntry"]

    def _filled(self, wanted: str, username: str, dn: str = "") -> str:
        from ldap3.utils.conv import escape_filter_chars

        return wanted.format(username=escape_filter_chars(username), userdn=escape_filter_chars(dn))

    def _bound(self, user: str | None, password: str | None) -> Any | None:
        """Open a connection as somebody; None where the password is wrong."""
        connection = self._ldap.Connection(
            # A new one: it remembers for minutes which address did not answer.
            self._make_server(),
            user=user,
            password=password,
            auto_referrals=False,
            read_only=True,
            check_names=False,
            receive_timeout=self.directory_timeout,
        )
        is_bound = False
        try:
            connection.open()
            if self.tls_strategy == _BEFORE_BIND and not connection.start_tls():
                raise IdentityProviderUnavailable("it has no StartTLS")
            is_bound = connection.bind()
            if not is_bound and connection.result["result"] not in _WRONG:
                raise IdentityProviderUnavailable(f"a bind: {connection.result['description']}")
        finally:
            if not is_bound:
                connection.unbind()
        return connection if is_bound else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from ldap3.core.exceptions import LDAPException

        try:
            yield
        except (LDAPException, OSError) as error:
            raise IdentityProviderUnavailable(f"{type(error).__name__}: {error}"[:200]) from error

    def _make_server(self) -> Any:
        tls = None
        if self.tls_strategy != _INSECURE:
            tls = self._ldap.Tls(
                validate=ssl.CERT_REQUIRED,
                ca_certs_file=self.tls_ca_file or None,
                sni=self.server_address,
            )
        uses_ldaps = self.tls_strategy == _ON_CONNECT
        return self._ldap.Server(
            self.server_address,
            port=self.server_port or (636 if uses_ldaps else 389),
            use_ssl=uses_ldaps,
            tls=tls,
            get_info=self._ldap.NONE,
            connect_timeout=self.directory_timeout,
        )


def _first(values: list[bytes] | None) -> bytes | None:
    return values[0] if values else None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _common_name(dn: str) -> str:
    """Return the name of a group without what it is below, as ML Server has it."""
    from ldap3.utils.dn import parse_dn

    try:
        attribute, value, _ = parse_dn(dn, escape=False)[0]
    except Exception:  # noqa: BLE001 - the library's own, for what is no name of an entry
        return dn
    return str(value) if attribute.lower() == "cn" else dn
