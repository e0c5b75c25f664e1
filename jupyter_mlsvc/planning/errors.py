"""Refusals of the planner."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_mlsvc.errors import InvalidInput


class NotPublishable(InvalidInput):
    """A service would fail for certain, so it is not published.

    Attributes
    ----------
    problems : tuple of str
        What is wrong, a sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    def _render_traceback_(self) -> list[str]:
        advice = "Correct it, or go on all the same with --force."
        return [f"{type(self).__name__}: {self}\n{advice}"]
