"""Reading JSON that is almost JSON: the same values, a bounded cost, and no guesses."""

from __future__ import annotations

import json
import time
import timeit
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc.wire.json_text import UnreadableJson, decode_json, strict_json

DECODE = msgspec.json.Decoder().decode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["a", "b_1", "$c", "é"]), inner)
    ),
    max_leaves=12,
)


def written(value: Any, draw: st.DataObject) -> str:
    """Write a value as somebody might by hand."""
    match value:
        case str():
            return text(value, draw)
        case list():
            return f"[{items([written(each, draw) for each in value], draw)}]"
        case dict():
            members = [f"{name(key, draw)}:{written(each, draw)}" for key, each in value.items()]
            return f"{{{items(members, draw)}}}"
    return json.dumps(value)


def items(parts: list[str], draw: st.DataObject) -> str:
    """Write items with a comma after the last one, or a comment."""
    comment: str = draw.draw(st.sampled_from(["", " ", "/* ',\" */", "// ]}\n"]))
    comma: str = draw.draw(st.sampled_from(["", ","])) if parts else ""
    return comment + f",{comment}".join(parts) + comment + comma + comment


def text(value: str, draw: st.DataObject) -> str:
    """Write a string in either kind of quotes, with control characters as they are."""
    quote = draw.draw(st.sampled_from("'\""))
    escaped = value.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"


def name(value: str, draw: st.DataObject) -> str:
    """Write the name of a member, without quotes where it may be."""
    is_plain = value.replace("$", "_").isidentifier() and value.isascii()
    if is_plain and draw.draw(st.booleans()):
        return value
    return text(value, draw)


@given(value=VALUES, data=st.data())
def test_what_is_written_by_hand_is_read_as_it_was_meant(value: Any, data: st.DataObject) -> None:
    body = written(value, data).encode("utf-8", "surrogatepass")
    assert decode_json(body, DECODE, is_lenient=True) == value


@given(value=VALUES)
def test_strict_json_says_the_same_when_written_anew(value: Any) -> None:
    assert json.loads(strict_json(json.dumps(value))) == value


def test_numbers_stay_as_they_were_written() -> None:
    body = b"{'a': 123456789012345678901234567890, 'b': 1e2, 'c': 2.0, 'd': -0.0}"
    assert str(decode_json(body, DECODE, is_lenient=True)) == (
        "{'a': 123456789012345678901234567890, 'b': 100.0, 'c': 2.0, 'd': -0.0}"
    )


WRONG = [
    *("{'a': 1", "{'a': 'b' 'c'}", "{a b: 1}", "{1: 2}", "{a: b}", "[1,,2]", "[,]", "{,}", "{a:,}"),
    *(
        "{a: NaN}",
        "{a: -Infinity}",
        "[1] /* open",
        "[1] 'open",
        "1 2",
        "[01]",
        "{a: fal se}",
        "(1)",
    ),
]


@pytest.mark.parametrize("body", WRONG)
def test_what_can_be_read_in_no_way_stays_wrong(body: str) -> None:
    with pytest.raises(UnreadableJson):
        decode_json(body.encode(), DECODE, is_lenient=True)


@pytest.mark.parametrize("body", ["{'a': 1}", '{"a": 1,}', "{a: 1}", '{"a": 1} // end'])
def test_nothing_is_forgiven_unless_asked(body: str) -> None:
    with pytest.raises(UnreadableJson):
        decode_json(body.encode(), DECODE)


HARD = ["[" + "1," * 2**15 + "]", "/* " * 2**14, '"' + '\\"' * 2**15, "{a:" * 2**14, "'" * 65535]


@pytest.mark.parametrize("body", HARD, ids=[body[:6] for body in HARD])
def test_a_hard_text_costs_no_more_than_its_length(body: str) -> None:
    def cost(text: str) -> float:
        """Processor time of the best of some tries, which other programs disturb least."""
        return min(timeit.repeat(lambda: strict_json(text), time.process_time, number=1, repeat=5))

    # Eight times as long; where each look went to the end, it would be 64 times.
    assert cost(body) < 32 * max(cost(body[: 2**13]), 0.001)


def test_a_long_text_is_not_forgiven() -> None:
    with pytest.raises(UnreadableJson):
        decode_json(b"{'a': '" + b"x" * 2**16 + b"'}", DECODE, is_lenient=True)


@pytest.mark.parametrize("text", [b"\xef", b'{"a": "\xc3', b">\n\xf0\x9f", b"\xed\xa0\x80"])
@pytest.mark.parametrize("is_lenient", [False, True])
def test_a_text_that_ends_within_a_character_is_not_in_utf_8(text: bytes, is_lenient: bool) -> None:
    with pytest.raises(UnreadableJson, match="not in UTF-8"):
        decode_json(text, DECODE, is_lenient=is_lenient)
