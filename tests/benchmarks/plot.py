"""A picture of requests per second, from the raw figures of a run.

Run by ``python -m tests.benchmarks.plot results.json picture.svg``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .measures.throughput import OURS, TITLE

_CONNECTIONS = "64"

# Enough contrast on a white page and on a dark one.
_INK, _LINES = "#777777", "#88888855"
_OUR_COLOUR, _PEER_COLOUR = "#2f81f7", "#9a9a9a"


def rates(document: Mapping[str, Any]) -> dict[str, float]:
    """Median requests per second of everything that was measured at 64 connections.

    Raises
    ------
    KeyError
        The run did not measure throughput.
    """
    rounds: Mapping[str, Any] = document["measures"][TITLE]["rounds"]
    return {
        name: statistics.median(load["requests"] / load["seconds"] for load in loads[_CONNECTIONS])
        for name, loads in rounds.items()
    }


def draw(rates_by_name: Mapping[str, float], environment: Mapping[str, Any], target: Path) -> None:
    """Draw one bar for each, the fastest on top; the kind of file is what the name ends with."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ordered = sorted(rates_by_name.items(), key=lambda item: item[1])
    names = [name for name, _ in ordered]
    values = [rate for _, rate in ordered]
    with mpl.rc_context(
        {
            # Text as text: small, and drawn with the reader's own letters.
            "svg.fonttype": "none",
            "svg.hashsalt": "requests",
            "font.family": "sans-serif",
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        figure = Figure(figsize=(8, 0.6 + 0.36 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        colours = [_OUR_COLOUR if name in OURS else _PEER_COLOUR for name in names]
        bars = axes.barh(names, values, color=colours, height=0.7)
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=4)
        axes.margins(x=0.12, y=0.01)
        figure.supxlabel(
            f"requests/s at {_CONNECTIONS} connections, one row a request ({environment['cores']} "
            f"cores of {environment['processor']}, {environment['date']})",
            fontsize="medium",
        )
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x", color=_LINES)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        dated = {"Date": None} if target.suffix == ".svg" else {}
        figure.savefig(target, transparent=True, metadata=dated, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the figures of a run and draw them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.plot", description="Draw the figures of a run."
    )
    parser.add_argument("results", type=Path, help="what --output of the benchmarks wrote")
    parser.add_argument("target", type=Path, help="picture to write: .svg or .png")
    options = parser.parse_args(arguments)
    document = json.loads(options.results.read_text())
    try:
        found = rates(document)
    except KeyError as missing:
        parser.error(f"{options.results} has no figures of throughput: {missing} is missing.")
    draw(found, document["environment"], options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
