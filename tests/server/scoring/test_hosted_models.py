"""Models that share a process while they are called now and then."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
import pytest_asyncio
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc_server.formats import realtime
from jupyter_mlsvc_server.formats.protocol import REQUEST, RequestReader
from jupyter_mlsvc_server.formats.realtime import INPUT, OUTPUT
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.hosted_pool import HostedPool
from jupyter_mlsvc_server.scoring.hosting import FOR_GOOD, MAX_MODEL_BYTES, Hosting
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.worker.model import NotAModel
from jupyter_mlsvc_server.worker.realtime import load_known_model
from tests.server.scoring.serving import Service, Snapshots, define
from tests.waiting import until

X = numpy.arange(12.0).reshape(-1, 2)
Y = X.sum(axis=1)


# --- which models ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        DecisionTreeRegressor(),
        RandomForestRegressor(n_estimators=3),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(FunctionTransformer(numpy.log1p), LinearRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_estimators_of_scikit_learn_are_loaded(model: Any) -> None:
    model.fit(X, Y > 9)
    loaded = load_known_model(memoryview(serialize_model(model)))
    predicted = loaded.predict_matrix(X)["y_Pred"]
    assert predicted.tolist() == model.predict(X).tolist()


def refused(model: Any, **options: Any) -> str:
    with pytest.raises(NotAModel) as problem:
        load_known_model(memoryview(serialize_model(model.fit(X, Y), **options)))
    return str(problem.value)


def test_others_are_not() -> None:
    threads = RandomForestRegressor(n_estimators=3, n_jobs=2)
    foreign = make_pipeline(FunctionTransformer(lambda rows: rows), LinearRegression())
    assert "threads" in refused(threads)
    assert "cloudpickle" in refused(foreign)
    assert "how it predicts" in refused(LinearRegression(), gather=True)


def test_nothing_that_is_unknown_is_imported_or_run() -> None:
    harm = b"\x80\x04cos\nsystem\n(Vtrue\ntR."
    with pytest.raises(NotAModel, match=r"os\.system"):
        load_known_model(memoryview(harm))
    with pytest.raises(NotAModel, match=r"builtins\.eval"):
        load_known_model(memoryview(b"\x80\x04cbuiltins\neval\n(V1\ntR."))


def model_of(content: Any, name: str = "Test", **others: Any) -> ServiceDefinition:
    return define(
        realtime.CODE,
        content,
        name=name,
        inputs=f"{INPUT}:data.frame",
        outputs=f"{OUTPUT}:data.frame",
        runtime_type=realtime.RUNTIME,
        revision=f"of {name}",
        **others,
    )


def hosting(*, is_possible: bool = True, **settings: Any) -> Hosting:
    async def start(_: ServiceDefinition) -> Any:
        raise AssertionError

    return Hosting(start, ScoringSettings(**settings), is_possible=is_possible)


@pytest.fixture(scope="module")
def content(snapshots: Snapshots) -> Any:
    return snapshots.take_model(LinearRegression().fit(X, Y))


def test_versions_that_ask_for_more_have_workers_of_their_own(content: Any) -> None:
    usual = model_of(content)
    assert hosting().suits(usual)
    changes: list[dict[str, Any]] = [{"network": False}, {"read_only": True}]
    for change in changes:
        assert not hosting().suits(model_of(content, **change))
    dedicated = ServiceDefinition(spec=usual.spec, content=content, pool=PoolSize(1, 1))
    assert not hosting().suits(dedicated)
    assert not hosting().suits(define("y = 1"))
    assert not hosting(is_possible=False).suits(usual)
    settings: list[dict[str, Any]] = [
        {"share_models": False}, {"workers_min": 2}, {"deadline_seconds": 0.1},
    ]  # fmt: skip
    for setting in settings:
        assert not hosting(**setting).suits(usual)
    buffer = msgspec.structs.replace(content.manifest.buffers[0], size=MAX_MODEL_BYTES + 1)
    manifest = msgspec.structs.replace(content.manifest, buffers=(buffer,))
    assert not hosting().suits(model_of(type(content)(manifest, content.blobs)))


def test_what_left_comes_back_later_unless_it_left_for_good(content: Any) -> None:
    deciding, model = hosting(), model_of(content)
    deciding.keep_apart("of Test", now=0.0)
    assert not deciding.may_host(model, now=59.0)
    assert deciding.may_host(model, now=61.0)
    deciding.keep_apart("of Test", now=0.0, seconds=FOR_GOOD)
    deciding.keep_apart("of Test", now=0.0)
    assert not deciding.may_host(model, now=1e9)


def test_a_reader_knows_whether_a_whole_request_is_at_hand() -> None:
    class Link:
        def recv_into(self, view: memoryview) -> int:
            one = REQUEST.pack(2, 1, 0) + b"{}"
            given = one + one + one[:-1]
            view[: len(given)] = given
            return len(given)

    reader = RequestReader(Link())  # type: ignore[arg-type]
    found = [reader.is_at_hand]
    for _ in range(2):
        assert len(reader.read(1)) == 1
        found.append(reader.is_at_hand)
    assert found == [False, True, False]


# --- a live engine -----------------------------------------------------------------------------


class Models:
    """Linear models that multiply by their numbers, served by an engine."""

    def __init__(self, engine: LocalEngine, snapshots: Snapshots) -> None:
        self.engine = engine
        self._snapshots = snapshots
        self._known: dict[DefinitionKey, ServiceDefinition] = {}
        engine.definitions = self._find

    async def _find(self, name: str, version: str) -> ServiceDefinition:
        return self._known[DefinitionKey(name, version)]

    def add(self, name: str, model: Any) -> Service:
        definition = model_of(self._snapshots.take_model(model), name)
        self._known[definition.key] = definition
        return Service(self.engine, definition.key)

    def multiplier(self, number: int) -> Service:
        rows = numpy.array([[1.0], [2.0], [3.0]])
        return self.add(f"times{number}", LinearRegression().fit(rows, rows[:, 0] * number))

    def pool(self, service: Service) -> Any:
        return self.engine._pools.get(service.key)

    def is_hosted(self, service: Service) -> bool:
        return isinstance(self.pool(service), HostedPool)


async def product(service: Service, number: float) -> float:
    outputs = await service.outputs(inputData={"x": [number]})
    return float(round(outputs["outputData"]["y_Pred"][0], 6))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(engine: LocalEngine, snapshots: Snapshots) -> AsyncIterator[Models]:
    yield Models(engine, snapshots)


@pytest.mark.asyncio(loop_scope="module")
async def test_many_models_answer_from_one_process(models: Models) -> None:
    services = [models.multiplier(number) for number in range(20)]
    found = await asyncio.gather(*(product(service, 3) for service in services))
    assert found == [3 * number for number in range(20)]
    assert all(map(models.is_hosted, services))
    assert len({models.pool(service).template_pid for service in services}) == 1
    sizes = [await models.engine.memory_of(*service.key) for service in services]
    assert sum(sizes) < 100 * 2**20
    assert len(set(await models.engine.memory())) >= 20


@pytest.mark.asyncio(loop_scope="module")
async def test_inputs_that_do_not_fit_are_refused_there(models: Models) -> None:
    service = models.multiplier(30)
    assert await product(service, 2) == 60
    assert "1 column" in await service.problem_of(b'{"inputData": {"a": [1], "b": [2]}}')
    assert models.is_hosted(service)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_that_fails_is_answered_by_workers_of_its_own(models: Models) -> None:
    service, other = models.multiplier(40), models.multiplier(41)
    assert (await product(service, 2), await product(other, 2)) == (80, 82)
    failed = await service.call(inputData={"x": ["text"]})
    assert not failed["success"]
    assert "text" in failed["errorMessage"]
    assert await product(service, 2) == 80
    assert not models.is_hosted(service)
    assert models.is_hosted(other)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_of_another_kind_is_loaded_by_its_own(models: Models) -> None:
    foreign = make_pipeline(FunctionTransformer(lambda rows: rows), LinearRegression())
    rows = numpy.array([[1.0], [2.0]])
    service, other = models.add("foreign", foreign.fit(rows, rows[:, 0])), models.multiplier(45)
    assert await product(other, 2) == 90
    assert await product(service, 2) == 2
    assert not models.is_hosted(service)
    assert models.is_hosted(other)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_busy_model_gets_workers_and_no_answer_is_wrong(models: Models) -> None:
    service = models.multiplier(50)
    async with asyncio.timeout(60):
        while not models.pool(service) or models.is_hosted(service):
            numbers = list(range(40))
            found = await asyncio.gather(*(product(service, number) for number in numbers))
            assert found == [50 * number for number in numbers]
    assert models.pool(service).pids


@pytest.mark.asyncio(loop_scope="module")
async def test_when_the_process_is_lost_all_calls_are_answered(models: Models) -> None:
    services = [models.multiplier(number) for number in range(60, 70)]
    await asyncio.gather(*(product(service, 1) for service in services))
    host = models.pool(services[0]).template_pid
    os.kill(host, signal.SIGSTOP)
    calls = [asyncio.create_task(product(service, 2)) for service in services[:5]]
    await asyncio.sleep(0)
    os.kill(host, signal.SIGKILL)
    assert await asyncio.gather(*calls) == [2 * number for number in range(60, 65)]
    # Any of these may have ended it. The others have had no call, and share a process again.
    assert not any(map(models.is_hosted, services[:5]))
    await until(lambda: not Path(f"/proc/{host}").exists())
    assert [await product(service, 2) for service in services[5:]] == [
        2 * number for number in range(65, 70)
    ]
    assert all(map(models.is_hosted, services[5:]))


@pytest.mark.asyncio(loop_scope="module")
async def test_calls_do_not_wait_for_a_process_that_is_stuck(models: Models) -> None:
    service = models.multiplier(80)
    assert await product(service, 1) == 80
    host = models.pool(service).template_pid
    os.kill(host, signal.SIGSTOP)
    try:
        assert await product(service, 2) == 160
        assert not models.is_hosted(service)
    finally:
        os.kill(host, signal.SIGCONT)
