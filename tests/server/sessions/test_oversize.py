"""The beginning of what is too large."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.sessions.oversize import beginning_of, display_content, shortened

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.text(
    '"\\\n\U0001f600é', max_size=60
)


@given(text=TEXTS, cut=st.integers(0, 400), is_ascii=st.booleans())
def test_beginning_is_that_of_the_text(text: str, cut: int, is_ascii: bool) -> None:
    content = {"name": "stderr", "text": text}
    data = json.dumps(content, ensure_ascii=is_ascii).encode()[:cut]
    found = beginning_of("stream", data)
    if found is not None:
        assert found["name"] == "stderr"
        assert text.startswith(found["text"])
        # No more than one character in two escapes is lost.
        read = len(data) - data.find(b'"text": "') - len('"text": "')
        assert len(json.dumps(found["text"], ensure_ascii=is_ascii).encode()) >= min(read - 14, 3)


@given(text=TEXTS, cut=st.integers(0, 400))
def test_beginning_of_a_display_is_its_plain_text(text: str, cut: int) -> None:
    content = {"data": {"text/plain": text, "text/html": "<b>"}, "metadata": {}}
    found = beginning_of("display_data", json.dumps(content).encode()[:cut])
    if found is not None:
        assert list(found["data"]) == ["text/plain"]
        assert text.startswith(found["data"]["text/plain"])


def test_whole_text_before_the_cut_is_found() -> None:
    data = b'{"data": {"text/plain": "a \\"b\\" \\\\", "image/png": "aaaa'
    assert beginning_of("display_data", data) == {
        "data": {"text/plain": 'a "b" \\'},
        "metadata": {},
    }


@pytest.mark.parametrize("data", [b"", b"{", b'{"data": {"image/png": "aaaa'])
def test_what_has_no_text_has_no_beginning(data: bytes) -> None:
    assert beginning_of("display_data", data) is None


@given(text=TEXTS, room=st.integers(-5, 100))
def test_shortened_text_has_room(text: str, room: int) -> None:
    for event in ({"type": "stream", "text": text}, {"data": {"text/plain": text, "a": "b" * 99}}):
        found = shortened(event, room)
        if found is not None:
            cut = found["text"] if "text" in found else found["data"]["text/plain"]
            assert cut
            assert text.startswith(cut)
            assert len(json.dumps(cut)) <= room


def test_a_large_picture_stays_the_json_that_it_came_as() -> None:
    page = json.dumps("é\n" * 200_000)
    text = "plain " * 100_000
    packed = (
        f'{{"data": {{"text/html": {page}, "text/plain": "{text}", "image/svg+xml": "<svg/>"}}, '
        '"execution_count": 3, "transient": {"display_id": "a"}}'
    ).encode()
    content = display_content(packed)
    assert bytes(content["data"].pop("text/html")) == page.encode()
    assert content == {
        "data": {"text/plain": text, "image/svg+xml": "<svg/>"},
        "metadata": {},
        "transient": {"display_id": "a"},
    }
