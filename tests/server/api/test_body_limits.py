"""The limit of the body of each call, as the table of the documentation has it."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.docs.tables import with_bodies
from tests.server.api.test_app import ANN, read_answer
from tests.serving import served, tables_of_all_nouns, tokens_of

LARGE = 5 * 2**20
LIMITS = {"small": 8 * 2**10, "normal": 2**20, "large": LARGE, "upload": LARGE}
ROWS = [(method, each.path, operation.body) for each, method, operation in with_bodies()]


@pytest.mark.parametrize(("method", "path", "size"), ROWS, ids=str)
async def test_a_longer_body_is_refused_before_it_is_sent(
    method: str, path: str, size: object
) -> None:
    limit = LIMITS[str(getattr(size, "value", ""))]
    target = re.sub(r"\{\w+\}", "a", path)
    async with served(*tables_of_all_nouns(), tokens=tokens_of("ann"), max_bytes=LARGE) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        length = f"Content-Length: {limit + 1}"
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{ANN}{length}\r\n\r\n".encode())
        answer = await read_answer(reader)
        writer.close()
    assert answer.status == 413
    assert f"({limit:,} bytes)" in answer.body["message"]
