"""The long runs for a few seconds: that they work, and see what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.__main__ import main
from tests.reliability.conftest import Doors
from tests.reliability.mixed_load import Counts, MixedLoad
from tests.reliability.soak import Growth, Sample

pytestmark = [pytest.mark.timeout(240)]


@pytest.mark.kernel
def test_soak_writes_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    assert main(["soak", "--minutes", "0.05", "--seed", "1", "--report", str(report)]) == 0
    text = report.read_text()
    assert text.startswith("# Soak, seed 1\n")
    assert "| descriptors of the server |" in text
    assert "Wrong answers: 0. Lost after a 2xx: 0." in text


def test_slope_leaves_the_warm_up_out() -> None:
    samples = [Sample(n / 2, 100 if n > 2 else 10 * n, 0, 7 + n, 1, 0) for n in range(20)]
    growth = Growth(1.0, None, samples)
    assert growth.slope("server_mb") == pytest.approx(0)
    assert growth.slope("descriptors") == pytest.approx(2)


def test_answer_of_another_value_is_wrong() -> None:
    counts = Counts()
    counts.judge("call", 200, is_right=lambda: False, what="1 was answered with 2")
    counts.judge("call", 503, is_right=lambda: False, what="1 was refused")
    assert counts.wrong == ["call: 1 was answered with 2"]
    assert counts.refused == {"call 503": 1}


@pytest.mark.kernel
def test_service_that_is_gone_after_a_2xx_is_lost(
    doors: Doors,
) -> None:
    load = MixedLoad(doors["public"], seed=1)
    load.change_services()
    load.check_kept()
    assert not load.counts.lost
    (name,) = load.kept
    doors["public"].delete(f"/services/{name}/1.0")
    load.check_kept()
    assert len(load.counts.lost) == 1
