"""Whether processes have ended, and those that nobody but a test has started."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable

import psutil


def long_sleep() -> str:
    """Seconds for a command ``sleep`` that no other program of this machine has asked for."""
    return f"1000.{secrets.randbelow(10**9):09d}"


def that_have(text: str) -> list[psutil.Process]:
    """Find the processes whose command line has some text in it and that run on."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if text in " ".join(process.cmdline()):
                found.append(process)
    return found


def that_sleep(seconds: str) -> list[psutil.Process]:
    """Find the processes that sleep for so long, and not those that start them."""
    return [each for each in that_have(f"sleep {seconds}") if each.name() == "sleep"]


def that_run_on(processes: Iterable[psutil.Process], seconds: float = 60) -> list[list[str]]:
    """Wait for processes to end; give the commands of those that did not.

    One that ended and that nobody has collected yet, such as an orphan on a busy machine, runs no
    more.
    """
    _, left = psutil.wait_procs(set(processes), timeout=seconds)
    found = []
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one as well
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found
