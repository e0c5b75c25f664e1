"""What is put under load: an address, what it is asked, and what came of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from . import load
from .peers import PeerFailed, Target

Species = Callable[[Any], list[str]]

# As many at once, each with so many questions, show whether answers find those who asked.
_AT_ONCE = 16
_TIMES = 4


@dataclass
class Contestant:
    """One row of the tables.

    Parameters
    ----------
    target
        Address, and the name of the row.
    questions
        Bodies, posted in turn.
    species
        Reads the species out of a decoded answer.
    versus
        The row that it is compared with.
    """

    target: Target
    questions: Sequence[bytes]
    species: Species
    versus: str | None = None
    loads: dict[int, list[load.Load]] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.target.name

    def check_answers(self, expected: Sequence[list[str]]) -> None:
        """See that it answers rightly, each one what they asked, and remember right answers.

        Raises
        ------
        PeerFailed
            An answer is wrong, or not always the same.
        """
        with self.target.connect() as connection:
            self.answers = [connection.answer(self.target.path, body) for body in self.questions]
        for body, answer, species in zip(self.questions, self.answers, expected, strict=True):
            if self.species(json.loads(answer)) != species:
                raise PeerFailed(f"{self.name} answered {answer!r} to {body!r}.")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(self._ask, start) for start in range(_AT_ONCE)]:
                done.result()

    def _ask(self, start: int) -> None:
        with self.target.connect() as connection:
            for turn in range(start, start + _TIMES * len(self.questions)):
                which = turn % len(self.questions)
                answer = connection.answer(self.target.path, self.questions[which])
                if answer != self.answers[which]:
                    raise PeerFailed(
                        f"{self.name} answered {answer!r} to {self.questions[which]!r}, "
                        f"and {self.answers[which]!r} before."
                    )

    def put_under_load(self, wrk: str, connections: int, seconds: int) -> load.Load:
        """Load it once; every answer is looked at."""
        target = self.target
        return load.run(
            wrk, target.address, target.token, self.questions, connections, seconds, watch=True
        )

    def measure(self, wrk: str, connections: int, seconds: int) -> None:
        """Load it once and keep what came of it.

        Raises
        ------
        LoadFailed
            There was no answer at all.
        """
        found = self.put_under_load(wrk, connections, seconds)
        if not found.requests:
            raise load.LoadFailed(f"{self.name}: no answer came at {connections} connections.")
        failures = found.failures(self.answers)
        # Only right answers count for speed. Their bodies would only repeat each other.
        right = found.requests - failures.get("status", 0) - failures.get("wrong", 0)
        kept = dataclasses.replace(found, requests=right, errors=failures, answers={}, others=0)
        self.loads.setdefault(connections, []).append(kept)

    def rates(self, connections: int) -> list[float]:
        """Requests per second, by round."""
        return [found.rate for found in self.loads[connections]]

    def failures(self) -> Mapping[str, int]:
        """How many answers were not right ones, by kind, in all rounds."""
        total: dict[str, int] = {}
        for found in (found for loads in self.loads.values() for found in loads):
            for kind, count in found.errors.items():
                total[kind] = total.get(kind, 0) + count
        return total
