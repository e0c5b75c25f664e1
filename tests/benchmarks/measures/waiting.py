"""Requests per second of code that waits, by one worker, beside FastAPI with an async endpoint."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from tests.benchmarks import load
from tests.benchmarks.bars import Bar
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.fastapi_app import WAIT_SECONDS
from tests.benchmarks.peers import FastApiPeer, OurServer, PeerFailed
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

TITLE = "Code that waits"

CONNECTIONS = 64
_QUESTIONS = [json.dumps({"x": x}).encode() for x in range(4)]
_EXPECTED = [[str(x)] for x in range(4)]

_AWAITS, _THREADS = "public API, 1 worker, await", "public API, 1 worker, 64 threads"
_CODES: dict[str, dict[str, object]] = {
    _AWAITS: {"code": f"import asyncio\nawait asyncio.sleep({WAIT_SECONDS})\ny = x"},
    _THREADS: {"code": f"import time\ntime.sleep({WAIT_SECONDS})\ny = x", "concurrency": 64},
}
_FASTAPI = "FastAPI, 1 process"


def measure(plan: Plan) -> Section:
    """Load both kinds of ours, and FastAPI, in turns."""
    wrk = load.find_wrk()
    with ExitStack() as stack:
        peer = stack.enter_context(FastApiPeer("waiting", "/wait", work=plan.work))
        server = stack.enter_context(OurServer(plan.work / "waiting", workers=1))
        contestants = [
            Contestant(server.public(name, _publish(server, number, parts)), _QUESTIONS, _ours)
            for number, (name, parts) in enumerate(_CODES.items())
        ]
        peer.first_answer(_QUESTIONS[0])
        contestants.append(Contestant(peer.target, _QUESTIONS, _theirs))
        for one in contestants:
            one.check_answers(_EXPECTED)
            one.put_under_load(wrk, CONNECTIONS, 1)
        for _ in range(plan.rounds):
            for one in contestants:
                one.measure(wrk, CONNECTIONS, plan.seconds)
    return _section({one.name: one for one in contestants}, plan)


def _publish(server: OurServer, number: int, parts: dict[str, object]) -> str:
    with server.connect() as connection:
        body = {
            "inputParameterDefinitions": [{"name": "x", "type": "integer"}],
            "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
        }
        connection.call("POST", f"/services/Wait{number}/1.0", body | parts)
    return f"/api/Wait{number}/1.0"


def _ours(answer: Any) -> list[str]:
    if not answer["success"]:
        raise PeerFailed(f"The service failed: {answer['errorMessage']}")
    return [str(answer["outputParameters"]["y"])]


def _theirs(answer: Any) -> list[str]:
    return [str(answer["y"])]


def _section(rows: dict[str, Contestant], plan: Plan) -> Section:
    peer = rows[_FASTAPI].rates(CONNECTIONS)
    shares = {name: ratios(one.rates(CONNECTIONS), peer) for name, one in rows.items()}
    table = Table(
        [f"{CONNECTIONS} connections", "requests/s", "p50 ms", "p99 ms", "x FastAPI", "failed"],
        [
            [
                name,
                Spread.of(one.rates(CONNECTIONS)).text(),
                Spread.of([found.p50 for found in one.loads[CONNECTIONS]]).text(2),
                Spread.of([found.p99 for found in one.loads[CONNECTIONS]]).text(2),
                shares[name].text(2),
                f"{sum(one.failures().values()):,}",
            ]
            for name, one in rows.items()
        ],
    )
    return Section(
        title=TITLE,
        tables=[table],
        data={"rounds": {name: one.loads for name, one in rows.items()}},
        notes=[
            f"Median (lowest-highest) of {plan.rounds} rounds of {plan.seconds} s. Each call waits "
            f"{WAIT_SECONDS * 1000:g} ms, so that {CONNECTIONS} connections make "
            f"{CONNECTIONS / WAIT_SECONDS:,.0f} a second at most. FastAPI has an async endpoint "
            "that awaits asyncio.sleep, with uvloop and httptools."
        ],
        bars=[
            Bar.at_least(
                f"{_AWAITS}, {CONNECTIONS} connections: requests/s x {_FASTAPI}",
                shares[_AWAITS].median,
                0.9,
            )
        ],
        faults=[
            f"{name} failed: {dict(failures)}."
            for name, one in rows.items()
            if (failures := one.failures())
        ],
    )
