"""The rule of ``pytest --fast``: only tests that start no process.

What starts one says so by a marker. Where fast tests run, the interpreter itself refuses new
processes, so that a test without its marker fails.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest

OPTION: Final = "--fast"
LEFT_OUT: Final = frozenset({"process", "kernel", "browser", "external", "slow"})
"""Markers of tests that are not fast."""

_STARTS: Final = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
"""Audit events of the interpreter that come before a process starts."""


class ProcessGuard:
    """Leaves out tests that are not fast, and refuses the others a process."""

    def __init__(self) -> None:
        self._is_on = False
        self._refused: list[str] = []

    def __call__(self, event: str, _arguments: tuple[object, ...]) -> None:
        """Look at an audit event."""
        if self._is_on and event in _STARTS:
            self._refused.append(event)
            raise RuntimeError(f"{event}: a test that starts a process needs a marker")

    @pytest.hookimpl(trylast=True)  # after those that mark
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out what is marked."""
        slow = [item for item in items if LEFT_OUT & {mark.name for mark in item.iter_markers()}]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Guard a test with its fixtures."""
        self._is_on = True
        try:
            return (yield)
        finally:
            self._is_on = False
            self._refused.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Fail a test that got over the refusal."""
        yield
        if self._refused:
            pytest.fail(f"it tried to start a process: {', '.join(self._refused)}", pytrace=False)
