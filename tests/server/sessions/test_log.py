from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw

from jupyter_mlsvc.wire.json_text import encode_json
from jupyter_mlsvc_server.sessions.log import ConsoleText, EventLog
from tests.waiting import until


def text(content: str) -> dict[str, Any]:
    return {"type": "stream", "name": "stdout", "text": content}


async def events(log: EventLog, since: int = 0) -> list[dict[str, Any]]:
    whole = b"".join([piece async for piece in log.follow(since)])
    return [json.loads(line) for line in whole.splitlines()]


async def test_a_log_that_is_full_says_so_once_and_keeps_error_and_result() -> None:
    log = EventLog(1000)
    for _ in range(50):
        log.add(text("x" * 50))
    log.add_always({"type": "error"})
    log.finish({"type": "result"})
    kinds = [each["type"] for each in await events(log)]
    assert kinds.count("truncated") == 1
    assert kinds[-3:] == ["truncated", "error", "result"]
    assert log.size < 2000


async def test_many_small_events_are_bounded_like_few_large_ones() -> None:
    log = EventLog(10_000)
    for _ in range(10_000):
        log.add(text(""))
    log.finish({"type": "result"})
    assert len(await events(log)) < 100


async def test_nothing_comes_after_the_result() -> None:
    log = EventLog(1000)
    log.finish({"type": "result"})
    log.add(text("late"))
    log.finish({"type": "result"})
    assert [each["type"] for each in await events(log)] == ["result"]


@pytest.mark.parametrize(("since", "kinds"), [(0, ["stream", "result"]), (1, ["result"]), (2, [])])
async def test_a_large_result_is_the_last_line_like_any_other(since: int, kinds: list[str]) -> None:
    log = EventLog(10_000)
    log.add(text("a"))
    follower = asyncio.create_task(events(log, since))
    await asyncio.sleep(0)
    log.finish({"type": "result", "value": Raw(b"[1]" + b" " * 10**6)}, size=10**6)
    found = await events(log, since)
    assert [each["type"] for each in found] == kinds
    assert all(each == {"seq": 1, "type": "result", "value": [1]} for each in found[-1:])
    assert await follower == found
    assert log.size > 10**6


async def test_several_followers_get_everything_whenever_they_come() -> None:
    log = EventLog(10_000)
    log.add(text("a"))
    early = asyncio.create_task(events(log))
    await asyncio.sleep(0)
    log.add(text("b"))
    late = asyncio.create_task(events(log, since=1))
    await asyncio.sleep(0)
    log.finish({"type": "result"})
    assert [each.get("text") for each in await early] == ["a", "b", None]
    assert [each.get("text") for each in await late] == ["b", None]


async def test_a_follower_that_leaves_is_forgotten() -> None:
    log = EventLog(1000)
    follower = asyncio.create_task(events(log))
    await until(lambda: log._followers)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    assert not log._followers


def test_text_over_the_limit_is_cut_and_says_so() -> None:
    console = ConsoleText(10)
    console.add("12345")
    console.add("67890ab")
    console.add("never")
    console.add("traceback", always=True)
    left_out = "[the rest of the output was left out: 7 characters]"
    assert str(console) == f"1234567890\n{left_out}\ntraceback"


def test_text_of_a_display_is_updated_in_its_place() -> None:
    console = ConsoleText(20)
    console.add("a\n")
    console.add("0%\n", display_id="bar")
    console.add("b\n")
    assert str(console) == "a\n0%\nb\n"
    console.update("bar", "100%\n")
    assert str(console) == "a\n100%\nb\n"
    console.update("bar", "x" * 100)
    console.update("other", "y")
    assert str(console) == "a\n100%\nb\n"
    console.update("bar", "")
    assert str(console) == "a\nb\n"


async def test_text_over_the_limit_shows_its_beginning() -> None:
    log = EventLog(1000)
    log.add(text("x" * 5000))
    log.finish({"type": "result"})
    shown, truncated, _ = await events(log)
    assert set(shown["text"]) == {"x"}
    assert 200 < len(shown["text"]) < 900
    assert truncated["type"] == "truncated"
    assert log.size < 1500


@pytest.mark.parametrize("value", [1, 2**70, {"a": [1.5, None, "é"]}])
def test_integers_of_any_size_are_json(value: object) -> None:
    assert json.loads(encode_json({"value": value})) == {"value": value}
