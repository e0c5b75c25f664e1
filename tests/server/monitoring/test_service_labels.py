"""Labels of service versions: as many as there may be, and counters that never go down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.monitoring.service_labels import OTHER, ServiceLabels
from jupyter_mlsvc_server.scoring.statistics import Latency, VersionCounters


def version(name: str, calls: int) -> VersionCounters:
    latency = Latency().with_sample([0.01], calls) if calls else Latency()
    return VersionCounters(name=name, version="1", calls=calls, workers=1, latency=latency)


def test_the_first_versions_have_labels_of_their_own() -> None:
    labels = ServiceLabels(2)
    rows = labels.bounded([version(name, 5) for name in "abcd"])
    assert [(row.name, row.calls, row.workers) for row in rows] == [
        ("a", 5, 1), ("b", 5, 1), (OTHER, 10, 2),
    ]  # fmt: skip
    assert rows[-1].latency.counts[-1] == 10


def test_a_deleted_version_leaves_its_label_to_nobody() -> None:
    labels = ServiceLabels(1)
    labels.bounded([version("a", 1)])
    (row,) = labels.bounded([version("b", 3)])
    assert (row.name, row.calls) == (OTHER, 3)


def test_what_is_deleted_stays_counted_among_the_others() -> None:
    labels = ServiceLabels(0)
    labels.bounded([version("a", 5), version("b", 2)])
    (row,) = labels.bounded([version("b", 4)])
    assert (row.calls, row.workers) == (7 + 2, 1)
    (row,) = labels.bounded([])
    assert (row.calls, row.workers) == (9, 0)


def test_a_version_that_is_published_anew_counts_from_the_start() -> None:
    labels = ServiceLabels(0)
    labels.bounded([version("a", 5)])
    (row,) = labels.bounded([version("a", 2)])
    assert row.calls == 7


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=8))
def test_shared_counters_never_go_down(scrapes: list[dict[str, int]]) -> None:
    labels, last = ServiceLabels(2), 0
    for scrape in scrapes:
        rows = labels.bounded([version(name, calls) for name, calls in scrape.items()])
        assert len(rows) <= 3
        shared = [row.calls for row in rows if row.name == OTHER]
        assert shared or not last, "the series does not disappear"
        for calls in shared:
            assert calls >= last
            last = calls
