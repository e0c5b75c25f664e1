"""Rows per second of a service that takes a data.frame of many rows, beside FastAPI and pandas."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import fsum, isclose
from typing import Any, Final

from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import (
    FastApiPeer,
    OurServer,
    PeerFailed,
    Target,
    publish,
    run_in_session,
)
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

ROWS: Final = 1000
COLUMNS: Final = 20
CONNECTIONS: Final = 4
CODE: Final = "sums = frame.sum(axis=1)"

_MIN_RATIO: Final = 1.5


@dataclass
class Contestant:
    """A target, the bytes of its right answer, and what it reached."""

    target: Target
    answer: bytes = b""
    rates: list[float] = field(default_factory=list)

    def check_answer(self, body: bytes, sums: list[float]) -> None:
        """See that it answers rightly, and remember how; each later answer must be the same.

        Raises
        ------
        PeerFailed
            It does not.
        """
        self.answer = _Caller(self.target).call(body)
        answer: Any = json.loads(self.answer)
        found = answer.get("outputParameters", answer)["sums"]
        if len(found) != len(sums) or not all(map(isclose, found, sums)):
            raise PeerFailed(f"{self.target.name} answered {self.answer[:200]!r}.")

    def put_under_load(self, body: bytes, seconds: float) -> float:
        """Give the rows per second that it answers."""

        def ask() -> int:
            caller, count = _Caller(self.target), 0
            while time.perf_counter() < until:
                if caller.call(body) != self.answer:
                    raise PeerFailed(f"{self.target.name} gave another answer under load.")
                count += 1
            caller.close()
            return count

        begun = time.perf_counter()
        until = begun + seconds
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            asking = [pool.submit(ask) for _ in range(CONNECTIONS)]
            answers = sum(one.result() for one in asking)
        return answers * ROWS / (time.perf_counter() - begun)


class _Caller:
    """A kept-alive connection that looks at nothing but the status.

    wrk can't do it: it takes bodies from the command line, where there is no room for this one.
    """

    def __init__(self, target: Target) -> None:
        parts = urllib.parse.urlsplit(target.url)
        self._http = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._path = parts.path.rstrip("/") + target.path
        self._headers = {
            "Authorization": f"Bearer {target.token}",
            "Content-Type": "application/json",
        }

    def call(self, body: bytes) -> bytes:
        self._http.request("POST", self._path, body=body, headers=self._headers)
        response = self._http.getresponse()
        answer = response.read()
        if response.status != 200:
            raise PeerFailed(f"{self._path} answered {response.status}: {answer[:400]!r}")
        return answer

    def close(self) -> None:
        self._http.close()


def measure(plan: Plan) -> Section:
    """Load both in turns, round by round."""
    body, sums = _body()
    peer = FastApiPeer("frame", "/frame", work=plan.work)
    with OurServer(plan.work / "bodies") as server, peer:
        ours = Contestant(server.public("public API, 1 worker", _publish(server)))
        theirs = Contestant(peer.target)
        peer.first_answer(body)
        for one in (ours, theirs):
            one.check_answer(body, sums)
            one.put_under_load(body, 1)  # warms caches; not counted
        for _ in plan.turns(plan.rounds):
            for one in (ours, theirs):
                one.rates.append(one.put_under_load(body, plan.seconds))
    return _section(ours, theirs, len(body), plan)


def _body() -> tuple[bytes, list[float]]:
    """Write a request; give the right answer with it."""
    numbers = random.Random(0)
    columns = [[numbers.random() for _ in range(ROWS)] for _ in range(COLUMNS)]
    frame = {f"c{i}": column for i, column in enumerate(columns)}
    return json.dumps({"frame": frame}).encode(), [fsum(row) for row in zip(*columns, strict=True)]


def _publish(server: OurServer) -> str:
    with server.connect() as connection:
        session = run_in_session(connection, "import pandas")
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        inputs, outputs = {"frame": "data.frame"}, {"sums": "vector"}
        return publish(connection, "Sums", CODE, snapshot=snapshot, inputs=inputs, outputs=outputs)


def _section(ours: Contestant, theirs: Contestant, size: int, plan: Plan) -> Section:
    ratio = ratios(ours.rates, theirs.rates)
    return Section(
        title="Bodies of many rows",
        tables=[
            Table(
                [f"{ROWS:,} rows x {COLUMNS} columns a request", "rows/s", "x FastAPI"],
                [
                    [ours.target.name, Spread.of(ours.rates).text(), ratio.text(2)],
                    [theirs.target.name, Spread.of(theirs.rates).text(), "1"],
                ],
            )
        ],
        data={"rows_per_second": {one.target.name: one.rates for one in (ours, theirs)}},
        notes=[
            (
                f"Median (lowest-highest) of {len(ours.rates)} rounds of {plan.seconds} s, in "
                f"turns. {size / 1e3:,.0f} kB of JSON as a data.frame; the code sums up each row, "
                "and the answer has all sums."
            ),
            (
                "FastAPI: a pydantic model with `dict[str, list[float]]`, pandas.DataFrame, the "
                f"same sums. {CONNECTIONS} kept-alive connections from Python threads on the same "
                "cores; every answer is compared byte by byte with one that was checked."
            ),
        ],
        bars=[
            Bar.at_least(
                f"data.frame of {ROWS:,} x {COLUMNS}, rows/s against FastAPI with pandas",
                ratio.median,
                _MIN_RATIO,
            )
        ],
    )
