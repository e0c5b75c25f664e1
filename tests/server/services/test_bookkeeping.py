"""What is noted of calls that go the short way, and when they may."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
from jupyter_server.log import log_request
from prometheus_client import REGISTRY

from jupyter_mlsvc_server.services.bookkeeping import Bookkeeping
from jupyter_mlsvc_server.web import UnknownPath


def a_log(level: int) -> logging.Logger:
    """A logger as Jupyter's: it takes everything, and its handler decides."""
    log = logging.Logger("some", logging.DEBUG)  # noqa: LOG001  # nobody else is to find it
    handler = logging.NullHandler()
    handler.setLevel(level)
    log.addHandler(handler)
    return log


@pytest.mark.parametrize(
    ("function", "level", "does"),
    [
        (log_request, logging.INFO, True),
        (partial(log_request, record_prometheus_metrics=True), logging.INFO, True),
        (partial(log_request, record_prometheus_metrics=True), logging.DEBUG, False),
        (lambda _: None, logging.INFO, False),
        (None, logging.INFO, False),
    ],
    ids=["jupyters", "jupyters-with-options", "with-lines", "another", "none"],
)
def test_calls_go_the_short_way_where_nobody_wants_a_line_of_each(
    function: Any, level: int, does: bool
) -> None:
    log = a_log(level)
    assert Bookkeeping({"log_function": function}, log).does() is does
    assert Bookkeeping({"log_function": function}, logging.LoggerAdapter(log)).does() is does


def test_a_line_that_a_parent_would_write_counts() -> None:
    log = a_log(logging.INFO)
    bookkeeping = Bookkeeping({"log_function": log_request}, log)
    log.parent = a_log(logging.DEBUG)
    assert not bookkeeping.does()
    log.propagate = False
    assert bookkeeping.does()


@pytest.mark.parametrize("counts", [True, False])
def test_requests_are_counted_unless_the_server_counts_none(counts: bool) -> None:
    labels = {
        "method": "POST",
        "handler": "jupyter_mlsvc_server.web.UnknownPath",
        "status_code": "200",
    }

    def counted() -> float:
        return REGISTRY.get_sample_value("http_request_duration_seconds_count", labels) or 0

    function = partial(log_request, record_prometheus_metrics=counts)
    bookkeeping = Bookkeeping({"log_function": function}, a_log(logging.INFO))
    before = counted()
    for _ in range(3):
        bookkeeping.note(0.01, UnknownPath)
    assert counted() - before == (3 if counts else 0)
