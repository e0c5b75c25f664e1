"""The command: measure, print markdown, and write JSON on demand."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from jupyter_mlsvc_server.launch import ServerDidNotStart

from . import environment
from .load import LoadFailed
from .measures import MEASURES
from .peers import PeerFailed
from .plan import Plan
from .report import Section, as_json, bar_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; give the exit code."""
    options = _parser().parse_args(arguments)
    described = environment.describe() | {"load_before": environment.load_now()}
    print(f"## Benchmarks\n\n{environment.markdown(described)}", flush=True)
    if described["load_before"] > 0.5:
        print("Other programs are busy on this machine: figures will be off.\n", flush=True)
    failed = False
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="mlsvc-benchmarks-") as folder:
        work = Path(folder)
        plan = Plan.quick(work) if options.quick else Plan.full(work)
        for name in options.only or MEASURES:
            try:
                sections.append(_timed(name, plan))
            except (PeerFailed, LoadFailed, ServerDidNotStart) as error:
                failed = True
                print(f"{name} could not be measured: {error}", file=sys.stderr, flush=True)
    bars = [bar for section in sections for bar in section.bars]
    if bars:
        print(f"### Bars\n\n{bar_table(bars).markdown()}\n", flush=True)
    if options.output:
        options.output.write_text(as_json(described, sections))
    return int(failed)


def _timed(name: str, plan: Plan) -> Section:
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    begun = time.monotonic()
    section = MEASURES[name](plan)
    print(section.markdown(), flush=True)
    print(f"{name} took {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True)
    return section


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure the server beside its peers."
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter rounds: minutes, rough figures"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write raw figures too")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASURES),
        metavar="NAME",
        help=f"measure this only; may be repeated ({', '.join(MEASURES)})",
    )
    return parser
