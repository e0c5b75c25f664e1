"""Load on one address by ``wrk``, trusted only when every answer was a right one."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SCRIPT = Path(__file__).with_name("load.lua")
_MARK = "FIGURES "

Body = bytes  # by a name that is free inside of ``Load``

# Answers differ by the length of a species' name and in the cut-off last ones of a run, not more.
_SIZE_TOLERANCE = 0.02


class LoadFailed(RuntimeError):
    """The load could not be made, or its figures are not those of right answers."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run; latencies are in milliseconds, over all connections.

    ``answers`` counts the bodies that came, where they were watched; those with a status other
    than 200 begin with it. ``others`` counts what was too various to be kept.
    """

    connections: int
    requests: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    slowest: float
    errors: dict[str, int] = field(default_factory=dict)
    answers: Mapping[Body, int] = field(default_factory=dict)
    others: int = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def failures(self, expected: Sequence[Body]) -> dict[str, int]:
        """Count what was not the right answer, by kind; of a run that was watched.

        Parameters
        ----------
        expected
            The right answer to each of the bodies that were posted in turn.

        Returns
        -------
        dict
            wrk's own kinds of errors, ``wrong`` answers, ``missing`` ones that were counted but
            not seen, and ``exchanged`` ones: each body was posted as often as the others, so that
            its answer has to come as often, to within those still on their way at the end.
        """
        found = dict(self.errors)
        unexpected = self.others + sum(
            count for body, count in self.answers.items() if body not in expected
        )
        # What has the status of an error is counted as that.
        found["wrong"] = max(0, unexpected - self.errors.get("status", 0))
        found["missing"] = self.requests - self.others - sum(self.answers.values())
        if not unexpected:
            found["exchanged"] = self._exchanged(Counter(expected), len(expected))
        return {kind: count for kind, count in found.items() if count}

    def _exchanged(self, expected: Counter[Body], posted: int) -> int:
        off = 0.0
        for body, times in expected.items():
            share = self.requests * times / posted
            off += max(0.0, abs(self.answers.get(body, 0) - share) - self.connections - times)
        return math.ceil(off / 2)

    def check(self, answer_size: float) -> None:
        """Refuse figures of anything but right answers.

        Parameters
        ----------
        answer_size
            Mean bytes of a right answer with its head. A service that fails with status 200 is
            caught by it, since wrk looks at no bodies.

        Raises
        ------
        LoadFailed
            There were errors, no answers, or answers of another size.
        """
        failed = {kind: count for kind, count in self.errors.items() if count}
        if failed:
            raise LoadFailed(f"{failed} at {self.connections} connections.")
        if not self.requests:
            raise LoadFailed(f"No answer came at {self.connections} connections.")
        mean = self.bytes / self.requests
        if abs(mean - answer_size) > _SIZE_TOLERANCE * answer_size:
            raise LoadFailed(
                f"Answers had {mean:.0f} bytes on average instead of {answer_size:.0f}: "
                "not all of them can have been right."
            )


def parse(output: str, connections: int) -> Load:
    """Read what ``load.lua`` wrote at the end of wrk's output.

    Raises
    ------
    LoadFailed
        The line of figures is missing.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(_MARK):
            figures = json.loads(line.removeprefix(_MARK))
            return Load(
                connections=connections,
                requests=figures["requests"],
                bytes=figures["bytes"],
                seconds=figures["microseconds"] / 1e6,
                p50=figures["p50"] / 1e3,
                p99=figures["p99"] / 1e3,
                slowest=figures["max"] / 1e3,
                errors=figures["errors"],
                answers={bytes.fromhex(body): count for body, count in figures["answers"]},
                others=figures["others"],
            )
    raise LoadFailed(f"wrk gave no figures: {output.strip()[-400:]!r}")


def find_wrk() -> str:
    """Find wrk, installing it where that is ours to do.

    Raises
    ------
    LoadFailed
        It is missing and can't be installed; the message says what to do.
    """
    if (found := shutil.which("wrk")) is not None:
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing wrk, the load generator, by apt-get.", flush=True)
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "wrk"]):
            subprocess.run(command, check=False, capture_output=True)
        if (found := shutil.which("wrk")) is not None:
            return found
    raise LoadFailed(
        "The load generator wrk is missing. Install it (on Debian: apt-get install wrk) and "
        "run the benchmarks again."
    )


def run(
    wrk: str,
    url: str,
    token: str | None,
    bodies: Sequence[bytes],
    connections: int,
    seconds: int,
    *,
    watch: bool = False,
) -> Load:
    """Post bodies to an address from a number of kept-alive connections.

    With ``watch``, every answer's body is looked at and counted, which costs the load generator
    0.6 microseconds an answer.

    Raises
    ------
    LoadFailed
        wrk ended with an error or without figures.
    """
    command = [
        wrk,
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        "--timeout=10s",
        f"--script={_SCRIPT}",
        url,
        "--",
        *(body.decode() for body in bodies),
    ]
    finished = subprocess.run(
        command,
        env={**os.environ, "BENCHMARK_TOKEN": token or "", "BENCHMARK_WATCH": str(int(watch))},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if finished.returncode:
        raise LoadFailed(f"wrk failed: {finished.stderr.strip()[-400:]}")
    return parse(finished.stdout, connections)
