"""Connections on which nothing is asked for a while."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, publish
from tests.benchmarks.plan import Plan


def grow(plan: Plan) -> list[Growth]:
    """Open more and more, each of which has called a service, and calls it again at the end."""
    sizes = [plan.scaled(size) for size in (100, 1000, 5000)]
    with ExitStack() as stack:
        server = stack.enter_context(OurServer(plan.work / "idle"))
        first = stack.enter_context(server.connect())
        path = publish(
            *(first, "Next", "y = x + 1"),
            snapshot=None,
            inputs={"x": "integer"},
            outputs={"y": "integer"},
        )
        _ask(first, path, 0)
        server.wait_until_quiet()
        before = server.megabytes()
        opened: list[Connection] = []

        def do(size: int) -> Mapping[str, float]:
            for number in range(len(opened), size):
                opened.append(stack.enter_context(server.connect()))
                _ask(opened[-1], path, number)
            server.wait_until_quiet()
            return {"kB": 1000 * (server.megabytes() - before)}

        found = grown("idle connections", sizes, do, {"kB": Limit.of_each(5)})
        for number, connection in enumerate(opened):
            _ask(connection, path, number)
        return found


def _ask(connection: Connection, path: str, number: int) -> None:
    answer = json.loads(connection.answer(path, b'{"x":%d}' % number))
    if answer["outputParameters"] != {"y": number + 1}:
        raise PeerFailed(f"{path} answered {answer} to {number}.")
