"""Records of a batch in Arrow."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from jupyter_mlsvc.wire import arrow_columns
from jupyter_mlsvc.wire.arrow_stream import write_stream
from jupyter_mlsvc_server.batches.arrow_records import read_records


def test_a_dictionary_is_decoded_once_for_all_records(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number}" for number in range(50)]
    column = pa.chunked_array(
        pa.DictionaryArray.from_arrays(pa.array([n % 50 for n in range(6000)]), texts)
        for _ in range(2)
    )
    made: list[Any] = []

    def to_plain(value: Any, *rest: Any) -> Any:
        made.extend(value)
        return value

    monkeypatch.setattr(arrow_columns, "to_plain", to_plain)
    body = bytes(write_stream(pa.table({"t": column.unify_dictionaries()}), {}))
    records = [json.loads(each)["t"] for some in read_records(body, 20_000) for each in some]
    assert records == [texts[n % 50] for n in range(6000)] * 2
    assert made == texts


def test_a_dictionary_that_is_replaced_is_decoded_anew() -> None:
    one, other = (
        pa.table({"t": pa.DictionaryArray.from_arrays(pa.array([0, 1]), texts)})
        for texts in (["a", "b"], ["c", "d"])
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, one.schema) as writer:
        writer.write_table(one)
        writer.write_table(other)
    records = [each for some in read_records(sink.getvalue().to_pybytes(), 10) for each in some]
    assert [json.loads(each)["t"] for each in records] == ["a", "b", "c", "d"]
