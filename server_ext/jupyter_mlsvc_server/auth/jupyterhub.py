"""JupyterHub: the server as a service of the hub, which knows whose a token is."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from traitlets import Dict, Enum, Float, List, TraitError, Unicode, default, validate

from jupyter_mlsvc_server.auth.authenticator import NOBODY, Identity, TokenAuthenticator
from jupyter_mlsvc_server.auth.errors import (
    IdentityProviderUnavailable,
    InvalidHubToken,
    NoAccessToService,
    NoRole,
)
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.provider_http import get_json
from jupyter_mlsvc_server.storage.clock import Clock

API_URL_VARIABLE: Final = "JUPYTERHUB_API_URL"
SERVICE_NAME_VARIABLE: Final = "JUPYTERHUB_SERVICE_NAME"
"""Of what JupyterHub runs, only services have it, and no person's server."""

_ISSUER: Final = "jupyterhub"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_~+/=-]{8,255}")
"""The hub makes tokens of 32 digits; those of its configuration may be others. None is a JWT."""
_ALL_SERVICES: Final = "access:services"
_QUESTIONS: Final = 4
"""Questions to the hub at once."""
_QUESTIONS_OF_STRANGERS: Final = 2
"""Those about tokens that were never good: made-up ones leave room for the others."""
_WAITING: Final = 100
"""Tokens about which the hub is asked, or is to be."""
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class HubUser:
    """A person or service, as the hub describes the owner of a token.

    Attributes
    ----------
    kind
        ``user`` or ``service``.
    scopes
        What the token may do; not all that its owner may.
    """

    kind: str
    name: str
    is_admin: bool
    groups: tuple[str, ...]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer of the hub, and until when it counts."""

    user: HubUser
    fresh_until: float
    trusted_until: float


class HubAuthenticator(TokenAuthenticator):
    """Takes tokens of JupyterHub, those of people's single-user servers among them.

    The hub says whose a token is (``GET /hub/api/user``), by the token itself: this server needs
    none of its own. Only a token with access to this service is taken.

    Parameters
    ----------
    clock
        The clock by which answers of the hub are fresh.
    """

    default_prefix = "jupyterhub"

    api_url = Unicode(
        help="Address of the hub's API, such as http://127.0.0.1:8081/hub/api. Default: "
        "JUPYTERHUB_API_URL, which the hub sets for a service that it runs."
    ).tag(config=True)
    service_name = Unicode(
        help="Name by which JupyterHub.services has this server: a token needs the scope "
        "access:services!service=NAME, or access:services. Default: JUPYTERHUB_SERVICE_NAME, "
        "which the hub sets as well."
    ).tag(config=True)
    role_scopes = Dict(
        key_trait=Enum([role.value for role in Role]),
        value_trait=List(Unicode()),
        help="Scopes of tokens that give a role, such as {'owner': ['custom:mlsvc:own']}; with "
        "role_groups, the highest role counts.",
    ).tag(config=True)
    admin_role = Enum(
        [NOBODY, *(role.value for role in Role)],
        NOBODY,
        help="Role of the hub's admins; none gives them that of their groups and scopes.",
    ).tag(config=True)
    cache_seconds = Float(
        30.0,
        min=0,
        max=600,
        help="Seconds after which the hub is asked again about a token: a revoked one counts for "
        "so long, and TokenManager.cache_seconds more, at most.",
    ).tag(config=True)
    outage_seconds = Float(
        300.0,
        min=0,
        help="Seconds that a token which was good counts while the hub does not answer, as when "
        "it is restarted.",
    ).tag(config=True)
    timeout = Float(5.0, min=0.1, help="Seconds that the hub may take to answer.").tag(config=True)
    ca_file = Unicode(
        help="File (PEM) with the authorities that the hub's certificate is checked by. Empty "
        "takes those that requests trusts."
    ).tag(config=True)

    def __init__(self, *, clock: Clock = time.monotonic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not self.api_url or not self.service_name:
            raise TraitError(
                "HubAuthenticator needs settings of both api_url and service_name, where "
                "JupyterHub does not run this server."
            )
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[HubUser]] = {}
        self._strangers = asyncio.Semaphore(_QUESTIONS_OF_STRANGERS)
        self._threads = ThreadPoolExecutor(_QUESTIONS, "jupyterhub")
        self._is_away = False

    @default("api_url")
    def _default_api_url(self) -> str:
        return os.environ.get(API_URL_VARIABLE, "").rstrip("/")

    @default("service_name")
    def _default_service_name(self) -> str:
        return os.environ.get(SERVICE_NAME_VARIABLE, "")

    @validate("api_url")
    def _check_api_url(self, proposal: dict[str, Any]) -> str:
        url: str = proposal["value"]
        if url and not url.startswith(("http://", "https://")):
            raise TraitError(f"HubAuthenticator.api_url is {url!r}; it has to be an address.")
        return url.rstrip("/")

    async def close(self) -> None:
        """Ask the hub no more."""
        for task in self._asking.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def issued(self, token: str, claims: Mapping[str, Any]) -> bool:
        """Return whether a token looks like one of the hub's, which says nothing itself."""
        return _TOKEN.fullmatch(token) is not None

    async def verify(self, token: str) -> tuple[Identity, float]:
        """Return whose token it is; only the hub knows when it ends.

        Raises
        ------
        InvalidHubToken
            The hub does not know it.
        NoAccessToService
            It is not for this server.
        NoRole
            Neither scopes nor groups give a role here.
        IdentityProviderUnavailable
            The hub does not answer.
        """
        user = await self._owner_of(token)
        name = self.account_name(user.name)
        needed = f"{_ALL_SERVICES}!service={self.service_name}"
        if not user.scopes & {needed, _ALL_SERVICES}:
            raise NoAccessToService(name, needed)
        is_only_hub = self.prefix == self.default_prefix
        issuer = _ISSUER if is_only_hub else f"{_ISSUER}:{self.prefix}"
        # The hub knows people and services by nothing but their names.
        subject = f"{user.kind}:{user.name}"
        role, groups = self._role(user, name), self.group_names(user.groups)
        return Identity(issuer, subject, name, role, groups), float("inf")

    def _role(self, user: HubUser, name: str) -> Role:
        given = {
            role
            for role in Role
            if user.scopes & set(self.role_scopes.get(role.value, ()))
            or (user.is_admin and role.value == self.admin_role)
        }
        try:
            given.add(self.role_of(user.groups, name))
        except NoRole:
            if not given:
                raise
        return next(role for role in Role if role in given)

    # --- asking the hub ----------------------------------------------------------------------

    async def _owner_of(self, token: str) -> HubUser:
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._clock() < known.fresh_until:
            return known.user
        task = self._asking.get(key)
        if task is None:
            if known is None and len(self._asking) >= _WAITING:
                raise IdentityProviderUnavailable("many tokens are to be asked about")
            task = asyncio.create_task(self._ask(token, key, is_stranger=known is None))
            self._asking[key] = task
            task.add_done_callback(lambda task: self._forget_question(key, task))
        try:
            return await asyncio.shield(task)
        except IdentityProviderUnavailable:
            if known is not None and self._clock() < known.trusted_until:
                return known.user
            raise

    def _forget_question(self, key: bytes, task: asyncio.Task[HubUser]) -> None:
        del self._asking[key]
        if not task.cancelled():
            # Whoever asked may have gone.
            task.exception()

    async def _ask(self, token: str, key: bytes, *, is_stranger: bool) -> HubUser:
        if is_stranger:
            async with self._strangers:
                user = await self._answer(token)
        else:
            user = await self._answer(token)
        if user is None:
            self._known.pop(key, None)
            raise InvalidHubToken
        now = self._clock()
        trusted = max(self.cache_seconds, self.outage_seconds)
        self._known[key] = _Known(user, now + self.cache_seconds, now + trusted)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return user

    async def _answer(self, token: str) -> HubUser | None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._fetch, token)
        except IdentityProviderUnavailable as error:
            if not self._is_away:
                self._is_away = True
                self.log.warning("JupyterHub does not answer: %s", error.logged)
            raise
        if self._is_away:
            self._is_away = False
            self.log.info("JupyterHub answers again")
        return found

    def _fetch(self, token: str) -> HubUser | None:
        """Ask whose token it is; None for nobody's."""
        url = f"{self.api_url}/user"
        status, answer = get_json(
            url,
            timeout=self.timeout,
            verify=self.ca_file or True,
            headers={"Authorization": f"token {token}"},
        )
        if status in {401, 403}:
            return None
        user = hub_user(answer) if status == 200 else None
        if user is None:
            raise IdentityProviderUnavailable(f"{url}: status {status}, and nobody of the hub's")
        return user


def hub_user(model: Mapping[str, Any]) -> HubUser | None:
    """Read the hub's description of somebody; None where it is none."""
    kind, name = model.get("kind"), model.get("name")
    if kind not in {"user", "service"} or not isinstance(name, str) or not name:
        return None
    return HubUser(
        kind=kind,
        name=name,
        is_admin=model.get("admin") is True,
        groups=tuple(_texts(model.get("groups"))),
        scopes=frozenset(_texts(model.get("scopes"))),
    )


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
