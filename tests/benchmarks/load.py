"""Load on one address by ``wrk``, trusted only when every answer was a right one."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SCRIPT = Path(__file__).with_name("load.lua")
_MARK = "FIGURES "

# Answers differ by the length of a species' name and in the cut-off last ones of a run, not more.
_SIZE_TOLERANCE = 0.02


class LoadFailed(RuntimeError):
    """The load could not be made, or its figures are not those of right answers."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run; latencies are in milliseconds, over all connections."""

    connections: int
    requests: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    slowest: float
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

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
    wrk: str, url: str, token: str | None, bodies: Sequence[bytes], connections: int, seconds: int
) -> Load:
    """Post bodies to an address from a number of kept-alive connections.

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
        env={**os.environ, "BENCHMARK_TOKEN": token or ""},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if finished.returncode:
        raise LoadFailed(f"wrk failed: {finished.stderr.strip()[-400:]}")
    return parse(finished.stdout, connections)
