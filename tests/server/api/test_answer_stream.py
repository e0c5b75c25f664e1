"""Which callers take an answer item by item."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.api.answer_stream import EVENT_STREAM, NDJSON, stream_format


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
