"""What is made of the figures: tables, bars, and a word about answers that were not right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.benchmarks import plot
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.frameworks.catalogue import FRAMEWORKS
from tests.benchmarks.frameworks.rival import Rival
from tests.benchmarks.load import Load
from tests.benchmarks.measures import throughput
from tests.benchmarks.peers import Target
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, as_json

PLAN = Plan.full(Path(), tuple(FRAMEWORKS))

# Requests per second at 64 connections, in two rounds; the second was slow for all.
RATES = {
    "public API, 1 worker": (9000, 4500),
    "public API, 2 workers": (12000, 6000),
    "public API, 1 worker, the article's flat list": (8000, 4000),
    "public API, realtime service": (45000, 22500),
    "FastAPI, 1 process": (3000, 1500),
    "FastAPI, 2 processes": (6000, 3000),
}

BARE = {"plain": (10000.0, 5000.0), "told what is no data frame": (20000.0, 10000.0)}


def contestant(name: str, rates: Sequence[float], versus: str | None = None) -> Contestant:
    """With latencies that are those of as many connections."""
    made = Contestant(Target(name, "", None), [], list, versus)
    for connections in throughput.CONNECTIONS:
        made.loads[connections] = [
            Load(
                connections,
                requests=round(rate),
                bytes=0,
                seconds=1,
                p50=1e3 * connections / rate,
                p99=2e3 * connections / rate,
                slowest=9e3 * connections / rate,
            )
            for rate in rates
        ]
    return made


def contestants() -> list[Contestant]:
    return [
        contestant(
            name,
            rates,
            None
            if name.startswith("FastAPI")
            else "FastAPI, 2 processes"
            if name.endswith("2 workers")
            else "FastAPI, 1 process",
        )
        for name, rates in RATES.items()
    ]


def rivals() -> list[Rival]:
    """Ray Serve is fastest, and without its HAProxy it could not be started."""
    rates = {"BentoML": 1000, "MLflow": 900, "LitServe": 1500, "MLServer": 2000, "KServe": 1800}
    made = []
    for name, framework in FRAMEWORKS.items():
        rival = Rival(framework, Path(), versions={framework.package: "1.2.3"})
        rate = rates.get(name, 3000)
        rival.contestant = contestant(name, (rate, rate / 2), "FastAPI, 2 processes")
        if name == "Ray Serve":
            rival.failure = "RuntimeError: no port"
        made.append(rival)
    return made


@pytest.fixture
def section() -> Section:
    return throughput._section(contestants(), rivals(), BARE, PLAN)


def test_bars_are_judged_by_ratios_that_were_taken_round_by_round(section: Section) -> None:
    assert [(bar.name, bar.figure, bar.limit, bar.reached) for bar in section.bars] == [
        ("public API, 1 worker, 64 connections: requests/s x FastAPI, 1 process", 3, 3, True),
        ("public API, 1 worker, 64 connections: p99 x FastAPI, 1 process", 1 / 3, 0.5, True),
        ("public API, 2 workers, 64 connections: requests/s x FastAPI, 2 processes", 2, 1.7, True),
        ("public API, 1 worker, 1 connection: p50 x FastAPI, 1 process", 1 / 3, 1, True),
        (
            "public API, 2 workers, 64 connections: requests/s x the best framework (MLServer)",
            6,
            3,
            True,
        ),
        ("public API, 2 workers, 64 connections: requests/s x Ray Serve", None, 3, None),
        ("public API, 2 workers, 64 connections: requests/s x Ray Serve, HAProxy", 4, 3, True),
        (
            "public API, realtime service, 64 connections: requests/s x public API, 1 worker",
            5,
            4,
            True,
        ),
        (
            "public API, realtime service, 64 connections: requests/s x FastAPI, 1 process",
            15,
            12,
            True,
        ),
        (
            "public API, realtime service, 1 connection: p50 x public API, 1 worker",
            0.2,
            1,
            True,
        ),
        ("public API, 1 worker, 64 connections: share of the bare loop", 0.9, 0.85, True),
    ]


def test_the_share_of_either_bare_loop_is_shown(section: Section) -> None:
    table = next(table for table in section.tables if table.columns[0].startswith("Share"))
    ours, fastapi, calls = table.rows
    assert ours[2:] == ["0.90 (0.90-0.90)", "0.45 (0.45-0.45)"]
    assert fastapi[2:] == ["0.30 (0.30-0.30)", "0.15 (0.15-0.15)"]
    assert calls[2:] == ["7,500 (5,000-10,000)", "15,000 (10,000-20,000)"]


def test_frameworks_have_rows_at_64_connections_and_one_that_failed_its_reason(
    section: Section,
) -> None:
    few, _, many, *_ = (table.markdown().splitlines() for table in section.tables)
    assert not [line for line in few if "MLServer" in line]
    (best,) = [line for line in many if line.startswith("| MLServer ")]
    assert [cell.strip() for cell in best.split("|")][2:-1] == [
        "1,500 (1,000-2,000)",
        "48.00 (32.00-64.00)",
        "96.00 (64.00-128.00)",
        "0.33 (0.33-0.33)",
        "1.00 (1.00-1.00)",
        "0",
    ]
    (failed,) = [line for line in many if line.startswith("| Ray Serve:")]
    assert [cell.strip() for cell in failed.split("|")][1:-1] == [
        "Ray Serve: RuntimeError: no port",
        *["-"] * 6,
    ]


def test_without_frameworks_there_is_nothing_to_say_about_them() -> None:
    found = throughput._section(contestants(), [], BARE, PLAN)
    assert not [bar for bar in found.bars if "framework" in bar.name or "Ray" in bar.name]


def test_answers_that_were_not_right_are_counted_and_make_the_run_fail() -> None:
    several = contestants()
    several[0].loads[64][1].errors.update(wrong=2)
    several[0].loads[1][0].errors.update(wrong=1, timeout=4)
    found = throughput._section(several, [], BARE, PLAN)
    assert found.faults == ["public API, 1 worker failed: {'wrong': 3, 'timeout': 4}."]
    assert found.tables[0].markdown().splitlines()[2].endswith("|      7 |")


def test_a_framework_whose_answers_were_not_right_shows_it_and_the_run_goes_on() -> None:
    some = rivals()
    assert some[0].contestant is not None
    some[0].contestant.loads[64][0].errors.update(status=5)
    found = throughput._section(contestants(), some, BARE, PLAN)
    assert found.faults == []
    (line,) = [line for line in found.tables[2].markdown().splitlines() if "BentoML" in line]
    assert line.endswith(" 5 |")


def test_a_picture_is_drawn_from_the_raw_figures(section: Section, tmp_path: Path) -> None:
    environment = {"cores": 2, "processor": "one of them", "date": "2026-01-01"}
    (tmp_path / "run.json").write_text(as_json(environment, [section]))
    target = tmp_path / "picture.svg"
    assert plot.main([str(tmp_path / "run.json"), str(target)]) == 0
    drawn = target.read_text()
    assert len(drawn) < 60_000
    for name in (*RATES, "MLServer", "33,750", "2 cores of one of them"):
        assert f">{name}" in drawn or f"{name}, 2026" in drawn
    assert "Ray Serve<" not in drawn


def test_a_run_without_figures_of_throughput_can_not_be_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(as_json({}, []))
    with pytest.raises(SystemExit):
        plot.main([str(tmp_path / "run.json"), str(tmp_path / "picture.svg")])
    assert "no figures of throughput" in capsys.readouterr().err
