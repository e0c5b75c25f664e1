"""ONNX models: what they take, how values are converted, and what they answer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy
import onnx
import pandas
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from jupyter_mlsvc.wire.values import decode_input
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.model import NotAModel
from jupyter_mlsvc_server.worker.onnx_model import OnnxModel

# A template forks while it has one thread; the process of the tests may have more.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

IRIS = load_iris()
ROWS = IRIS.data.astype(numpy.float32)
SPECIES = IRIS.target_names[IRIS.target]


def flowers() -> bytes:
    model = LogisticRegression(max_iter=500).fit(ROWS, SPECIES)
    return bytes(to_onnx(model, ROWS[:1]).SerializeToString())


def entered(data: bytes, response: tuple[str, ...] = (), gather: bool | None = None) -> OnnxModel:
    model = OnnxModel(data, response, gather)
    model.enter()
    return model


def prices() -> bytes:
    """Of inputs that are columns: a city, a number of rooms and an area."""
    frame = pandas.DataFrame({"city": ["Bern", "Rome"] * 5, "rooms": [1, 2, 3, 4, 5] * 2})
    frame["area"] = frame["rooms"] * 20.5
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(columns, LinearRegression()).fit(frame, frame["area"] * 10)
    types = [
        ("city", StringTensorType([None, 1])),
        ("rooms", Int64TensorType([None, 1])),
        ("area", FloatTensorType([None, 1])),
    ]
    return bytes(to_onnx(model, initial_types=types).SerializeToString())


def graph(
    *nodes: Any, inputs: dict[str, tuple[int, Any]], outputs: dict[str, tuple[int, Any]]
) -> bytes:
    def values(declared: dict[str, tuple[int, Any]]) -> list[Any]:
        return [make_tensor_value_info(name, *rest) for name, rest in declared.items()]

    made = make_graph(list(nodes), "g", values(inputs), values(outputs))
    model = make_model(made, opset_imports=[make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def same(kind: int, shape: Any = (None, 2)) -> bytes:
    """Of a model that answers what it gets."""
    return graph(
        make_node("Identity", ["x"], ["y"]),
        inputs={"x": (kind, shape)},
        outputs={"y": (kind, shape)},
    )


# --- what they take and give -----------------------------------------------------------------


def test_a_matrix_takes_columns_by_their_order_and_gives_the_label() -> None:
    model = entered(flowers(), ("species",))
    assert (model.columns, model.width, model.takes_matrix, model.is_row_wise) == (
        None,
        4,
        True,
        True,
    )
    frame = pandas.DataFrame(IRIS.data[::30], columns=list("abcd"))
    predicted = {"species_Pred": SPECIES[::30].tolist()}
    assert {name: list(values) for name, values in model(frame).items()} == predicted
    matrix = model.predict_matrix(frame.to_numpy())
    assert {name: list(values) for name, values in matrix.items()} == predicted
    with pytest.raises(InvalidInput, match=r"has 3 columns; the model takes 4"):
        model(frame[["a", "b", "c"]])


def test_inputs_of_one_column_each_are_taken_by_name() -> None:
    model = entered(prices())
    assert model.columns == ["city", "rooms", "area"]
    assert not model.takes_matrix
    frame = pandas.DataFrame(
        {"area": [41.0, 20.5], "more": [1, 1], "rooms": [2, 1], "city": ["Rome", "Bern"]}
    )
    assert model(frame)["y_Pred"].tolist() == pytest.approx([410, 205], rel=1e-4)
    with pytest.raises(InvalidInput, match="lacks the columns 'city', 'rooms'"):
        model(frame[["area"]])


def test_several_outputs_are_columns_by_the_names_of_the_model_or_the_publisher() -> None:
    data = graph(
        make_node("Neg", ["x"], ["minus"]),
        make_node("Abs", ["x"], ["size"]),
        make_node("Identity", ["x"], ["probabilities"]),
        inputs={"x": (TensorProto.FLOAT, [None, 1])},
        outputs={
            name: (TensorProto.FLOAT, [None, 1]) for name in ("minus", "size", "probabilities")
        },
    )
    frame = pandas.DataFrame({"x": [-1.5, 2.0]})
    given = {name: list(values) for name, values in entered(data)(frame).items()}
    assert given == {"minus_Pred": [1.5, -2.0], "size_Pred": [1.5, 2.0]}
    assert list(entered(data, ("a", "b"))(frame)) == ["a_Pred", "b_Pred"]


def test_a_matrix_that_comes_out_is_a_column_for_each_of_its_own() -> None:
    answer = entered(same(TensorProto.FLOAT))(pandas.DataFrame({"a": [1.0], "b": [2.0]}))
    assert {name: list(values) for name, values in answer.items()} == {
        "y1_Pred": [1.0],
        "y2_Pred": [2.0],
    }


def test_a_model_of_one_row_is_asked_row_by_row() -> None:
    model = entered(same(TensorProto.FLOAT, [1, 2]))
    assert not model.is_row_wise
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    assert model(frame)["y2_Pred"].tolist() == [4, 5, 6]
    with pytest.raises(InvalidInput, match="no rows"):
        model(frame[:0])


def test_whether_requests_are_gathered_is_the_publishers_choice() -> None:
    assert OnnxModel(flowers()).is_row_wise
    assert not OnnxModel(flowers(), gather=False).is_row_wise


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (same(TensorProto.FLOAT, [None, 3, 8, 8]), r"x tensor\(float\) \[\?, 3, 8, 8\]"),
        (same(TensorProto.FLOAT, [5, 2]), r"\[5, 2\].*any number of rows"),
        (same(TensorProto.COMPLEX64), "complex64"),
        (b"\x08\x08" + b"\x3a\x00" + b"\x42\x02\x10\x0d", "can't be loaded"),
    ],
    ids=["images", "five rows", "complex numbers", "an empty graph"],
)
def test_models_that_take_no_columns_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(NotAModel, match=words):
        OnnxModel(data)


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotAModel, match=r"pip install 'jupyter-mlsvc\[onnx\]'"):
        OnnxModel(flowers())


# --- values ----------------------------------------------------------------------------------

NOTHING = float("nan")


@pytest.mark.parametrize(
    ("kind", "values", "taken"),
    [
        (TensorProto.FLOAT, [1, 2], [1.0, 2.0]),
        (TensorProto.FLOAT, [0.1, 2], [numpy.float32(0.1), 2.0]),
        (TensorProto.FLOAT, [True, False], [1.0, 0.0]),
        (TensorProto.FLOAT, [None, 1.5], [NOTHING, 1.5]),
        (TensorProto.FLOAT, [None, True], [NOTHING, 1.0]),
        (TensorProto.FLOAT, [2**70, 0], [2.0**70, 0.0]),
        (TensorProto.DOUBLE, [0.1, 2**53], [0.1, 2.0**53]),
        (TensorProto.INT64, [2**53 + 1, -1], [2**53 + 1, -1]),
        (TensorProto.INT64, [3.0, 4], [3, 4]),
        (TensorProto.INT32, [True, False], [1, 0]),
        (TensorProto.BOOL, [True, False], [True, False]),
        (TensorProto.STRING, ["ä", ""], ["ä", ""]),
    ],
)
def test_values_arrive_as_they_were(kind: int, values: list[Any], taken: list[Any]) -> None:
    given = as_served(entered(same(kind, [None, 1])), values)
    assert list(map(type, given)) == list(map(type, numpy.array(taken).tolist()))
    assert str(given) == str(numpy.array(taken).tolist())


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (TensorProto.FLOAT, [1e300, 1.0], "float32"),
        (TensorProto.FLOAT, [10**400, 1], "float32"),
        (TensorProto.FLOAT, ["1", "2"], r'inputData\["x"\]\[0\] must be a number, got the string'),
        (TensorProto.INT64, [1.5, 2], "whole numbers, got the number 1.5"),
        (TensorProto.INT64, [None, 1], "whole number"),
        (TensorProto.INT64, [2**63, 1], "int64"),
        (TensorProto.INT32, [2**31, 1], "int32"),
        (TensorProto.INT64, ["1", "2"], "whole number"),
        (TensorProto.BOOL, [0, 1], "true or false"),
        (TensorProto.STRING, [1, 2], "a string, got the number 1"),
        (TensorProto.STRING, ["a", None], r"\[1\] must be a string, got null"),
    ],
)
def test_values_that_would_change_do_not_fit(kind: int, values: list[Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        as_served(entered(same(kind, [None, 1])), values)


def as_served(model: OnnxModel, values: list[Any]) -> list[Any]:
    """Give a column to a model as a request does."""
    column: list[Any] = model(decode_input("data.frame", {"x": values}))["y_Pred"].tolist()
    return column


def test_the_template_never_imports_onnxruntime() -> None:
    code = (
        "import sys\n"
        "from jupyter_mlsvc_server.worker.onnx_model import OnnxModel\n"
        "model = OnnxModel(sys.stdin.buffer.read())\n"
        "assert model.width == 4, model.width\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "model.enter()\n"
        "assert 'onnxruntime' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=flowers(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
