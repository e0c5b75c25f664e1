"""Ids of sessions tell that they were issued here, and to whom."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.sessions.ids import SessionIds

IDS = SessionIds(b"k" * 64)


@given(owner=st.text(), other=st.text())
def test_an_id_is_of_its_owner_alone(owner: str, other: str) -> None:
    session_id = IDS.new(owner)
    assert IDS.is_of(session_id, owner)
    assert IDS.is_of(session_id, other) == (owner == other)
    assert not SessionIds(b"l" * 64).is_of(session_id, owner)


def test_ids_are_uuids_and_differ() -> None:
    ids = {IDS.new("ann") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(str(uuid.UUID(each)) == each and uuid.UUID(each).version == 4 for each in ids)


@given(text=st.text() | st.uuids().map(str))
def test_no_other_text_is_an_id(text: str) -> None:
    assert not IDS.is_of(text, "ann")


def test_an_id_has_one_spelling() -> None:
    session_id = IDS.new("ann")
    assert not IDS.is_of(session_id.upper(), "ann")
    assert not IDS.is_of(f"{{{session_id}}}", "ann")
