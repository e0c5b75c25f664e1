"""The command: measure, print markdown, and write it and JSON on demand."""

# ruff: noqa: T201 - it speaks to a terminal or a pipe

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import environment
from .frameworks.catalogue import FRAMEWORKS
from .measures import MEASURES
from .peers import FAILURES
from .plan import Plan
from .report import Section, as_json, bar_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; give the exit code."""
    options = _parser().parse_args(arguments)
    described = environment.describe() | {"load_before": environment.load_now()}
    pages = [_show(f"## Benchmarks\n\n{environment.markdown(described)}")]
    if described["load_before"] > 0.5:
        pages.append(_show("Other programs are busy on this machine: figures will be off.\n"))
    sections: list[Section] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlsvc-bench-") as folder:
        plan = _plan(options, Path(folder))
        for name in options.only or MEASURES:
            try:
                section = _timed(name, plan)
            except FAILURES as error:
                failures.append(f"{name} could not be measured: {error}")
                print(failures[-1], file=sys.stderr, flush=True)
                continue
            sections.append(section)
            failures += section.faults
            pages.append(_show(section.markdown()))
    if bars := [bar for section in sections for bar in section.bars]:
        pages.append(_show(f"### What was to be reached\n\n{bar_table(bars).markdown()}\n"))
    if failures:
        pages.append(_show("### What failed\n\n" + "".join(f"- {one}\n" for one in failures)))
    if options.output:
        options.output.write_text(as_json(described, sections))
    if options.markdown:
        options.markdown.write_text("\n".join(pages))
    return int(bool(failures))


def _plan(options: argparse.Namespace, work: Path) -> Plan:
    if options.quick:
        return Plan.quick(work, options.framework or ())
    return Plan.full(work, options.framework or tuple(FRAMEWORKS))


def _timed(name: str, plan: Plan) -> Section:
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    begun = time.monotonic()
    section = MEASURES[name](plan)
    print(f"{name} took {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True)
    return section


def _show(page: str) -> str:
    print(page, flush=True)
    return page


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure the server beside its peers."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer and shorter rounds, no frameworks: minutes, rough figures",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write raw figures too")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the tables too")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASURES),
        metavar="NAME",
        help=f"measure this only; may be repeated ({', '.join(MEASURES)})",
    )
    parser.add_argument(
        "--framework",
        action="append",
        choices=list(FRAMEWORKS),
        metavar="NAME",
        help=(
            "of the serving frameworks this one only, also in a quick run; may be repeated "
            f"({', '.join(repr(name) for name in FRAMEWORKS)})"
        ),
    )
    return parser
