"""The peer of snapshots: a plain cloudpickle file, written and read by a plain process."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cloudpickle

from .models import MODELS

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class PlainTimes:
    """Seconds that each step took."""

    dump: float
    load: float
    score: float


def measure(model: str, work: Path, megabytes: int) -> PlainTimes:
    """Time one dump, and one load and first score, each in a fresh process."""
    target = work / "plain.pkl"
    dumped = _run("dump", model, MODELS[model].file(work, megabytes), target)
    loaded = _run("load", model, target)
    target.unlink()
    return PlainTimes(dump=dumped["dump"], load=loaded["load"], score=loaded["score"])


def _run(*arguments: str | Path) -> dict[str, float]:
    words = [str(argument) for argument in arguments]
    finished = subprocess.run(
        [sys.executable, "-m", __name__, *words],
        check=True,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
    )
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def _dump(source: str, target: str) -> dict[str, float]:
    with Path(source).open("rb") as file:
        namespace = pickle.load(file)
    begun = time.perf_counter()
    with Path(target).open("wb") as file:
        cloudpickle.dump(namespace, file, protocol=5)
        file.flush()
        os.fsync(file.fileno())
    return {"dump": time.perf_counter() - begun}


def _load(model: str, source: str) -> dict[str, float]:
    begun = time.perf_counter()
    with Path(source).open("rb") as file:
        namespace = pickle.load(file)
    loaded = time.perf_counter()
    exec(MODELS[model].code, namespace)
    return {"load": loaded - begun, "score": time.perf_counter() - loaded}


def main() -> None:
    """Do one step and write its figures as JSON."""
    step, model, *paths = sys.argv[1:]
    figures = _dump(*paths) if step == "dump" else _load(model, *paths)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
