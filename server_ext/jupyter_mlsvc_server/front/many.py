"""What became of many requests, on its way between the front and the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import msgspec

from jupyter_mlsvc_server.front.link import Failure, error_of, failure_of
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer


class Outcomes(msgspec.Struct, frozen=True, array_like=True):
    """Answers in the order of the requests, and the errors that there are in place of some."""

    answers: list[ScoringAnswer | None]
    failures: dict[int, Failure]

    @classmethod
    def pack(cls, outcomes: Sequence[Outcome]) -> Self:
        """Put them on their way."""
        answers: list[ScoringAnswer | None] = []
        failures: dict[int, Failure] = {}
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, ScoringAnswer):
                answers.append(outcome)
            else:
                answers.append(None)
                failures[number] = failure_of(outcome)
        return cls(answers, failures)

    def unpacked(self) -> list[Outcome]:
        """Give them as they were."""
        if not self.failures:
            return list(cast(list[Outcome], self.answers))
        return [
            error_of(self.failures[number]) if answer is None else answer
            for number, answer in enumerate(self.answers)
        ]
