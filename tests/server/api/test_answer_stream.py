"""Which callers take an answer item by item."""

from __future__ import annotations

import json

import pytest

from jupyter_mlsvc_server.api import answer_stream
from jupyter_mlsvc_server.api.answer_stream import EVENT_STREAM, NDJSON, parts_of, stream_format
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.stream import AnswerStream


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("text/event-stream", EVENT_STREAM),
        ("TEXT/EVENT-STREAM", EVENT_STREAM),
        ("text/event-stream, */*", EVENT_STREAM),
        ("text/event-stream;q=0.5, */*", None),
        ("text/event-stream;q=0", None),
        ("application/json, application/x-ndjson", None),
        ("application/json;q=0.5, application/x-ndjson", NDJSON),
        ("application/x-ndjson, */*;q=0.1", NDJSON),
    ],
)
def test_a_caller_gets_items_where_it_wants_them_most(accept: str, media_type: str | None) -> None:
    written = stream_format(accept)
    assert (None if written is None else written.media_type) == media_type


async def test_lines_stay_alive_without_an_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_stream, "KEEP_ALIVE_SECONDS", 0)
    stream, written = AnswerStream(), stream_format(NDJSON)
    assert written is not None
    parts = parts_of(stream, written, [], "id")
    silent = await anext(parts)
    assert silent
    stream.put(b'{"value": 1}', 1.0)
    item = await anext(parts)
    stream.end(ScoringAnswer(200, b'{"success": true}', True))
    whole = silent + item + b"".join([part async for part in parts])
    assert [json.loads(line) for line in whole.splitlines()] == [{"value": 1}, {"success": True}]
