"""ONNX models are told from all other files by their bytes."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.wire.model_file import InvalidModelFile, read_model_file
from jupyter_mlsvc.wire.model_input import ModelInput
from jupyter_mlsvc.wire.onnx_file import is_onnx, onnx_input

ROWS = numpy.array([[0.0], [1.0]], dtype=numpy.float32)
PROTO = to_onnx(LinearRegression().fit(ROWS, [1, 3]), ROWS)
ONNX: bytes = PROTO.SerializeToString()


def member(number: int, content: bytes) -> bytes:
    """Write a field of protobuf that has bytes."""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


@pytest.mark.parametrize("number", [1, 5, 11], ids=["nodes", "weights", "inputs"])
def test_a_file_of_nothing_but_small_fields_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for fields in ("OUTER", "INNER"):
        monkeypatch.setattr(f"jupyter_mlsvc.wire.onnx_file._MAX_{fields}_FIELDS", 4_000)
    inputs = member(11, member(1, b"x")) + member(11, member(1, b"y"))
    assert onnx_input(member(7, member(number, b"") * 10_000 + inputs)) == ModelInput()
    assert onnx_input(member(7, member(5, member(2, b"") * 10_000) + inputs)) == ModelInput()
    few = member(1, b"") * 1000 + member(5, member(2, b"") * 1000) + inputs
    assert [column.name for column in onnx_input(member(7, few)).columns] == ["x", "y"]


def test_a_model_is_recognised_whatever_it_comes_in(tmp_path: Path) -> None:
    file = tmp_path / "line.onnx"
    file.write_bytes(ONNX)
    assert is_onnx(ONNX)
    for model in (ONNX, bytearray(ONNX), PROTO, file, str(file)):
        data = serialize_model(model, response="price", gather=False)
        assert data.startswith(b"blob")
        found = read_model_file(data)
        assert (found.header.kind, found.header.response) == ("onnx", ("price",))
        assert found.header.gather is False
        assert bytes(found.content) == ONNX
    plain = read_model_file(ONNX)
    assert (plain.header.kind, bytes(plain.content)) == ("onnx", ONNX)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"\x08\x0a",
        ONNX[:-1],
        ONNX + b"\x00",
        ONNX + b"\x08\x0a",
        b"\x78" + ONNX,
        b"\x80" * 20,
        pickle.dumps({"a": 1}),
    ],
    ids=[
        "nothing",
        "half a field",
        "no graph",
        "cut",
        "more",
        "twice",
        "before",
        "endless",
        "other",
    ],
)
def test_what_is_not_all_of_a_model_is_none(data: bytes) -> None:
    assert not is_onnx(data)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_none(data: bytes) -> None:
    assert not is_onnx(data)
    assert not is_onnx(ONNX + data) or not data


def test_a_container_has_to_hold_all_of_the_model() -> None:
    with pytest.raises(InvalidModelFile, match="no ONNX model"):
        read_model_file(serialize_model(ONNX)[:-1])


def test_bytes_that_are_no_model_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no ONNX model"):
        serialize_model(b"hello")
    with pytest.raises(FileNotFoundError):
        serialize_model(tmp_path / "nothing.onnx")


def test_what_a_model_takes_is_read_without_loading_it() -> None:
    assert onnx_input(ONNX) == ModelInput(width=1, type="number")
    with_weights = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [tensor("x", TensorProto.INT64, ["N", 3]), tensor("w", TensorProto.INT64, [3])],
        [tensor("y", TensorProto.INT64, ["N", 3])],
        [onnx.helper.make_tensor("w", TensorProto.INT64, [3], [1, 2, 3])],
    )
    data = onnx.helper.make_model(with_weights).SerializeToString()
    assert onnx_input(data) == ModelInput(width=3, type="integer")


@given(st.binary(max_size=200))
def test_reading_what_is_broken_tells_nothing(data: bytes) -> None:
    assert isinstance(onnx_input(data), ModelInput)
    assert isinstance(onnx_input(ONNX[:60] + data + ONNX[60:]), ModelInput)


def tensor(name: str, kind: int, shape: list[Any]) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b'{"kind":"other"}',
        b'{"response":["\xff"]}',
        b'{"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b" " * 2**25 + b"{}",
    ],
    ids=["cut", "unknown", "no text", "deep", "long"],
)
def test_unreadable_header_is_an_error(header: bytes) -> None:
    data = b"blobmlsvc" + struct.pack("<BI", 1, len(header)) + header + ONNX
    with pytest.raises(InvalidModelFile, match="header"):
        read_model_file(data)
