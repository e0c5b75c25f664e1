"""Large tables go as streams of Arrow, with the results that JSON would give."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jupyter_mlsvc.client import api, arrow_calls
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.transport import ApiResponse
from jupyter_mlsvc.wire.arrow_columns import Columns, frame_columns, vector_column
from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE, read_stream, write_stream
from jupyter_mlsvc.wire.models import ParameterDefinition, WebServiceResult
from jupyter_mlsvc.wire.values import encode_output
from tests.client.fake import FakeTransport, answer, body_of, problem, sent

LARGE = pd.DataFrame({"x": np.arange(5000.0), "t": ["a"] * 5000})
SMALL = pd.DataFrame({"x": [1.5]})
VECTOR = np.arange(10_000)
OUTPUTS = [
    ParameterDefinition(name="df", type="data.frame"),
    ParameterDefinition(name="n", type="integer"),
]
# Its stubs don't know that a time may be missing.
pandas: Any = pd
TABLE = pd.DataFrame(
    {
        "some missing": [1.5, None, 2.0],
        "all missing": [None, None, None],
        "large": pd.array([2**60, None, 3], "Int64"),
        "flag": [True, False, True],
        "maybe": pd.array([True, None, False], "boolean"),
        "text": ["a", None, "b"],
        "day": pandas.to_datetime(["2024-01-31", None, "2020-02-29"]).tz_localize("Europe/Berlin"),
        "region": pd.Categorical(["north", None, "south"]),
        "endless": [1.0, np.inf, np.nan],
    }
)


def status() -> ApiResponse:
    return answer({"statusCode": "pass", "details": {"maxBodyBytes": 2**26, "arrow": True}})


def result_of(outputs: dict[str, Any]) -> WebServiceResult:
    return WebServiceResult(
        success=True,
        error_message="",
        output_parameters=outputs,
        output_files={},
        console_output="said",
        changed_files=[],
    )


def stream_answer(columns: Columns, outputs: dict[str, Any], **metadata: bytes) -> ApiResponse:
    rest = {b"mlsvc.result": msgspec.json.encode(result_of(outputs))}
    more = {f"mlsvc.{key}".encode(): value for key, value in metadata.items()}
    body = write_stream(pa.table(dict(columns.columns)), rest | more)
    headers = {"Content-Type": MEDIA_TYPE, "X-Request-Id": "r1"}
    return ApiResponse(200, headers, iter([body]))


def test_a_large_frame_goes_as_a_stream_and_its_result_is_as_ever(
    client: Client, transport: FakeTransport
) -> None:
    columns = frame_columns(TABLE)
    assert columns is not None
    streamed = stream_answer(columns, {"df": None, "n": 3}, table=b"df")
    transport.answers = [status(), streamed]
    result = client.services.consume(
        "S", "1", {"n": 2, "small": SMALL, "df": LARGE, "v": VECTOR}, outputs=OUTPUTS
    )
    plain = encode_output("", TABLE)
    by_json = ServiceResult("S 1", result_of({"df": plain, "n": 3}), OUTPUTS)
    pd.testing.assert_frame_equal(result.df, by_json.df)
    assert repr(result) == repr(by_json)
    assert result.outputs == by_json.outputs
    assert list(result) == ["df", "n"]
    pd.testing.assert_frame_equal(result["df"], by_json["df"])
    request = transport.requests[1]
    assert request.headers["Content-Type"] == MEDIA_TYPE
    assert request.headers["Accept"].startswith(MEDIA_TYPE)
    table = read_stream(body_of(request))
    pd.testing.assert_frame_equal(table.to_pandas(), LARGE)
    assert table.schema.metadata[b"mlsvc.table"] == b"df"
    rest = json.loads(table.schema.metadata[b"mlsvc.inputs"])
    assert rest == {"n": 2, "small": {"x": [1.5]}, "v": VECTOR.tolist()}


def test_large_vectors_of_a_length_are_columns(client: Client, transport: FakeTransport) -> None:
    columns = vector_column("v", np.array([0.5, np.nan]))
    assert columns is not None
    transport.answers = [status(), stream_answer(columns, {"v": None})]
    given = {"a": VECTOR, "b": pd.Series(VECTOR), "c": VECTOR[:5000], "d": [1]}
    result = client.services.consume("S", "1", given)
    assert result.v == [0.5, None] == result.outputs["v"]
    table = read_stream(body_of(transport.requests[1]))
    assert table.schema.names == ["a", "b"]
    assert json.loads(table.schema.metadata[b"mlsvc.inputs"]).keys() == {"c", "d"}


def test_a_server_that_refuses_it_gets_json_from_then_on(
    client: Client, transport: FakeTransport
) -> None:
    refused = problem(415, "no Arrow here")
    transport.answers = [status(), refused, *(answer(result_of({})) for _ in range(2))]
    for _ in range(2):
        assert client.services.consume("S", "1", {"df": LARGE}).success
    assert [each.headers.get("Content-Type") for each in transport.requests[1:]] == [
        MEDIA_TYPE,
        "application/json",
        "application/json",
    ]
    assert sent(transport.requests[2])["df"]["t"] == LARGE["t"].tolist()


@pytest.mark.parametrize("why", ["the server", "pyarrow", "the size", "the values"])
def test_where_arrow_is_not_to_be_had_it_is_json(
    client: Client, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    frame, asked = LARGE, [status()]
    if why == "the server":
        asked = [answer({"statusCode": "pass", "details": {}})]
    elif why == "pyarrow":
        monkeypatch.setattr(api, "is_installed", lambda: False)
    elif why == "the size":
        frame, asked = SMALL, []
    else:
        frame = LARGE.assign(p=pd.period_range("2024", periods=5000, freq="D"))
    transport.answers = [*asked, answer(result_of({"df": {"x": [1]}}))]
    assert client.services.consume("S", "1", {"df": frame}, outputs=OUTPUTS).df["x"].tolist() == [1]
    assert transport.requests[-1].headers["Content-Type"] == "application/json"


def test_what_code_raises_comes_as_json(client: Client, transport: FakeTransport) -> None:
    failed = msgspec.structs.replace(result_of({}), success=False, error_message="no")
    transport.answers = [status(), answer(failed)]
    result = client.services.consume("S", "1", {"df": LARGE})
    assert (result.success, result.error_message) == (False, "no")


def test_few_values_are_cheaper_as_json() -> None:

    assert not arrow_calls.may_be_stream({"a": SMALL, "b": 1, "c": "x" * 10_000, "d": [1] * 9999})
    assert arrow_calls.may_be_stream({"a": LARGE})
