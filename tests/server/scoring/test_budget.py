"""Which versions go so that those that are loaded fit a budget."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.cgroups import memory_limit
from jupyter_mlsvc_server.formats.guard import OOM_TEMPLATE, OOM_WORKER
from jupyter_mlsvc_server.scoring import local
from jupyter_mlsvc_server.scoring.budget import Budget, Loaded
from jupyter_mlsvc_server.scoring.definition import PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.errors import NoMemoryLeft
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, define, serve_by

MB: Final = 2**20

MakeEngine = Callable[..., Awaitable[LocalEngine]]


def budget_of(megabytes: int, *, descriptors: int = 0, **sizes: int) -> Budget[str]:
    budget = Budget[str](megabytes * MB, descriptors)
    for key, size in sizes.items():
        budget.measured(key, size * MB)
    return budget


def idle(key: str, used_at: float = 0.0) -> Loaded[str]:
    return Loaded(key, used_at, may_go=True, descriptors=3)


def busy(key: str, used_at: float = 0.0) -> Loaded[str]:
    return Loaded(key, used_at, may_go=False, descriptors=3)


def test_least_recently_used_goes_first_and_no_more_than_has_to() -> None:
    budget = budget_of(100, a=40, b=30, c=20, new=30)
    loaded = [idle("a", 3.0), idle("b", 1.0), idle("c", 2.0)]
    assert budget.plan(loaded).unload == ()
    assert budget.plan(loaded, "new").unload == ("b",)
    budget.measured("new", 50 * MB)
    assert budget.plan(loaded, "new").unload == ("b", "c")


def test_what_is_at_work_stays_and_the_new_one_is_refused() -> None:
    budget = budget_of(100, a=60, b=30, new=50)
    plan = budget.plan([busy("a"), idle("b")], "new")
    assert (plan.unload, plan.fits) == (("b",), False)


def test_one_that_is_alone_is_never_refused() -> None:
    budget = budget_of(100, a=60, new=500)
    plan = budget.plan([idle("a")], "new")
    assert (plan.unload, plan.fits) == (("a",), True)
    assert budget.plan([], "new").fits
    budget.reserve("another that is being loaded", "a")
    assert not budget.plan([], "new").fits


def test_what_is_being_loaded_counts_as_what_it_took_last_or_as_the_others_do() -> None:
    budget = budget_of(100, a=40, b=20)
    assert (budget.expected("a"), budget.expected("new")) == (40 * MB, 30 * MB)
    budget.reserve(1, "new")
    assert budget.used([idle("a")]) == 70 * MB
    assert budget.plan([idle("a")], "another").fits
    assert budget.plan([idle("a")], "a third").unload == ()
    budget.reserve(2, "another")
    assert budget.plan([idle("a")], "a third").unload == ("a",)
    for holder in (1, 2):
        budget.release(holder)
    assert budget.used([idle("a")]) == 40 * MB


def test_what_versions_share_counts_and_keeps_none_from_being_alone() -> None:
    budget = budget_of(100, a=40, new=30)
    budget.others = 20 * MB
    assert budget.plan([idle("a")], "new").unload == ()
    budget.others = 40 * MB
    assert budget.used([idle("a")]) == 80 * MB
    assert budget.plan([idle("a")], "new").unload == ("a",)
    budget.others = 90 * MB
    assert budget.plan([idle("a")], "new").fits


def test_descriptors_have_a_budget_too() -> None:
    budget = budget_of(0, descriptors=6, a=1, b=1, c=1)
    plan = budget.plan([idle("a", 1.0), idle("b", 3.0), idle("c", 2.0)])
    assert plan.unload == ("a",)


def test_nothing_goes_where_there_is_no_limit() -> None:
    assert budget_of(0, a=9999).plan([idle("a")], "new").unload == ()


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10), st.booleans()), max_size=12),
    st.integers(1, 200),
)
def test_what_goes_is_idle_and_older_than_what_stays(
    versions: list[tuple[int, float, bool]], limit: int
) -> None:
    budget = budget_of(limit, **{str(n): size for n, (size, _, _) in enumerate(versions)})
    loaded = [Loaded(str(n), used, may_go) for n, (_, used, may_go) in enumerate(versions)]
    plan = budget.plan(loaded)
    gone = [each for each in loaded if each.key in plan.unload]
    left = [each for each in loaded if each.key not in plan.unload]
    assert all(each.may_go for each in gone)
    newest = max((each.used_at for each in gone), default=-1.0)
    assert all(each.used_at >= newest for each in left if each.may_go)
    assert budget.used(left) <= limit * MB or not any(each.may_go for each in left)


def test_memory_that_groups_of_the_system_have_is_the_least_of_all_above(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    groups = tmp_path / "sys/fs/cgroup"
    (groups / "a/b").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (groups / "a/b/memory.max").write_text("max\n")
    assert memory_limit(tmp_path) is None
    (groups / "a/memory.max").write_text("3000000\n")
    (groups / "memory.max").write_text("5000000\n")
    assert memory_limit(tmp_path) == 3_000_000
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/a\n")
    (groups / "memory").mkdir()
    (groups / "memory/memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    assert memory_limit(tmp_path) is None


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def by_name(name: str, version: str) -> ServiceDefinition:
    return define("import os\ny = os.getpid()", name=name)


async def test_versions_that_nobody_calls_have_no_processes(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    engine.definitions = by_name
    services = [
        Service(engine, (await serve_by(engine, "y = 1", name=f"n{n}")).key)
        for n in range(local._MAX_UNCALLED + 2)
    ]
    found = await engine.statistics()
    assert (found["services"], found["workers"]) == (local._MAX_UNCALLED, 0)
    for service in services:
        assert (await service.outputs())["y"]
    assert (await engine.statistics())["services"] == len(services), "what is called stays"


async def test_a_version_that_is_called_takes_the_place_of_what_nobody_uses(
    make_engine: MakeEngine,
) -> None:
    # No two of them fit.
    engine = await make_engine(memory_budget=MB, workers_max=1)
    engine.definitions = by_name
    first, second = (Service(engine, define("", name=name).key) for name in ("first", "second"))
    for service in (first, second, first):
        assert (await service.outputs())["y"]
    assert list(await engine.loaded()) == [first.key]
    assert (await engine.counters()).unloaded == 2
    engine.resize(*first.key, PoolSize(1, 1))
    with pytest.raises(NoMemoryLeft, match=r"dedicated pools.*memory_budget"):
        await second.outputs()
    assert (await first.outputs())["y"]


async def test_workers_end_before_templates_where_memory_runs_out(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    service = await serve_by(engine, "import os\ny = os.getpid()")
    worker = (await service.outputs())["y"]
    template = engine._pools[service.key].template_pid
    assert [oom_score(pid) for pid in (worker, template)] == [OOM_WORKER, OOM_TEMPLATE]
    assert oom_score(os.getpid()) < OOM_TEMPLATE
