"""Lines of the log: text and JSON, and the request that each belongs to."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.logs import (
    JsonLines,
    TextLines,
    access_log,
    note_access,
    request_of,
    request_scope,
)
from jupyter_mlsvc_server.server import MlsvcApp


def record(message: str = "done", **members: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": message, "levelname": "WARNING", "levelno": logging.WARNING, "name": "ours"}
        | members
    )


def failure() -> logging.LogRecord:
    error = ValueError("of the test")
    return record(exc_info=(ValueError, error, None))


def test_a_line_of_a_request_ends_with_its_id() -> None:
    lines = TextLines("%(levelname)s %(message)s")
    assert lines.format(record()) == "WARNING done"
    with request_scope("r1"):
        assert lines.format(record()) == "WARNING done (request r1)"
    assert lines.format(record()) == "WARNING done"


def test_a_trace_comes_after_the_id() -> None:
    failed = failure()
    with request_scope("r1"):
        first, *_, last = TextLines("%(message)s").format(failed).splitlines()
    assert (first, last) == ("done (request r1)", "ValueError: of the test")


def test_a_line_of_json_is_an_object() -> None:
    failed = failure()
    with request_scope("r1"):
        line = json.loads(JsonLines().format(failed))
    assert line.pop("time").endswith("+00:00")
    assert "ValueError: of the test" in line.pop("trace")
    assert line == {"level": "WARNING", "logger": "ours", "message": "done", "request": "r1"}
    assert "request" not in json.loads(JsonLines().format(record()))


async def test_requests_at_the_same_time_have_their_own_ids() -> None:
    async def ids_in(request: str) -> set[str]:
        found = set()
        with request_scope(request):
            for _ in range(5):
                await asyncio.sleep(0)
                found.add(request_of(record()))
        return found

    found = await asyncio.gather(ids_in("r1"), ids_in("r2"))
    assert [*found] == [{"r1"}, {"r2"}]


async def test_what_goes_on_after_the_answer_has_no_id() -> None:
    over = asyncio.Event()

    async def go_on() -> tuple[str, str]:
        before = request_of(record())
        await over.wait()
        return before, request_of(record())

    with request_scope("r1"):
        task = asyncio.create_task(go_on())
        await asyncio.sleep(0)
    over.set()
    assert await task == ("r1", "")


@pytest.mark.parametrize(
    ("log_format", "kind", "line"),
    [
        ("text", TextLines, None),
        ("json", JsonLines, None),
        ("%(name)s says %(message)s", TextLines, "ours says done"),
    ],
)
def test_log_format_is_a_name_or_a_template(
    log_format: str, kind: type[logging.Formatter], line: str | None
) -> None:
    app = MlsvcApp(log_format=log_format)
    formatters = [handler.formatter for handler in app.log.handlers]
    assert formatters
    for each in formatters:
        assert isinstance(each, kind)
        assert line is None or each.format(record()) == line


def test_the_access_log_has_a_line_a_request(caplog: pytest.LogCaptureFixture) -> None:
    request = AnsweredRequest("r1", "GET", "/services/a", "/services/{name}", 200, 0.0125, "ann")
    with caplog.at_level(logging.INFO, access_log.name):
        note_access(request)
        note_access(request._replace(user=""))
    first, second = caplog.records
    assert first.getMessage() == 'ann "GET /services/a" 200 12.5 ms'
    assert second.getMessage().startswith('- "GET')
    line = json.loads(JsonLines().format(first))
    assert (
        line.items()
        >= {
            "request": "r1",
            "method": "GET",
            "path": "/services/a",
            "route": "/services/{name}",
            "status": 200,
            "seconds": 0.0125,
            "user": "ann",
        }.items()
    )


def test_a_name_in_a_message_begins_no_line_and_turns_none_around() -> None:
    lines = TextLines("%(levelname)s %(message)s")
    forged = record("published 'a\n[I login] user=admin\x1b[2J \u202ecod.exe'")
    assert lines.format(forged) == (
        "WARNING published 'a\n    [I login] user=admin\\x1b[2J \\u202ecod.exe'"
    )
