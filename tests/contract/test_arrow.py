"""Calls with streams of Arrow: the inputs and results that JSON would have."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import openapi_spec_validator
import pandas as pd
import pyarrow as pa
import pytest
import requests

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE, write_stream
from tests.contract.doors import Door
from tests.contract.test_realtime import FLOWERS, by_name, publish
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

CODE = """
if factor == 0:
    raise ValueError("no factor")
if factor == 3:
    print("three")
table = df.assign(scaled=df["x"] * factor)
total = float(table["scaled"].sum())
names = [str(each.dtype) for _, each in df.items()]
"""
FRAME = pd.DataFrame({"x": [1.5, None, 3.0], "t": ["a", "b", None]})


@pytest.fixture(scope="module")
def scaling(door: Door) -> Iterator[str]:
    """The path of a service with a frame and a number that all tests here share."""
    name = f"svc-{uuid.uuid4().hex[:8]}"
    body = {
        "code": CODE,
        "inputParameterDefinitions": [
            {"name": "df", "type": "data.frame", "columns": [{"name": "x", "type": "float64"}]},
            {"name": "factor", "type": "numeric"},
        ],
        "outputParameterDefinitions": [
            {"name": "total", "type": "numeric"},
            {"name": "table", "type": "data.frame"},
            {"name": "names", "type": "vector"},
        ],
    }
    assert door.post(f"/services/{name}/1.0", json=body).status_code == 201
    yield f"/api/{name}/1.0"
    door.delete(f"/services/{name}/1.0")


def stream(columns: Any, **metadata: str) -> bytes:
    named = {f"mlsvc.{key}".encode(): text.encode() for key, text in metadata.items()}
    return bytes(write_stream(pa.table(columns), named))


def send(door: Door, path: str, body: bytes, accept: str = MEDIA_TYPE) -> requests.Response:
    return door.post(path, data=body, headers={"Content-Type": MEDIA_TYPE, "Accept": accept})


def opened(answer: requests.Response) -> tuple[pa.Table, dict[str, Any], dict[bytes, bytes]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    table = pa.ipc.open_stream(answer.content).read_all()
    return table, json.loads(table.schema.metadata[b"mlsvc.result"]), table.schema.metadata


def test_a_frame_goes_in_and_out_with_the_rest_of_the_result(door: Door, scaling: str) -> None:
    body = stream(FRAME, inputs='{"factor": 3}')
    by_json = door.post(
        scaling, json={"df": {"x": [1.5, None, 3.0], "t": ["a", "b", None]}, "factor": 3}
    ).json()
    table, result, metadata = opened(send(door, scaling, body))
    assert metadata[b"mlsvc.table"] == b"table"
    outputs = by_json["outputParameters"]
    assert table.to_pydict() == outputs["table"]
    assert result["outputParameters"] == outputs | {"table": None}
    for member in ("success", "errorMessage", "consoleOutput", "outputFiles", "changedFiles"):
        assert result[member] == by_json[member]
    # Each direction goes by a header of its own.
    assert send(door, scaling, body, accept="*/*").json() == by_json
    only_out = door.post(
        scaling,
        json={"df": {"x": [1.5, None, 3.0], "t": ["a", "b", None]}, "factor": 3},
        headers={"Accept": f"application/json;q=0.5, {MEDIA_TYPE}"},
    )
    assert opened(only_out)[0].equals(table)


def test_a_large_stream_goes_in_pieces(door: Door, scaling: str) -> None:
    numbers = pa.array(range(200_000), pa.float64())
    table, _, _ = opened(send(door, scaling, stream({"x": numbers}, inputs='{"factor": 2}')))
    assert table["x"].combine_chunks() == numbers
    assert table["scaled"].to_pylist() == list(range(0, 400_000, 2))


def test_what_is_wrong_is_said_in_json(door: Door, scaling: str) -> None:
    failed = send(door, scaling, stream(FRAME, inputs='{"factor": 0}'))
    assert failed.status_code == 200
    assert failed.headers["Content-Type"] == "application/json"
    assert failed.json()["success"] is False
    assert "no factor" in failed.json()["errorMessage"]
    for wrong, words in {
        stream({"y": [1.0]}, inputs='{"factor": 1}'): "df lacks the column 'x'",
        stream({"x": ["a"]}, inputs='{"factor": 1}'): 'df["x"][0] must be a number up to',
        stream(FRAME): "Input 'factor' (numeric) is missing.",
        stream(FRAME, inputs='{"factor": 1, "df": {}}', table="df"): "Input 'df' is given twice",
        stream(FRAME, inputs='{"factor": 1', table="df"): "'mlsvc.inputs' is no JSON",
        stream(FRAME, inputs='{"factor": 1}', table="of"): "There is no input 'of'",
        b"x,t\n1,a\n": "The body is no Arrow stream that can be read",
    }.items():
        answer = send(door, scaling, wrong)
        assert answer.status_code == 400, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        assert words in answer.json()["message"]


def test_each_column_is_a_vector_where_no_frame_is_taken(door: Door, service_name: str) -> None:
    vectors = [{"name": name, "type": "vector"} for name in ("a", "b")]
    body = {
        "code": "s = a + b; d = (a - b)[:1]; w = ['x', 1, 2]",
        "inputParameterDefinitions": vectors,
        "outputParameterDefinitions": [{"name": name, "type": "vector"} for name in "sdw"],
    }
    assert door.post(f"/services/{service_name}/1.0", json=body).status_code == 201
    path = f"/api/{service_name}/1.0"
    table, result, _ = opened(send(door, path, stream({"a": [1, 2], "b": [0.5, 0.5]})))
    assert table.to_pydict() == {"s": [1.5, 2.5]}
    assert result["outputParameters"] == {"s": None, "d": [0.5], "w": ["x", 1, 2]}
    door.delete(f"/services/{service_name}/1.0")


def test_a_realtime_service_predicts_a_stream(door: Door, service_name: str) -> None:
    model = serialize_model(by_name(), response="species")
    assert publish(door, service_name, model).status_code == 201
    table, result, metadata = opened(send(door, f"/api/{service_name}/1.0", stream(FLOWERS)))
    assert metadata[b"mlsvc.table"] == b"outputData"
    assert table.to_pydict() == {"species_Pred": ["versicolor", "setosa"]}
    assert result["outputParameters"] == {"outputData": None}
    door.delete(f"/services/{service_name}/1.0")


def results_of(door: Door, path: str, body: bytes) -> list[dict[str, Any]]:
    """Run a batch."""
    started = door.post(path, data=body, headers={"Content-Type": MEDIA_TYPE})
    assert started.status_code == 202, started.text
    batch = f"{path}/{started.json()['batchExecutionId']}"

    wait_until(lambda: door.get(batch).json()["state"] == "Complete")
    results: list[dict[str, Any]] = door.get(batch).json()["batchExecutionResults"]
    door.delete(batch)
    return results


def test_each_row_is_a_record_of_a_batch(door: Door, scaling: str, published: str) -> None:
    rows = {"a": pa.array(range(4100), pa.int16()), "b": [7] * 4100}
    results = results_of(door, f"/api/{published}/1.0/batch", stream(rows))
    assert [each["outputParameters"]["total"] for each in results] == list(range(7, 4107))
    frames = stream(FRAME, inputs='{"factor": 2}', table="df")
    results = results_of(door, f"{scaling}/batch", frames)
    assert [each["outputParameters"]["total"] for each in results] == [3, 0, 6]
    wrong = door.post(f"{scaling}/batch", data=b"a,b", headers={"Content-Type": MEDIA_TYPE})
    assert wrong.status_code == 400
    assert "is no Arrow stream that can be read" in wrong.json()["message"]


def test_the_server_says_that_it_takes_arrow(door: Door, scaling: str, published: str) -> None:
    assert door.get("/status").json()["details"]["arrow"] is True
    document = door.get(f"{scaling}/openapi.json").json()
    openapi_spec_validator.validate(document)
    call, batch = (document["paths"][path]["post"] for path in (scaling, f"{scaling}/batch"))
    both = {"application/json", MEDIA_TYPE}
    assert {*call["requestBody"]["content"]} == both
    assert {*batch["requestBody"]["content"]} == both
    assert {*call["responses"]["200"]["content"]} == both
    assert MEDIA_TYPE not in door.get(f"{scaling}/swagger.json").text
    assert MEDIA_TYPE not in door.get(f"/api/{published}/1.0/openapi.json").text
