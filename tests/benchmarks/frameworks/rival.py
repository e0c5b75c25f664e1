"""A framework in a run: installed, put under load in its turn, and left out once it fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.benchmarks.contestants import Contestant
from tests.benchmarks.load import LoadFailed
from tests.benchmarks.peers import PeerFailed

from .catalogue import Framework
from .environments import EnvironmentFailed
from .server import FrameworkServer

STACK = ("scikit-learn", "numpy", "uvicorn", "uvloop", "httptools")
"""What the frameworks have in common, so that differences in versions can be seen."""


@dataclass
class Rival:
    """One framework; whatever goes wrong with it ends its part and not the run.

    Parameters
    ----------
    framework
        Which one.
    work
        Folder of its own.
    versus
        The row of the tables that it is compared with.
    versions
        Of the framework and of what it stands on.
    failure
        Why it is measured no more, in a line.
    """

    framework: Framework
    work: Path
    versus: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    contestant: Contestant | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.framework.name

    @property
    def version(self) -> str:
        """The framework's own version."""
        return self.versions.get(self.framework.package, "-")

    @property
    def measured(self) -> Contestant | None:
        """What was measured of it, unless it failed on the way."""
        return None if self.failure else self.contestant

    def install(self) -> None:
        """See that its environment is there; making it takes minutes."""
        environment = self.framework.environment
        with self._in_one_line():
            if not environment.is_made:
                _say(f"Installing {self.name} into {environment.folder.name} ...")
                environment.make()
            self.versions = environment.versions([self.framework.package, *STACK])

    def take_turn(
        self,
        wrk: str,
        expected: Sequence[list[str]],
        *,
        connections: int,
        warm_seconds: int,
        seconds: int,
    ) -> None:
        """Start it, see that it is right and warm, measure, and end it; unless it failed before."""
        if self.failure:
            return
        with self._in_one_line():
            server = self._started()
            try:
                one = self._contestant_at(server)
                one.check_answers(expected)
                one.put_under_load(wrk, connections, warm_seconds)
                one.measure(wrk, connections, seconds)
                one.check_answers(expected)
            finally:
                server.stop()

    def _started(self) -> FrameworkServer:
        try:
            return FrameworkServer(self.framework, self.work).start()
        except PeerFailed:
            # One that started before does not lose its figures of all rounds for a bad moment.
            if self.contestant is None:
                raise
            return FrameworkServer(self.framework, self.work).start()

    def _contestant_at(self, server: FrameworkServer) -> Contestant:
        if self.contestant is None:
            questions = [json.dumps(body).encode() for body in self.framework.questions]
            self.contestant = Contestant(
                server.target, questions, self.framework.species, self.versus
            )
        self.contestant.target = server.target
        return self.contestant

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (EnvironmentFailed, PeerFailed, LoadFailed, OSError, HTTPException) as error:
            reason = str(error).removeprefix(f"{self.name}: ")
            self.failure = " ".join(reason.split())[:200]
            _say(f"{self.name} is left out: {self.failure}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - it may take minutes
