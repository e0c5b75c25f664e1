"""Making, listing and revoking keys of applications that call services."""

from __future__ import annotations

from typing import Any

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.key_options import new_key
from jupyter_mlsvc_server.auth.key_verifier import KeyVerifier
from jupyter_mlsvc_server.auth.policy import Action, may
from jupyter_mlsvc_server.auth.principal import Owner, Principal
from jupyter_mlsvc_server.auth.service_keys import ServiceKey, ServiceKeyStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.events.record import (
    Change,
    EventAction,
    Kind,
    PublishEvent,
    drop_event,
)
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database


class KeyManager(LoggingConfigurable):
    """Keeps keys of applications.

    Parameters
    ----------
    database
        Where they are kept.
    verifier
        Counts what keys are used for.
    tokens
        Knows keys that were good a moment ago.
    """

    max_keys_per_user = Integer(
        100, min=0, help="Service keys that one person may have. 0 sets no limit."
    ).tag(config=True)

    def __init__(
        self,
        *,
        database: Database,
        verifier: KeyVerifier,
        tokens: TokenManager,
        publish_event: PublishEvent = drop_event,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = ServiceKeyStore(database=database)
        self._verifier = verifier
        self._tokens = tokens
        self._publish_event = publish_event

    async def create(
        self, principal: Principal, request: models.CreateServiceKeyRequest
    ) -> models.CreateServiceKeyResponse:
        """Make a key for services that the caller may change (``createServiceKey``).

        Raises
        ------
        InvalidKeyOption
            The key can't be as it is asked for; the message says why.
        KeyExists, TooManyKeys
            There is one of that name, or the caller has as many as one may have.
        UnknownService, Forbidden
            There is no such service, or the caller may not change it.
        """
        key, secret = await self._store.add_for(
            principal, new_key(request), most=self.max_keys_per_user
        )
        self._verifier.forget_origins()
        self._announce(key, EventAction.CREATED)
        self.log.info("made service key=%s by=%s", key.name, principal.name)
        return models.CreateServiceKeyResponse(key=secret, service_key=_view(key))

    async def list(self, principal: Principal) -> list[models.ServiceKey]:
        """List the caller's keys, and those of all for an owner (``listServiceKeys``)."""
        await self._verifier.write()
        return [_view(key) for key in await self._store.list(_whose(principal))]

    async def revoke(self, principal: Principal, name: str) -> None:
        """End a key at once (``revokeServiceKey``).

        Raises
        ------
        KeyNotFound
            The caller has none of that name.
        """
        key = await self._store.revoke(name, _whose(principal))
        self._verifier.forget(key.id)
        self._tokens.forget_key(key.id)
        self._announce(key, EventAction.DELETED)
        self.log.info("revoked service key=%s by=%s", key.name, principal.name)

    def _announce(self, key: ServiceKey, action: EventAction) -> None:
        owner = Owner(key.maker_id, key.maker)
        self._publish_event(
            Change(kind=Kind.KEY, action=action, owner=owner, id=key.id, name=key.name)
        )


def _whose(principal: Principal) -> str | None:
    """Return whose keys somebody may see; None for anybody's."""
    return None if may(principal, Action.USE_KEYS, None) else principal.id


def _view(key: ServiceKey) -> models.ServiceKey:
    return models.ServiceKey(
        id=key.id,
        name=key.name,
        services=None if key.services is None else list(key.services),
        note=key.note,
        maker=key.maker,
        state=key.state(now_text()),
        creation_time=key.created_at,
        expiration_time=key.expires_at,
        rate=key.rate or None,
        origins=list(key.origins),
        calls=key.calls,
        last_use=key.last_used_at,
    )
