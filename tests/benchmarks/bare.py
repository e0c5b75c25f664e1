"""The iris model called in a loop by a plain process: what no server in front of it can exceed."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from jupyter_mlsvc_server.patches import narwhals_dataframes

from .iris import FLOWERS, fit
from .startable import Startable

_ROOT = Path(__file__).parents[2]
_TOLD = "told"


class BareLoop(Startable):
    """A process of its own that, when asked, calls the model for a while.

    Parameters
    ----------
    told
        Whether scikit-learn is told at once what is no data frame, as in our workers.
    """

    def __init__(self, *, told: bool = False) -> None:
        self._arguments = [_TOLD] if told else []

    def start(self) -> Self:
        """Start it, and don't wait for it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        return self

    def rate(self, seconds: float) -> float:
        """Calls per second over some seconds."""
        if self._process.stdin is None or self._process.stdout is None:  # pragma: no cover
            raise RuntimeError("The loop's pipes are missing.")
        print(seconds, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        """Let it end."""
        self._process.communicate()


def main() -> None:
    """Read numbers of seconds, write calls per second."""
    if _TOLD in sys.argv:
        narwhals_dataframes.install()
    trained = fit()
    clf, names = trained["clf"], trained["names"]
    for line in sys.stdin:
        calls = 0
        begun = time.perf_counter()
        end = begun + float(line)
        while (now := time.perf_counter()) < end:
            flower_data = FLOWERS[calls % len(FLOWERS)]
            _ = [names[x] for x in clf.predict([flower_data])]
            calls += 1
        print(calls / (now - begun), flush=True)


if __name__ == "__main__":
    main()
