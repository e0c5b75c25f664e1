"""What is shown while something takes its time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from jupyter_mlsvc.client.periodic import Ticker
from jupyter_mlsvc.client.progress import progress_bar, shown_when_slow
from jupyter_mlsvc.display import TransferBar, Waiting
from jupyter_mlsvc.errors import WaitInterrupted
from tests.waiting import wait_until


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show at once what is shown after a second."""
    monkeypatch.setattr("jupyter_mlsvc.display.Ticker", partial(Ticker, first=0.02, every=0.02))
    for module in ("display", "client.progress"):
        monkeypatch.setattr(f"jupyter_mlsvc.{module}._PATIENCE_SECONDS", 0.05)


def wait_for_text(capsys: pytest.CaptureFixture[str], text: str) -> str:
    seen = ""

    def is_there() -> bool:
        nonlocal seen
        seen += capsys.readouterr().err
        return text in seen

    wait_until(is_there)
    return seen


def test_a_long_silence_shows_what_is_going_on_and_for_how_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Waiting("Running in session 'iris'", 1.0):
        seen = wait_for_text(capsys, "00:02")
    assert "Running in session 'iris': 00:01" in seen
    assert capsys.readouterr().err.split("\r")[-1].strip() == ""


@pytest.mark.usefixtures("impatient")
def test_what_is_quick_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("Quick", 600.0):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
def test_it_goes_when_there_is_something_else_to_see(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("Silent", 0.5) as waiting:
        wait_for_text(capsys, "Silent")
        waiting.heard()
        assert capsys.readouterr().err.split("\r")[-1].strip() == ""


@pytest.mark.usefixtures("impatient")
def test_an_interrupt_takes_it_away(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()

    def interrupted() -> None:
        with Waiting("Interrupted", 0.1):
            wait_for_text(capsys, "Interrupted")
            raise KeyboardInterrupt

    with pytest.raises(WaitInterrupted, match=r"^Interrupted: interrupted; the server may"):
        interrupted()
    assert capsys.readouterr().err.split("\r")[-1].strip() == ""
    wait_until(lambda: threading.active_count() <= before + 1)  # tqdm's own monitor


@pytest.mark.usefixtures("impatient")
def test_zero_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("Never", 0.0):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


BARS = """
import time
from jupyter_mlsvc.client.progress import shown_when_slow
from jupyter_mlsvc.display import TransferBar, Waiting

with Waiting("Waiting", 0.1) as waiting, TransferBar("Sending") as sent:
    time.sleep(1.2)
    sent(1, 10)
    waiting.heard()
    time.sleep(1.2)
    sent(2, 10)
def slow():
    yield 1
    time.sleep(1.2)
    yield 2
assert list(shown_when_slow(slow(), "Fetching", 2, unit="record")) == [1, 2]
"""


@pytest.mark.process
def test_the_switch_of_all_bars_keeps_ours_away() -> None:
    # Both sleep most of the time.
    running = [
        subprocess.Popen(
            [sys.executable, "-c", BARS],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in (os.environ, os.environ | {"TQDM_DISABLE": "1"})
    ]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    (out, shown), disabled = said
    assert (out, disabled) == ("", ("", ""))
    for label in ("Waiting", "Sending", "Fetching"):
        assert label in shown


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_tqdm_disable_keeps_everything_away(
    value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", value)
    with Waiting("Never", 0.1), TransferBar("Never") as bar:
        bar(1, 3)
        time.sleep(0.2)
        bar(3, 3)
    assert bar.done == 3
    assert list(shown_when_slow(slow_items(), "Never", unit="item")) == [0, 1, 2]
    with progress_bar(total=3, desc="Never") as plain:
        plain.update(3 - plain.n)
        plain.set_postfix(failed=1, refresh=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("impatient")
def test_tqdm_disable_may_say_no(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "0")
    with Waiting("Silent", 0.1):
        assert "Silent" in wait_for_text(capsys, "Silent")


def test_a_ticker_is_silent_after_its_block() -> None:
    ticks: list[float] = []
    with Ticker(ticks.append, first=0.01, every=0.01):
        wait_until(lambda: len(ticks) > 2)
    seen = len(ticks)
    time.sleep(0.05)
    assert seen == len(ticks) > 2
    assert ticks == sorted(ticks)


def slow_items() -> Iterator[int]:
    for number in range(3):
        time.sleep(0.1)
        yield number


@pytest.mark.usefixtures("impatient")
def test_going_through_many_things_shows_a_bar_once_it_is_slow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(shown_when_slow(slow_items(), "Fetching", 3, unit="record")) == [0, 1, 2]
    assert "Fetching" in capsys.readouterr().err
    assert list(shown_when_slow(slow_items(), "Fetching", 3, unit="record", quiet=True))
    monkeypatch.setattr("jupyter_mlsvc.client.progress._PATIENCE_SECONDS", 600.0)
    assert list(shown_when_slow(range(1000), "Fetching", 3, unit="record"))
    assert capsys.readouterr().err == ""
