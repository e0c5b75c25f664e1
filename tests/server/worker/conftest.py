from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_older_objects() -> Iterator[None]:
    """Keep what other tests left out of sight.

    A program looks through all objects of its process, of which a worker has few.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
