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

    def __init__(self, problems: Sequence[str], way_out: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join((*problems, *([way_out] if way_out else []))))
