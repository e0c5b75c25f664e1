"""Answers that a client has already."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from jupyter_mlsvc_server.api.etag import list_unless_known


def answer(items: list[int], *conditions: str) -> Response:
    raw = [(b"if-none-match", each.encode()) for each in conditions]
    return asyncio.run(list_unless_known(Headers(raw=raw), items))


@pytest.mark.parametrize("items", [[], [1], list(range(1000))])
def test_answer_is_the_list(items: list[int]) -> None:
    assert json.loads(bytes(answer(items).body)) == items


def test_answer_has_a_tag_of_what_is_in_it() -> None:
    first, same, other = answer([1]), answer([1]), answer([2])
    assert (first.status_code, first.body) == (200, b"[1]")
    assert first.headers["etag"] == same.headers["etag"] != other.headers["etag"]
    assert first.headers["etag"].startswith('"')


@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"older", {}', "*"])
def test_answer_is_not_sent_to_who_has_it(spelling: str) -> None:
    tag = answer([1]).headers["etag"]
    known = answer([1], spelling.format(tag))
    assert (known.status_code, known.body) == (304, b"")
    assert known.headers["etag"] == tag
    assert "content-length" not in known.headers


@pytest.mark.parametrize("conditions", [(), ("",), ('"another"',), ("W/", "nonsense,,")])
def test_answer_is_sent_to_who_has_another(conditions: tuple[str, ...]) -> None:
    assert answer([1], *conditions).body == b"[1]"


def test_any_of_several_headers_counts() -> None:
    assert answer([1], '"a"', answer([1]).headers["etag"]).status_code == 304
