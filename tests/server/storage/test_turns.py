"""Long work in the event loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from jupyter_mlsvc_server.storage.turns import in_turns


def test_others_get_turns_while_many_items_are_made() -> None:
    made: list[int] = []
    seen: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return -item

    async def look() -> None:
        while len(made) < 1000:
            seen.append(len(made))
            await asyncio.sleep(0)

    async def both() -> list[int]:
        looking = asyncio.create_task(look())
        result = await in_turns(make, range(1000))
        await looking
        return result

    assert asyncio.run(both()) == [-item for item in range(1000)]
    assert max(after - before for before, after in pairwise(seen)) <= 100
