"""What a worker takes of memory for itself, and what it shares with the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.server.scoring.serving import Service, Snapshots

pytestmark = pytest.mark.asyncio(loop_scope="module")

Serve = Callable[..., Awaitable[Service]]

_MAX_OWN_KILOBYTES = 12_000
"""Kilobytes. The libraries take a hundred thousand, and their modules alone ten thousand."""


def own_kilobytes(pid: int) -> int:
    """What a process has written and shares with no other; files that are mapped apart."""
    own, is_blob = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:  # the addresses of the next mapping
            is_blob = "/blobs/" in line
        elif line.startswith("Private_Dirty:") and not is_blob:
            own += int(line.split()[1])
    return own


@pytest.mark.parametrize(
    "code",
    ["total = float(model.sum())", "import sqlite3, xmlrpc.client; total = float(model.sum())"],
    ids=["arrays", "new modules"],
)
async def test_workers_share_the_model_and_the_libraries(
    serve: Serve, snapshots: Snapshots, code: str
) -> None:
    content = snapshots.take("import numpy as np\nmodel = np.ones(5_000_000)")
    service = await serve(f"import os\ny = os.getpid()\n{code}", content, outputs="y:any total:any")
    answers = [await service.outputs() for _ in range(3)]
    assert {answer["total"] for answer in answers} == {5_000_000}
    (worker,) = {answer["y"] for answer in answers}
    assert own_kilobytes(worker) < _MAX_OWN_KILOBYTES
