"""Dedicated pools: how many workers a service version has of its own."""

from __future__ import annotations

from typing import Any

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire.models import CreateOrUpdateServicePoolRequest, PoolStatus
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Owner, Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.events.record import EventAction, PublishEvent, drop_event
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.services.errors import TooManyWorkers
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.record import ServiceKey, ServiceRecord
from jupyter_mlsvc_server.services.store import ServiceStore


class PoolManager(LoggingConfigurable):
    """Keeps the sizes of dedicated pools and has the scoring engine follow them."""

    largest_pool = Integer(
        80, min=1, help="Workers that a dedicated pool may be asked to have at most."
    ).tag(config=True)

    def __init__(
        self,
        *,
        store: ServiceStore,
        services: ServiceManager,
        scoring: ScoringEngine,
        publish_event: PublishEvent = drop_event,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._publish_event = publish_event
        self._store = store
        self._services = services
        self._scoring = scoring

    async def start(self) -> None:
        """Start the workers that dedicated pools keep, and what is to be warm, on their own."""
        records = await self._store.list()
        for record in records:
            if record.pool is not None:
                self._scoring.resize(*record.key, record.pool)
        self._scoring.warm_up([DefinitionKey(*record.key) for record in records])

    async def set(
        self,
        principal: Principal,
        name: str,
        version: str,
        request: CreateOrUpdateServicePoolRequest,
    ) -> None:
        """Create or resize a pool (contract: ``createOrUpdateServicePool``).

        What the request leaves out stays as it is, and as it is usual where there was no pool.

        Raises
        ------
        ServiceNotFound, Forbidden
            There is no such version, or the caller may not change it.
        BadRequest
            The sizes do not fit each other.
        TooManyWorkers
            The owner's pools would keep more workers than one person may have.
        """
        async with self._services.changing(name, version) as record:
            self._require_change(principal, record.owner, record.key)
            size = self._size(request, record.pool or self._scoring.usual_size)
            await self._require_room(record, size)
            await self._store.set_pool(record.key, size)
            self._scoring.resize(*record.key, size)
        self._publish_event(record.change(EventAction.CHANGED))
        self.log.info(
            "pool of %s/%s initial=%d max=%d by=%s",
            *(*record.key, size.initial, size.most, principal.name),
        )

    async def remove(self, principal: Principal, name: str, version: str) -> None:
        """Give up a pool, if there is one (contract: ``deleteServicePool``).

        The version has workers of the usual number again.

        Raises
        ------
        ServiceNotFound, Forbidden
            There is no such version, or the caller may not change it.
        """
        async with self._services.changing(name, version) as record:
            self._require_change(principal, record.owner, record.key)
            await self._store.set_pool(record.key, None)
            self._scoring.resize(*record.key, None)
        self._publish_event(record.change(EventAction.CHANGED))
        self.log.info("pool of %s/%s removed by=%s", *record.key, principal.name)

    async def status(self, principal: Principal, name: str, version: str) -> PoolStatus:
        """Tell how far a pool is (contract: ``getServicePoolStatus``).

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        require(principal, Action.READ_SERVICE, None, "read services")
        record = await self._services.record(name, version)
        if record.pool is None:
            return "NotFound"
        is_there = await self._scoring.has_size(*record.key, record.pool)
        return "Success" if is_there else "Pending"

    def _size(self, request: CreateOrUpdateServicePoolRequest, now: PoolSize) -> PoolSize:
        for member, value in (
            ("InitialPoolSize", request.initial_pool_size),
            ("MaxPoolSize", request.max_pool_size),
        ):
            if value is not None and not 0 <= value <= self.largest_pool:
                raise BadRequest(f"{member} is {value}; it has to be 0 to {self.largest_pool}.")
        initial, most = request.initial_pool_size, request.max_pool_size
        if initial is not None and most is not None and initial > most:
            raise BadRequest(
                f"InitialPoolSize is {initial}; it can't be larger than MaxPoolSize, {most}."
            )
        # The one that is not given makes room for the other.
        if initial is None:
            initial = now.initial if most is None else min(now.initial, most)
        return PoolSize(initial, max(now.most, initial) if most is None else most)

    async def _require_room(self, record: ServiceRecord, size: PoolSize) -> None:
        limit = self._scoring.max_workers_per_user
        kept = size.initial + sum(
            each.pool.initial
            for each in await self._store.list()
            if each.pool and each.owner.id == record.owner.id and each.key != record.key
        )
        if size.initial and 0 < limit < kept:
            raise TooManyWorkers(kept, limit)

    def _require_change(self, principal: Principal, owner: Owner, key: ServiceKey) -> None:
        what = f"change the pool of version {key.version!r} of service {key.name!r}"
        require(principal, Action.CHANGE_SERVICE, owner, what)
