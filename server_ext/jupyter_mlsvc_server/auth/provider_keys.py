"""Public keys of an issuer, which it changes from time to time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from jwt import PyJWK

from jupyter_mlsvc_server.auth.errors import IdentityProviderUnavailable, InvalidAccessToken
from jupyter_mlsvc_server.storage.clock import Clock

Keys = Mapping[str, PyJWK]

_COOL_DOWN: Final = 10.0
"""Seconds between two questions: tokens with keys that nobody knows must not cause more."""


class ProviderKeys:
    """The keys that are known, and when to ask for them again.

    A key that is known answers at once; whether it still counts is asked for beside that. A key
    that is not known is asked for, at most once every ten seconds. While the provider does not
    answer, keys that are known stay so, for a time.

    Parameters
    ----------
    fetch
        Asks the provider for its keys, by their ids.
    refresh_seconds
        Age of the keys from which on they are asked for again.
    outage_seconds
        Age up to which they count while the provider does not answer.
    clock
        The clock of their age.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Keys]],
        *,
        refresh_seconds: float,
        outage_seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._refresh_seconds = refresh_seconds
        self._outage_seconds = outage_seconds
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._failure: IdentityProviderUnavailable | None = None
        self._asking: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> PyJWK:
        """Return a key by its id; the only one there is where a token names none.

        Raises
        ------
        InvalidAccessToken
            The provider has no such key.
        IdentityProviderUnavailable
            The provider would have to be asked and does not answer.
        """
        key = self._known(key_id)
        if key is not None:
            if self._age() >= self._refresh_seconds:
                self._ask_beside()
            return key
        if self._may_ask():
            await asyncio.shield(self._ask())
            key = self._known(key_id)
        if key is not None:
            return key
        if self._failure is not None:
            raise self._failure
        raise InvalidAccessToken

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _known(self, key_id: str | None) -> PyJWK | None:
        if self._age() >= max(self._outage_seconds, self._refresh_seconds):
            return None
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_ask(self) -> bool:
        if self._asking is not None:
            return True
        return self._asked_at is None or self._clock() - self._asked_at >= _COOL_DOWN

    def _ask_beside(self) -> None:
        if self._may_ask():
            self._ask()

    def _ask(self) -> asyncio.Task[None]:
        """Ask the provider; who comes meanwhile waits for the same answer."""
        if self._asking is None:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask_once())
        return self._asking

    async def _ask_once(self) -> None:
        try:
            self._keys = await self._fetch()
            self._fetched_at, self._failure = self._clock(), None
        except IdentityProviderUnavailable as error:
            self._failure = error
        finally:
            self._asking = None
