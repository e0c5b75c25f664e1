"""Sizes that a dedicated pool may be asked to have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from traitlets.config import Config

from jupyter_mlsvc.wire.models import CreateOrUpdateServicePoolRequest
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.services.errors import TooManyWorkers
from jupyter_mlsvc_server.services.pools import PoolManager
from jupyter_mlsvc_server.services.record import ServiceKey, ServiceRecord


def record_of(
    owner: str, name: str, version: str = "1", pool: PoolSize | None = None
) -> ServiceRecord:
    spec = ServiceSpec(name=ServiceName(name), version=Version(version), revision_id="r1")
    return ServiceRecord(spec=spec, owner=Owner(owner, owner), created_at="", pool=pool)


class World:
    """Stands for the store, the services and the engine; notes the sizes it is given."""

    usual_size = PoolSize(1, 2)
    max_workers_per_user = 10

    def __init__(self) -> None:
        self.sizes: list[PoolSize] = []
        self.others: list[ServiceRecord] = []

    async def list(self) -> list[ServiceRecord]:
        return self.others

    @asynccontextmanager
    async def changing(self, name: str, version: str) -> AsyncIterator[ServiceRecord]:
        yield record_of("ann", name, version)

    async def set_pool(self, _key: ServiceKey, size: PoolSize) -> None:
        self.sizes.append(size)

    def resize(self, _name: str, _version: str, _size: PoolSize) -> None:
        """Do nothing."""


async def test_a_pool_is_no_larger_than_the_largest() -> None:
    world: Any = World()
    pools = PoolManager(
        store=world,
        services=world,
        scoring=world,
        config=Config({"PoolManager": {"largest_pool": 3}}),
    )
    ann = Principal("ann", "ann", Role.CONTRIBUTOR)
    await pools.set(ann, "some", "1", CreateOrUpdateServicePoolRequest(max_pool_size=3))
    with pytest.raises(BadRequest, match="MaxPoolSize is 4; it has to be 0 to 3"):
        await pools.set(ann, "some", "1", CreateOrUpdateServicePoolRequest(max_pool_size=4))
    assert world.sizes == [PoolSize(1, 3)]


async def test_a_persons_pools_keep_no_more_workers_than_a_person_may_have() -> None:
    world: Any = World()
    world.others = [
        record_of("ann", "other", pool=PoolSize(6, 6)),
        record_of("ann", "some", pool=PoolSize(3, 3)),
        record_of("bob", "his", pool=PoolSize(9, 9)),
    ]
    pools = PoolManager(store=world, services=world, scoring=world)
    ann = Principal("ann", "ann", Role.CONTRIBUTOR)
    await pools.set(ann, "some", "1", CreateOrUpdateServicePoolRequest(initial_pool_size=4))
    with pytest.raises(TooManyWorkers, match=r"would keep 11 workers; .* may have 10"):
        await pools.set(ann, "some", "1", CreateOrUpdateServicePoolRequest(initial_pool_size=5))
    assert world.sizes == [PoolSize(4, 4)]
