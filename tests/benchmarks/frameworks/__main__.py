"""Install the frameworks, and see that each answers rightly.

Run by ``python -m tests.benchmarks.frameworks``; ``make bench`` installs what is missing by itself.
"""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.iris import expected_species

from .catalogue import FRAMEWORKS
from .rival import Rival


def main(arguments: Sequence[str] | None = None) -> int:
    """Try those that are named, or all; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.frameworks")
    parser.add_argument("name", nargs="*", choices=[*FRAMEWORKS, []], help="all, unless named")
    parser.add_argument("--seconds", type=int, default=2, help="length of a short load")
    options = parser.parse_args(arguments)
    wrk = load.find_wrk()
    failed = False
    with tempfile.TemporaryDirectory(prefix="mlsvc-bench-") as folder:
        for number, name in enumerate(options.name or FRAMEWORKS):
            rival = Rival(FRAMEWORKS[name], Path(folder) / str(number))
            rival.install()
            rival.take_turn(
                wrk,
                expected_species(),
                connections=64,
                warm_seconds=options.seconds,
                seconds=options.seconds,
            )
            failed = failed or rival.failure is not None
            print(_line(rival), flush=True)
    return int(failed)


def _line(rival: Rival) -> str:
    if rival.measured is None:
        return f"{rival.name} {rival.version}: {rival.failure}"
    (found,) = rival.measured.loads[64]
    return (
        f"{rival.name} {rival.version}: {found.rate:,.0f} requests/s, p50 {found.p50:.1f} ms, "
        f"p99 {found.p99:.1f} ms, failed {rival.measured.failures() or 0}"
    )


if __name__ == "__main__":
    sys.exit(main())
