"""What children write to standard error, as lines of the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from jupyter_mlsvc_server.formats.child_output import ChildOutput
from tests.clocks import ManualClock

LOG = logging.getLogger(__name__)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def output(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[ChildOutput]:
    caplog.set_level(logging.INFO)
    made = ChildOutput(LOG, "service A\nB/V1", clock=clock)
    yield made
    made.close()


async def write(output: ChildOutput, data: bytes) -> None:
    """Write as a child, and let it be read."""
    sender = output.theirs.dup()
    with sender:
        sender.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(sender, data)


async def test_each_line_says_whose_it_is(
    output: ChildOutput, caplog: pytest.LogCaptureFixture
) -> None:
    await write(output, b"one\n\n  two\nthr")
    await write(output, b"ee")
    output.close()
    assert caplog.messages == [
        r"service A\nB/V1: one",
        r"service A\nB/V1:   two",
        r"service A\nB/V1: three",
    ]


@pytest.mark.parametrize(
    ("written", "logged"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"10%\r20%", "20%"),
        (b"a\tb", "a   b"),
        (b"\xff\xc3\xa9", "\N{REPLACEMENT CHARACTER}\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("exe\N{RIGHT-TO-LEFT OVERRIDE}gpj\N{LINE SEPARATOR}[I login]".encode(),
         r"exe\u202egpj\u2028[I login]"),
        (b"x" * 3000, "x" * 2000 + " [cut]"),
    ],
)  # fmt: skip
async def test_a_line_is_harmless(
    output: ChildOutput, caplog: pytest.LogCaptureFixture, written: bytes, logged: str
) -> None:
    await write(output, written + b"\n")
    output.close()
    assert caplog.messages == [rf"service A\nB/V1: {logged}"]


async def test_who_writes_too_much_is_cut(
    output: ChildOutput, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await write(output, b"line\n" * 1000)
    await write(output, b"x" * 100_000 + b"\n")
    output.started()
    output.close()
    assert len(caplog.messages) == 201
    assert "more lines in 10 s left out" in caplog.messages[-1]


async def test_after_a_while_more_is_logged(
    output: ChildOutput, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await write(output, b"line\n" * 300)
    while len(caplog.messages) < 200:  # noqa: ASYNC110 - a log sets no event
        await asyncio.sleep(0.01)
    clock.advance(10)
    await write(output, b"later\n")
    output.close()
    assert [each.partition(": ")[2] for each in caplog.messages[-2:]] == [
        "100 more lines in 10 s left out",
        "later",
    ]


async def test_the_last_lines_are_kept(output: ChildOutput) -> None:
    await write(output, b"why it ended\n")
    output.close()
    output.close()
    assert output.last.strip() == "why it ended"
