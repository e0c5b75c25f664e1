"""Many requests in one call of a model: each is answered as if it were alone."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.wire.model_file import MARK
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest
from jupyter_mlsvc_server.formats.protocol import Kind, Service, without_notes
from jupyter_mlsvc_server.formats.realtime import INPUT, OUTPUT, RUNTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.services.model_content import stream, workspace
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.micro_batching import (
    MAX_REQUESTS,
    MicroBatchingProgram,
    RealtimeProgram,
)
from jupyter_mlsvc_server.worker.model import Model, NotAModel
from jupyter_mlsvc_server.worker.onnx_model import OnnxModel
from jupyter_mlsvc_server.worker.program import compile_service
from jupyter_mlsvc_server.worker.realtime import EstimatorModel, load_model
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.template import restore_content

Enter = Callable[..., MicroBatchingProgram]
NAMES = ["a", "b", "c", "d"]
IRIS = load_iris(as_frame=True).data.set_axis(NAMES, axis=1)
SPECIES = numpy.array(["setosa", "versicolor", "virginica"])[load_iris().target]


# A template forks while it has one thread; the process of the tests may have more.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def service_in(folder: Path) -> Service:
    return Service(
        spec=ServiceSpec(
            name=ServiceName("Flowers"),
            version=Version("1.0"),
            revision_id="r1",
            runtime_type=RUNTIME,
            inputs=(ParameterDefinition(name=INPUT, type="data.frame"),),
            outputs=(ParameterDefinition(name=OUTPUT, type="data.frame"),),
        ),
        manifest=None,
        blobs=None,
        work=str(folder),
        memory_limit=0,
        console_limit=10_000,
    )


@pytest.fixture(scope="module")
def enter(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Enter]:
    """Gives the program of a model, ready to answer as in a worker.

    A program watches the environment, which pytest changes between a fixture and its test.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        patch.setenv("TMPDIR", tempfile.gettempdir())
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(sys, "stdout", sys.stdout)
        patch.setattr(sys, "stderr", sys.stderr)

        def enter(estimator: Any, response: tuple[str, ...] = ()) -> MicroBatchingProgram:
            folder = tmp_path_factory.mktemp("service")
            service = service_in(folder)
            model: Model
            if not isinstance(estimator, bytes):
                model = EstimatorModel(estimator, response, gather=True)
            elif estimator.startswith(MARK):
                model = load_model(memoryview(estimator))
            else:
                model = OnnxModel(estimator, response)
            namespace = {"model": model}
            program = MicroBatchingProgram(service, compile_service(service), namespace, model)
            scratch = ScratchDir(folder / "scratch", (), Path)
            scratch.create()
            program.enter(Console(service.console_limit), scratch)
            return program

        yield enter


