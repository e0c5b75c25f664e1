"""Reading wrk's output, and trusting only right answers."""

from __future__ import annotations

import dataclasses

import pytest

from .load import Load, LoadFailed, parse

OUTPUT = """\
Running 1s test @ http://127.0.0.1:1/api
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.29ms  231.09us   4.26ms   91.00%
Requests/sec:   6000.00
FIGURES {"requests":6000,"bytes":1200000,"microseconds":2000000,"p50":1250.0,"p99":2100.0,\
"max":4260.0,"errors":{"connect":0,"read":0,"write":0,"timeout":0,"status":0}}
"""


def test_figures_are_read_in_seconds_and_milliseconds() -> None:
    found = parse(OUTPUT, connections=8)
    assert (found.connections, found.requests, found.seconds) == (8, 6000, 2.0)
    assert (found.p50, found.p99, found.slowest) == (1.25, 2.1, 4.26)


def test_the_rate_is_requests_per_second() -> None:
    assert parse(OUTPUT, connections=8).rate == 3000.0


def test_output_without_figures_is_shown() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1", connections=1)


def test_right_answers_are_trusted() -> None:
    parse(OUTPUT, connections=8).check(answer_size=201)


@pytest.mark.parametrize("kind", ["connect", "read", "write", "timeout", "status"])
def test_a_single_error_spoils_the_figures(kind: str) -> None:
    found = parse(OUTPUT, connections=8)
    spoiled = dataclasses.replace(found, errors={**found.errors, kind: 1})
    with pytest.raises(LoadFailed, match=kind):
        spoiled.check(answer_size=200)


def test_answers_of_another_size_are_not_right_ones() -> None:
    with pytest.raises(LoadFailed, match="200 bytes on average instead of 260"):
        parse(OUTPUT, connections=8).check(answer_size=260)


def test_no_answer_is_no_figure() -> None:
    with pytest.raises(LoadFailed, match="No answer"):
        Load(1, requests=0, bytes=0, seconds=1, p50=0, p99=0, slowest=0).check(answer_size=200)
