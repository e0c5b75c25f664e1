"""Reading wrk's output, and trusting only right answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from .load import Load, LoadFailed, parse

OUTPUT = """\
Running 1s test @ http://127.0.0.1:1/api
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.29ms  231.09us   4.26ms   91.00%
Requests/sec:   6000.00
FIGURES {"requests":6000,"bytes":1200000,"microseconds":2000000,"p50":1250.0,"p99":2100.0,\
"max":4260.0,"errors":{"connect":0,"read":0,"write":0,"timeout":0,"status":0},\
"answers":[["7b7d",4005],["5b5d",1995]],"others":0}
"""

# The answers to three bodies that were posted in turn.
EXPECTED = (b"{}", b"[]", b"{}")


def watched(**changes: Any) -> Load:
    return dataclasses.replace(parse(OUTPUT, connections=8), **changes)


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


def test_right_answers_that_came_as_often_as_they_were_asked_for_are_no_failures() -> None:
    assert watched().answers == {b"{}": 4005, b"[]": 1995}
    assert watched().failures(EXPECTED) == {}


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        pytest.param({"answers": {b"{}": 3999, b"[]": 2000, b"{0}": 1}}, {"wrong": 1}, id="body"),
        pytest.param({"others": 2, "answers": {b"{}": 3999, b"[]": 1999}}, {"wrong": 2}, id="many"),
        pytest.param({"answers": {b"{}": 4000, b"[]": 1999}}, {"missing": 1}, id="unseen"),
        pytest.param(
            {"answers": {b"{}": 4400, b"[]": 1600}}, {"exchanged": 391}, id="too many of a kind"
        ),
        pytest.param(
            {"errors": {"status": 3}, "answers": {b"{}": 3999, b"[]": 1998, b"500 {}": 3}},
            {"status": 3},
            id="the status of an error counts once",
        ),
        pytest.param(
            {"answers": {b"{}": 3999, b"[]": 2000, b"201 {}": 1}}, {"wrong": 1}, id="other status"
        ),
        pytest.param({"errors": {"timeout": 1}}, {"timeout": 1}, id="no answer"),
    ],
)
def test_every_other_answer_is_a_failure(changes: dict[str, Any], failures: dict[str, int]) -> None:
    assert watched(**changes).failures(EXPECTED) == failures


def test_answers_still_on_their_way_are_no_failures() -> None:
    late = {b"{}": 4000 - 4, b"[]": 2000 + 4}
    assert watched(answers=late).failures(EXPECTED) == {}