def one_by_one(program: MicroBatchingProgram, bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
    """Answer as a program does that knows nothing of gathering."""
    answers = []
    for body in bodies:
        answers.append(without_notes(*program.answer(program.read(body))))
        assert program.reset()
    return answers


def together(program: MicroBatchingProgram, bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
    answers = [without_notes(*answer) for answer in program.answer_all(bodies)]
    assert program.reset()
    return answers


def body_of(columns: object) -> bytes:
    return json.dumps({INPUT: columns}).encode()


def flowers(*rows: int) -> bytes:
    return body_of(IRIS.iloc[list(rows)].to_dict("list"))


def predictions(answer: tuple[Kind, bytes]) -> Any:
    kind, body = answer
    assert kind == Kind.SUCCESS, body
    return json.loads(body)["outputParameters"][OUTPUT]


class Counting(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Counts the calls of a fitted estimator."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[int] = []
        if hasattr(inner, "n_features_in_"):
            self.n_features_in_ = inner.n_features_in_

    def predict(self, rows: Any) -> Any:
        self.calls.append(len(rows))
        return self.inner.predict(rows)


@pytest.fixture
def counted() -> Counting:
    return Counting(SVC().fit(IRIS.to_numpy(), SPECIES))


def stored(model: bytes, folder: Path) -> Service:
    """Store a model as the server does."""

    def store(data: bytes) -> BlobEntry:
        digest = sha256(data).hexdigest()
        path = folder / "blobs" / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return BlobEntry(digest=digest, size=len(data))

    manifest = Manifest(
        runtime_type=RUNTIME,
        workspace=workspace(len(model)),
        stream=store(stream(memoryview(model))),
        buffers=(store(model),),
    )
    return msgspec.structs.replace(
        service_in(folder), manifest=manifest, blobs=str(folder / "blobs")
    )


class Better(SVC):  # type: ignore[misc]  # scikit-learn is untyped
    """A class of somebody's."""


@pytest.mark.parametrize(
    ("kind", "gather", "expected"),
    [
        (SVC, None, MicroBatchingProgram),
        (SVC, False, RealtimeProgram),
        (Better, None, RealtimeProgram),
        (Better, True, MicroBatchingProgram),
    ],
)
def test_models_of_known_libraries_are_gathered_and_others_on_demand(
    kind: type,
    gather: bool | None,
    expected: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for owner, name in ((sys, "argv"), (sys, "path"), (sys, "dont_write_bytecode")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.chdir(tmp_path)
    model = serialize_model(kind().fit(IRIS.to_numpy(), SPECIES), gather=gather)
    service = stored(model, tmp_path)
    make, lost = restore_content(service)
    program: RealtimeProgram = make(service)
    assert not lost
    assert type(program) is expected
    assert program.most == (MAX_REQUESTS if expected is MicroBatchingProgram else 1)


# --- how many calls of the model it takes ----------------------------------------------------


def test_requests_are_predicted_in_one_call(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    bodies = [flowers(row) for row in range(0, 150, 5)]
    answers = program.answer_all(bodies)
    assert counted.calls == [30]
    assert [predictions(answer)["y_Pred"] for answer in answers] == [
        [str(name)] for name in SPECIES[::5]
    ]
    assert answers[0][1] == (
        b'{"success":true,"errorMessage":"","outputParameters":{"outputData":{"y_Pred":["setosa"]}}'
        b',"outputFiles":{},"consoleOutput":"","changedFiles":[]}'
    )
    assert program.most == MAX_REQUESTS >= len(bodies)


def test_each_request_gets_as_many_rows_as_it_sent(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    parts = [[0], [60, 1, 120], [2, 140], [70]]
    answers = program.answer_all([flowers(*part) for part in parts])
    assert counted.calls == [7]
    for part, answer in zip(parts, answers, strict=True):
        assert predictions(answer) == {"y_Pred": SPECIES[part].tolist()}


def test_whole_numbers_among_floats_need_no_call_of_their_own(
    enter: Enter, counted: Counting
) -> None:
    program = enter(counted)
    columns = {"a": [7], "b": [3.2], "c": [4.7], "d": [1]}
    program.answer_all([flowers(0), body_of(columns), flowers(1)])
    assert counted.calls == [3]


def test_large_requests_are_predicted_on_their_own(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    bodies = [flowers(0), flowers(*[60] * 5_000), flowers(120)]
    answers = together(program, bodies)
    assert counted.calls == [2, 5_000]
    assert answers == one_by_one(program, bodies)


def test_only_the_request_that_does_not_fit_is_refused(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    bad = [
        b"",
        b"{",
        b"\xff",
        b'{"inputData": {"a": [1], "b": [1], "c": [1], "d": 1}}',
        b'{"inputData": {"a": [1], "b": [1, 2], "c": [1], "d": [1]}}',
        b'{"inputData": {"a": [1]}}',
        b'{"inputData": {"a": [1], "b": [1], "c": [1], "d": [1], "e": [1]}}',
        b'{"inputData": null}',
        b'{"inputData": [1]}',
        b'{"inputData": {"a": [1], "b": [1], "c": [1], "d": [1]}, "more": 1}',
    ]
    answers = program.answer_all([flowers(0), *bad, flowers(100)])
    assert counted.calls == [2]
    assert [kind for kind, _ in answers[1:-1]] == [Kind.INVALID_INPUT] * len(bad)
    assert predictions(answers[0]) == {"y_Pred": ["setosa"]}
    assert predictions(answers[-1]) == {"y_Pred": ["virginica"]}


@pytest.mark.parametrize("extra", [1, [1, 2], []])
def test_columns_that_the_model_leaves_aside_have_to_fit_as_well(enter: Enter, extra: Any) -> None:
    program = enter(SVC().fit(IRIS, SPECIES))
    columns = IRIS.iloc[[0]].to_dict("list")
    bodies = [body_of(columns | {"e": ["x"]}), body_of(columns | {"e": extra}), flowers(0)]
    answers = together(program, bodies)
    assert [kind for kind, _ in answers] == [Kind.SUCCESS, Kind.INVALID_INPUT, Kind.SUCCESS]


def test_only_the_request_that_the_model_cannot_compute_fails(
    enter: Enter, counted: Counting
) -> None:
    program = enter(counted)
    nothing = body_of({name: [None, 1.0] for name in NAMES})
    text = body_of({name: ["seven"] for name in NAMES})
    bodies = [flowers(0), nothing, flowers(60), text]
    answers = together(program, bodies)
    assert [kind for kind, _ in answers] == [Kind.SUCCESS, Kind.FAILURE, Kind.SUCCESS, Kind.FAILURE]
    assert "NaN" in json.loads(answers[1][1])["errorMessage"]
    assert "seven" in json.loads(answers[3][1])["errorMessage"]
    # Two that are alike at once; of the others each was tried, and asked again for its message.
    assert sorted(counted.calls) == [1, 1, 2, 2, 2]
    assert answers == one_by_one(program, bodies)


# --- as if alone -----------------------------------------------------------------------------

CITIES = ["Bern", "Rome", "Oslo"]
MIXED = pandas.DataFrame(
    {
        "city": [CITIES[i % 3] for i in range(60)],
        "rooms": [i % 5 for i in range(60)],
        "area": [20.5 + 3 * i for i in range(60)],
        "old": [i % 7 == 0 for i in range(60)],
    }
)
PRICE = MIXED["area"] * 10 + MIXED["rooms"] * 50 + MIXED["city"].map(CITIES.index) * 100


def with_categories() -> Any:
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(), ["city"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["rooms", "area"]),
            ("as it is", "passthrough", ["old"]),
        ]
    )
    return make_pipeline(columns, RandomForestRegressor(5, random_state=0)).fit(MIXED, PRICE)


def of_words() -> Any:
    texts = ["good", "very good", "bad", "very bad"]
    return make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, [1, 1, 0, 0])


def onnx_of_a_matrix() -> bytes:
    rows = IRIS.to_numpy().astype(numpy.float32)
    model = LogisticRegression(max_iter=500).fit(rows, SPECIES)
    return bytes(to_onnx(model, rows[:1]).SerializeToString())


def onnx_of_columns() -> bytes:
    numbers = FloatTensorType([None, 1])
    types = [("city", StringTensorType([None, 1])), ("rooms", numbers), ("area", numbers)]
    columns = ColumnTransformer(
        [("city", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough"
    )
    frame = MIXED[["city", "rooms", "area"]]
    model = make_pipeline(columns, LinearRegression()).fit(frame, PRICE)
    return bytes(to_onnx(model, initial_types=types).SerializeToString())


number = st.one_of(
    st.floats(-10, 10),
    st.integers(-10, 10),
    st.sampled_from([0, -0.0, 2**53 + 1, 2**63, 1e300]),
)
anything = st.one_of(number, st.none(), st.booleans(), st.sampled_from(["", "Bern", "Paris", "ä"]))
SHAPELESS = st.sampled_from(
    [b"", b"null", b"[]", b"{", b'{"inputData": {}}', b'{"inputData": {"a": 1}}', b'{"x": {}}']
)


def columns_of(names: list[str], values: dict[str, st.SearchStrategy[Any]]) -> Any:
    """Columns of a request: mostly such as the model takes, in any order, with all that can go."""

    def rows(height: int) -> Any:
        good = {
            name: st.lists(values.get(name, number), min_size=height, max_size=height)
            for name in names
        }
        bad = {
            name: st.lists(anything, min_size=height, max_size=height)
            for name in [*names, "more", "and more"]
        }
        plain = st.fixed_dictionaries(good)
        extra = {"more": bad["more"]}
        return st.one_of(
            plain,
            plain,
            plain.map(lambda columns: dict(reversed(columns.items()))),
            st.fixed_dictionaries(good, optional=extra),
            st.fixed_dictionaries({}, optional=bad),
            st.fixed_dictionaries({**good, names[0]: bad[names[0]]}),
        )

    return st.integers(0, 3).flatmap(rows)


def requests(names: list[str], **values: st.SearchStrategy[Any]) -> Any:
    return st.lists(
        st.one_of(columns_of(names, values).map(body_of), SHAPELESS), min_size=1, max_size=8
    )


def is_same(left: tuple[Kind, bytes], right: tuple[Kind, bytes]) -> bool:
    """Compare answers; numbers that a matrix product gave may differ in their last bits."""
    if left == right:
        return True
    if left[0] != right[0] != Kind.SUCCESS:
        return False
    first, second = predictions(left), predictions(right)
    return list(first) == list(second) and all(
        # ONNX computes with 32 bits.
        first[name] == pytest.approx(second[name], rel=1e-5, abs=1e-9)
        for name in first
    )


LIKE = pandas.DataFrame(
    {
        "when": pandas.to_datetime(["2024-02-29T23:00Z", "2024-03-01T01:00Z"]).tz_convert(
            "Asia/Tokyo"
        ),
        "size": pandas.Categorical(["L", "S"], ["S", "M", "L"], ordered=True),
        "n": pandas.array([1, None], "Int64"),
    }
)
WHEN = ["2024-02-29T23:00:00Z", "2024-03-01T09:00:00+09:00", None]


def by_dtypes(rows: Any) -> Any:
    assert rows.dtypes.equals(LIKE.dtypes), rows.dtypes
    day = rows["when"].dt.day_of_year.fillna(0)
    return day + rows["size"].cat.codes + rows["n"].fillna(0).astype(int)


def with_known_categories() -> Any:
    frame = MIXED.assign(city=MIXED["city"].astype("category"))[["city", "rooms"]]
    return HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=1).fit(frame, PRICE)


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "by position": (lambda: SVC().fit(IRIS.to_numpy(), SPECIES), requests(NAMES)),
    "by name": (lambda: LogisticRegression(max_iter=500).fit(IRIS, SPECIES), requests(NAMES)),
    "a pipeline": (
        lambda: make_pipeline(StandardScaler(), SVC()).fit(IRIS, SPECIES),
        requests(NAMES),
    ),
    "categories": (
        with_categories,
        requests(
            MIXED.columns.tolist(),
            city=st.sampled_from(CITIES),
            old=st.booleans(),
            rooms=st.one_of(st.integers(0, 5), st.none()),
        ),
    ),
    "dtypes of a frame": (
        lambda: serialize_model(Predict(by_dtypes), like=LIKE, gather=True),
        requests(
            list(LIKE.columns),
            when=st.sampled_from(WHEN),
            size=st.sampled_from(["S", "M", "L", None]),
            n=st.none() | st.integers(0, 5) | st.just(2.0),
        ),
    ),
    "categories that the model keeps": (
        with_known_categories,
        requests(["city", "rooms"], city=st.sampled_from([*CITIES, None]), rooms=number),
    ),
    "a forest": (
        lambda: RandomForestRegressor(5, random_state=0).fit(IRIS[["a", "b"]], IRIS["c"]),
        requests(["a", "b"]),
    ),
    "several outputs": (
        lambda: LinearRegression().fit(IRIS[["a"]], IRIS[["c", "d"]]),
        requests(["a"]),
    ),
    "ONNX of a matrix": (onnx_of_a_matrix, requests(NAMES)),
    "ONNX of columns": (
        onnx_of_columns,
        requests(["city", "rooms", "area"], city=st.sampled_from([*CITIES, "Paris"])),
    ),
    "texts": (of_words, requests(["t"], t=st.sampled_from(["good", "bad bad", "", "very"]))),
}


@pytest.mark.process
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_one_request_after_the_other(enter: Enter, name: str) -> None:
    make, strategy = MODELS[name]
    program = enter(make())

    @settings(max_examples=60)
    @given(bodies=strategy)
    def check(bodies: list[bytes]) -> None:
        gathered, alone = together(program, bodies), one_by_one(program, bodies)
        for body, left, right in zip(bodies, gathered, alone, strict=True):
            assert is_same(left, right), body

    check()


class Predict(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A model that does what a function does."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(self, rows: Any) -> Any:
        return self.function(rows)


def test_a_model_gets_the_dtypes_that_it_was_serialised_with(enter: Enter) -> None:
    program = enter(serialize_model(Predict(by_dtypes), like=LIKE, gather=True))
    good: dict[str, list[Any]] = {
        "more": [1],
        "n": [None],
        "size": ["L"],
        "when": ["2024-02-29T15:00:00Z"],
    }
    wrong = {
        "size": (["XL"], "inputData[\"size\"][0] must be one of 'S', 'M', 'L' (category)"),
        "when": (["2024-02-30T15:00:00Z"], "an ISO date and time with an offset"),
        "n": ([1.5], "a whole number"),
    }
    bodies = [body_of(good), *(body_of({**good, name: each[0]}) for name, each in wrong.items())]
    answers = together(
        program, [*bodies, body_of([{**good, **{k: v[0] for k, v in good.items()}}])]
    )
    # In Tokyo it is the next day already.
    assert predictions(answers[0]) == predictions(answers[-1]) == {"y_Pred": [61 + 2]}
    for (kind, body), (_, message) in zip(answers[1:-1], wrong.values(), strict=True):
        assert kind is Kind.INVALID_INPUT
        assert message in json.loads(body)["message"]


def test_categories_that_a_model_keeps_are_given_to_it(enter: Enter) -> None:
    model = with_known_categories()
    program = enter(model)
    frame = MIXED.assign(city=MIXED["city"].astype("category"))[["city", "rooms"]]
    expected = model.predict(frame.head(5)).tolist()
    for i, prediction in enumerate(expected):
        row = MIXED[["city", "rooms"]].iloc[[i]].to_dict("list")
        assert predictions(together(program, [body_of(row)])[0]) == {"y_Pred": [prediction]}
    nothing = model.predict(frame.head(1).assign(city=pandas.Categorical([None], CITIES))).tolist()
    row = MIXED[["city", "rooms"]].iloc[[0]].to_dict("list")
    alone = together(program, [body_of({**row, "city": [None]})])
    assert predictions(alone[0]) == {"y_Pred": nothing}


class Booster:
    """Knows what lightgbm's does."""

    pandas_categorical: ClassVar = [["b", "a"]]

    def __init__(self, values: list[int]) -> None:
        self._values = values

    def feature_name(self) -> list[str]:
        return ["n", "c"]

    def dump_model(self) -> dict[str, Any]:
        return {"feature_infos": {"n": {"values": []}, "c": {"values": self._values}}}


class Boosted:
    """Is to its server what a model of lightgbm is."""

    feature_names_in_ = ("n", "c")

    def __init__(self, values: list[int]) -> None:
        self.booster_ = Booster(values)

    def predict(self, rows: Any) -> Any:
        assert list(rows["c"].cat.categories) == ["b", "a"]
        return rows["c"].cat.codes + rows["n"]


def test_categories_of_a_booster_are_given_to_it(enter: Enter) -> None:
    program = enter(serialize_model(Boosted([0, 1]), gather=True))
    bodies = [body_of({"c": [c], "n": [10]}) for c in ("a", "b", None)]
    assert [predictions(each)["y_Pred"] for each in together(program, bodies)] == [[11], [10], [9]]


def test_a_model_that_does_not_tell_its_categories_is_refused() -> None:
    unknown = Boosted([])
    with pytest.raises(TypeError, match=r"does not tell which.*like=frame"):
        serialize_model(unknown)
    with pytest.raises(NotAModel, match="like=frame"):
        EstimatorModel(unknown)
    rows = pandas.DataFrame({"n": [1], "c": pandas.Categorical(["a"], ["b", "a"])})
    assert load_model(memoryview(serialize_model(unknown, like=rows))).columns == ["n", "c"]


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (LIKE.drop(columns="n"), "lacks the column 'n'"),
        (LIKE.assign(n=pandas.cut([1, 2], 2)), "'n' is a category of interval"),
        (LIKE.assign(n=[1j, 2j]), "'n' has the dtype complex128"),
        (LIKE.to_numpy(), "has to be a DataFrame"),
    ],
)
def test_a_frame_that_cannot_be_served_is_refused(like: Any, message: str) -> None:
    model = Predict(by_dtypes)
    model.feature_names_in_ = list(LIKE)
    with pytest.raises(ValueError, match=message):
        serialize_model(model, like=like)


def test_a_model_that_sees_what_json_drops_is_refused() -> None:
    like = pandas.DataFrame({"a": [1.0, 2.0]}, index=[5, 6])
    with pytest.raises(ValueError, match="predicts something else"):
        serialize_model(Predict(lambda rows: rows.index + rows["a"]), like=like)


def loud(rows: Any) -> Any:
    sys.stdout.write(f"{len(rows)} rows: {list(rows['x'])}\n")
    return rows["x"] * 2


def test_what_a_model_prints_goes_to_the_request_that_it_is_about(enter: Enter) -> None:
    program = enter(Predict(loud))
    bodies = [body_of({"x": [number]}) for number in range(3)]
    for _ in range(5):
        answers = together(program, bodies)
        assert answers == one_by_one(program, bodies)
        for number, (_, body) in enumerate(answers):
            assert json.loads(body)["consoleOutput"] == f"1 rows: [{number}]\n"


def test_a_model_that_always_prints_is_soon_asked_once_a_request(enter: Enter) -> None:
    seen: list[int] = []

    def count(rows: Any) -> Any:
        seen.append(len(rows))
        sys.stdout.write("!")
        return rows["x"]

    program = enter(Predict(count))
    bodies = [body_of({"x": [number]}) for number in range(4)]
    for _ in range(10):
        program.answer_all(bodies)
        program.reset()
    assert seen[-4:] == [1, 1, 1, 1]
    assert sum(1 for height in seen if height == 4) == 3


def test_files_belong_to_the_request_whose_rows_left_them(enter: Enter) -> None:
    def write(rows: Any) -> Any:
        for name in rows["x"]:
            if name != "no":
                Path(name).write_text("x")
        return rows["x"]

    program = enter(Predict(write))
    answers = together(program, [body_of({"x": [name]}) for name in ("no", "one", "two")])
    assert [json.loads(body)["changedFiles"] for _, body in answers] == [[], ["one"], ["two"]]


def test_a_model_that_gives_too_few_is_asked_for_each_request(enter: Enter) -> None:
    program = enter(Predict(lambda rows: rows["x"].unique()))
    bodies = [body_of({"x": [1, 2]}), body_of({"x": [2, 3]}), body_of({"x": [4, 4]})]
    answers = together(program, bodies)
    assert [kind for kind, _ in answers] == [Kind.SUCCESS, Kind.SUCCESS, Kind.FAILURE]
    assert answers == one_by_one(program, bodies)


def test_labels_of_columns_are_those_of_the_request(enter: Enter) -> None:
    program = enter(Predict(lambda rows: [",".join(rows.columns)] * len(rows)))
    bodies = [body_of({"x": [1], "y": [2]}), body_of({"y": [1], "x": [2]}), body_of({"z": [1]})]
    assert [predictions(answer)["y_Pred"] for answer in together(program, bodies)] == [
        ["x,y"],
        ["y,x"],
        ["z"],
    ]


def test_types_of_columns_are_those_of_the_request(enter: Enter) -> None:
    program = enter(Predict(lambda rows: [str(rows["x"].dtype)] * len(rows)))
    bodies = [
        body_of({"x": values})
        for values in (
            [1], [1.5], [1, 2.5], [True], [None], [2**70], [2**60, 0.5], ["a"], ["a", None],
            [1, "a"],
        )
    ]  # fmt: skip
    answers = together(program, bodies)
    assert answers == one_by_one(program, bodies)
    assert [predictions(answer)["y_Pred"][0] for answer in answers[:4]] == [
        "int64",
        "float64",
        "float64",
        "bool",
    ]


def test_the_type_of_a_matrix_is_that_of_the_request(enter: Enter) -> None:
    model = Predict(lambda rows: [str(rows.dtype)] * len(rows))
    model.n_features_in_ = 2
    program = enter(model)
    bodies = [
        body_of({"x": [x], "y": [y]}) for x, y in ((1, 2), (1.5, 2), (1.5, 2.5), (True, 1), (1, ""))
    ]
    answers = together(program, bodies)
    assert answers == one_by_one(program, bodies)
    assert together(program, bodies[:3]) == answers[:3]
    assert [predictions(answer)["y_Pred"] for answer in answers] == [
        ["int64"],
        ["float64"],
        ["float64"],
        ["object"],
        ["object"],
    ]


class Learner(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Remembers in the estimator what it has seen."""

    def __init__(self) -> None:
        self.seen = 0

    def predict(self, rows: Any) -> Any:
        if 13 in set(rows["x"]):
            self.seen += 1
            if len(rows) > 1:
                raise ValueError
        return [self.seen] * len(rows)


def test_what_comes_after_a_change_of_the_model_has_not_run(enter: Enter) -> None:
    program = enter(Learner())
    answers = program.answer_all([body_of({"x": [number]}) for number in (1, 13, 2)])
    assert answers == [(Kind.RETIRED, b"")] * 3
    assert not program.reset()


def test_one_request_alone_is_answered_the_same_way(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    assert program.answer(program.read(flowers(0))) == program.answer_all([flowers(0)])[0]
    assert program.answer_all([b"{"])[0][0] == Kind.INVALID_INPUT


def test_answers_over_the_limit_are_failures(enter: Enter, counted: Counting) -> None:
    program = enter(counted)
    (whole,) = (len(body) for _, body in program.answer_all([flowers(0)]))
    for bodies in ([flowers(0)], [flowers(0), flowers(0)]):
        program._codec.largest = whole - 1
        for kind, body in starmap(without_notes, program.answer_all(bodies)):
            assert kind is Kind.FAILURE
            assert b'"errorMessage":"The answer has ' in body
        program._codec.largest = whole
        assert [kind for kind, _ in program.answer_all(bodies)] == [Kind.SUCCESS] * len(bodies)
