"""Entry point of ``python -m tests.reliability``: soak, chaos, noisy neighbours, with a report."""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.launch import ServerProcess
from tests.benchmarks.measures import disturbances
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import bar_table
from tests.contract.doors import sign_in
from tests.reliability.chaos import KINDS, kill_under_load
from tests.reliability.mixed_load import Counts
from tests.reliability.soak import use_for_long

_RUNS: Final = ("soak", "chaos", "neighbours")
_SOAK_MINUTES: Final = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code is 1 where an answer was wrong or something lost."""
    asked = _parser().parse_args(arguments)
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    runs = _RUNS if asked.run == "all" else (asked.run,)
    lines, is_good = [], True
    for run in runs:
        _say(f"{run}, seed {seed}")
        with tempfile.TemporaryDirectory(prefix="mlsvc-reliability-") as folder:
            if run == "neighbours":
                section = disturbances.measure(Plan.full(Path(folder)))
                lines += [section.markdown(), bar_table(section.bars).markdown(), ""]
                continue
            found, counts = _run(run, Path(folder), asked, seed)
        lines += [f"# {run.capitalize()}, seed {seed}", "", *found, "", *_lines_of(counts), ""]
        is_good = is_good and not counts.wrong and not counts.lost
    report = "\n".join(lines)
    print(report)  # noqa: T201
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    asked.report.write_text(report, encoding="utf-8")
    return 0 if is_good else 1


def _run(run: str, folder: Path, asked: argparse.Namespace, seed: int) -> tuple[list[str], Counts]:
    password = secrets.token_urlsafe(12)
    # Only a Jupyter server starts a server again that was killed.
    server = ServerProcess(data_dir=folder, admin_password=password, jupyter=run == "chaos")
    with server:
        door = sign_in(server.public_url, "admin", password)
        if run == "chaos":
            kills, counts = asyncio.run(
                kill_under_load(
                    server,
                    door,
                    each=asked.kills,
                    seed=seed,
                    kinds=asked.only or KINDS,
                    rate=asked.rate,
                    seconds=60 * (asked.minutes or math.inf),
                    progress=_say,
                )
            )
            return list(kills.lines()), counts
        growth, counts = asyncio.run(
            use_for_long(
                server,
                door,
                seconds=60 * (asked.minutes or _SOAK_MINUTES),
                seed=seed,
                rate=asked.rate,
                progress=_say,
            )
        )
        return list(growth.lines()), counts


def _lines_of(counts: Counts) -> Iterator[str]:
    yield "| request | right answers |"
    yield "| --- | --- |"
    for kind, number in sorted(counts.right.items()):
        yield f"| {kind} | {number:,} |"
    yield ""
    yield f"Wrong answers: {len(counts.wrong)}. Lost after a 2xx: {len(counts.lost)}."
    refused = ", ".join(f"{what}: {n}" for what, n in sorted(counts.refused.items())) or "none"
    yield f"Refused: {refused}. Connections that ended: {counts.broken}."
    yield from (f"- {n} times {reason}" for reason, n in counts.reasons.most_common(20))
    yield from (f"- wrong: {each}" for each in counts.wrong[:20])
    yield from (f"- lost: {each}" for each in counts.lost[:20])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("run", choices=[*_RUNS, "all"])
    parser.add_argument("--minutes", type=float, help="of a soak (30), at most of a chaos run")
    parser.add_argument("--rate", type=float, help="calls a second (a soak: 70 %% of capacity)")
    parser.add_argument("--kills", type=int, default=40, help="of each kind of process (40)")
    parser.add_argument("--only", action="append", choices=KINDS, help="kind to kill; repeatable")
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated")
    report = Path(".bench", "reliability.md")
    parser.add_argument("--report", type=Path, default=report, help=f"file ({report})")
    return parser


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
