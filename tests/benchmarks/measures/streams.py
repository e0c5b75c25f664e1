"""Items per second of answers that come item by item, beside FastAPI's StreamingResponse."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import FastApiPeer, OurServer, PeerFailed, Target
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

ITEMS: Final = 200
CONNECTIONS: Final = 16
CODE: Final = "for number in range(count):\n    yield f'word {number}'"

_BODY: Final = json.dumps({"count": ITEMS}).encode()
_MIN_RATIO: Final = 0.5


@dataclass
class Contestant:
    """A target, and what it reached."""

    target: Target
    rates: list[float] = field(default_factory=list)
    first_items: list[float] = field(default_factory=list)

    def put_under_load(self, seconds: float) -> tuple[float, float]:
        """Give the items per second, and the median of the seconds to the first item."""

        def ask() -> tuple[int, list[float]]:
            reader, count, firsts = _Reader(self.target), 0, []
            while time.perf_counter() < until:
                firsts.append(reader.read())
                count += ITEMS
            reader.close()
            return count, firsts

        begun = time.perf_counter()
        until = begun + seconds
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            asking = [pool.submit(ask) for _ in range(CONNECTIONS)]
            results = [one.result() for one in asking]
        rate = sum(count for count, _ in results) / (time.perf_counter() - begun)
        return rate, median(first for _, firsts in results for first in firsts)

    def measure(self, seconds: float) -> None:
        """Load it once."""
        rate, first = self.put_under_load(seconds)
        self.rates.append(rate)
        self.first_items.append(first)


class _Reader:
    """A kept-alive connection that reads a stream to its end and counts its items."""

    def __init__(self, target: Target) -> None:
        parts = urllib.parse.urlsplit(target.url)
        self._http = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._path = parts.path.rstrip("/") + target.path
        self._headers = {
            "Authorization": f"Bearer {target.token}",
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson",
        }

    def read(self) -> float:
        """Read a stream; gives the seconds to its first item."""
        begun = time.perf_counter()
        self._http.request("POST", self._path, body=_BODY, headers=self._headers)
        response = self._http.getresponse()
        piece = response.read1()
        first = time.perf_counter() - begun
        pieces = []
        while piece:
            pieces.append(piece)
            piece = response.read1()
        items = b"".join(pieces).count(b'"word ')
        if response.status != 200 or items != ITEMS:
            raise PeerFailed(f"{self._path} answered {response.status} with {items} items.")
        return first

    def close(self) -> None:
        self._http.close()


def measure(plan: Plan) -> Section:
    """Load both in turns, round by round."""
    peer = FastApiPeer("stream", "/stream", work=plan.work)
    with OurServer(plan.work / "streams") as server, peer:
        with server.connect() as connection:
            connection.call(
                "POST",
                "/services/Words/1.0",
                {
                    "code": CODE,
                    "runtimeType": "Python",
                    "inputParameterDefinitions": [{"name": "count", "type": "integer"}],
                    "outputParameterDefinitions": [{"name": "words", "type": "vector"}],
                },
            )
        ours = Contestant(server.public("public API, 1 worker", "/api/Words/1.0"))
        theirs = Contestant(peer.target)
        peer.first_answer({"count": 1})
        for one in (ours, theirs):
            one.put_under_load(1)  # warms up; not counted
        for _ in plan.turns(plan.rounds):
            for one in (ours, theirs):
                one.measure(plan.seconds)
    return _section(ours, theirs, plan)


def _section(ours: Contestant, theirs: Contestant, plan: Plan) -> Section:
    ratio = ratios(ours.rates, theirs.rates)
    rows = [
        [
            one.target.name,
            Spread.of(one.rates).text(),
            Spread.of([1000 * each for each in one.first_items]).text(1),
            shown,
        ]
        for one, shown in ((ours, ratio.text(2)), (theirs, "1"))
    ]
    return Section(
        title="Answers item by item",
        tables=[
            Table([f"{ITEMS} items a stream", "items/s", "first item after, ms", "x FastAPI"], rows)
        ],
        data={
            "items_per_second": {one.target.name: one.rates for one in (ours, theirs)},
            "seconds_to_first_item": {one.target.name: one.first_items for one in (ours, theirs)},
        },
        notes=[
            (
                f"Median (lowest-highest) of {len(ours.rates)} rounds of {plan.seconds} s, in "
                f"turns. {CONNECTIONS} kept-alive connections read lines of JSON from Python "
                "threads on the same cores; items are counted."
            ),
            (
                "FastAPI: a StreamingResponse over an asynchronous generator, whose streams take "
                "turns. Ours: one worker, which gives one stream at a time, so that the others "
                "wait for their first item and get the rest sooner."
            ),
        ],
        bars=[
            Bar.at_least(
                f"streams of {ITEMS} items at {CONNECTIONS} connections, items/s against FastAPI",
                ratio.median,
                _MIN_RATIO,
            )
        ],
    )
