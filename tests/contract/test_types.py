"""Each type with each spelling of JSON, over every way into code, by the documented table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from jupyter_mlsvc import Client, serialize_model
from jupyter_mlsvc.errors import BadRequest
from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door

PAGE: Final = Path(__file__).parents[2] / "server_ext/docs/reference/values.md"
ROW: Final = re.compile(r"\| `(.*?)` \| `(.*?)` \| (?:`(.*)`|(refused)) \|")
TYPES: Final = [
    *("logical", "integer", "numeric", "character"),
    *("vector", "matrix", "data.frame", "string"),
]
SHOW: Final = """
import numpy, pandas
def shown(value):
    if isinstance(value, numpy.ndarray):
        return f"{value.dtype}: {value.tolist()}"
    return repr(value.to_dict("list") if isinstance(value, pandas.DataFrame) else value)
text = shown(x)
"""


def rows() -> list[tuple[str, str, str]]:
    table = PAGE.read_text().partition("<!-- inputs")[2].partition("<!-- end")[0]
    return [(kind, text, shown) for kind, text, shown, _ in ROW.findall(table)]


@pytest.fixture(scope="module")
def services(door: Door) -> Iterator[dict[str, str]]:
    """Names of services that tell what they see, by the type of their input."""
    names = {kind: f"shows-{kind.replace('.', '-')}" for kind in TYPES}
    for kind, name in names.items():
        body = {
            "code": SHOW,
            "inputParameterDefinitions": [{"name": "x", "type": kind}],
            "outputParameterDefinitions": [{"name": "text", "type": "character"}],
        }
        assert door.post(f"/services/{name}/1", json=body).status_code == 201
    yield names
    for name in names.values():
        door.delete(f"/services/{name}/1")


def test_the_table_has_every_type_with_null() -> None:
    kinds = {kind for kind, _, _ in rows()}
    assert kinds == set(TYPES)


@pytest.mark.kernel
def test_a_call_sees_what_the_table_says(door: Door, services: dict[str, str]) -> None:
    for kind, text, shown in rows():
        answer = door.post(
            f"/api/{services[kind]}/1",
            data=f'{{"x": {text}}}',
            headers={"Content-Type": "application/json"},
        )
        if not shown:
            assert answer.status_code == 400, (kind, text)
        else:
            assert answer.json()["outputParameters"] == {"text": shown}, (kind, text)


@pytest.mark.kernel
def test_a_batch_sees_what_the_table_says(door: Door, services: dict[str, str]) -> None:
    for kind, name in services.items():
        mine = [(text, shown) for each, text, shown in rows() if each == kind]
        body = "[" + ", ".join(f'{{"x": {text}}}' for text, _ in mine) + "]"
        started = door.post(
            f"/api/{name}/1/batch", data=body, headers={"Content-Type": "application/json"}
        )
        path = f"/api/{name}/1/batch/{started.json()['batchExecutionId']}"
        state = door.get(path).json()
        while state["state"] in {"Pending", "InProgress"}:
            state = door.get(path).json()
        results = state["batchExecutionResults"]
        assert [each["outputParameters"].get("text", "") for each in results] == [
            shown for _, shown in mine
        ], kind


@pytest.mark.kernel
def test_an_input_of_a_session_sees_what_the_table_says(door: Door, session_id: str) -> None:
    for kind, text, shown in rows():
        body = {
            "code": SHOW,
            "inputParameters": [{"name": "x", "value": json.loads(text), "type": kind}],
            "outputParameters": ["text"],
        }
        if kind == "string":  # any JSON is what an input without a type is
            del body["inputParameters"][0]["type"]  # type: ignore[attr-defined]
        answer = door.post(f"/sessions/{session_id}/execute", json=body).json()
        assert answer["success"] == bool(shown), (kind, text)
        if shown:
            assert answer["outputParameters"][0]["value"] == shown, (kind, text)
        else:
            assert re.match(r"x.* must be ", answer["errorMessage"]), (kind, text)


# --- columns and defaults, and the client --------------------------------------------------------

FRAME: Final = pd.DataFrame(
    {
        "code": ["007", None],
        "count": pd.array([1, None], "Int64"),
        "size": pd.Categorical(["S", "L"], ["S", "M", "L"], ordered=True),
        "when": pd.to_datetime(["2024-02-29T23:59Z", "2024-03-01T00:00Z"]).tz_convert(
            "Europe/Berlin"
        ),
    }
)


@pytest.fixture
def client(mlsvc_server: ServerProcess) -> Client:
    return Client(
        mlsvc_server.public_url, username="admin", password=mlsvc_server.admin_password or ""
    )


@pytest.mark.kernel
def test_known_columns_reach_the_code_by_every_way(client: Client, service_name: str) -> None:
    service = client.services.publish(
        service_name,
        "1",
        code="kinds = df.dtypes.map(str)\nback = df\nhours = df['when'].dt.hour * factor",
        inputs=[
            ParameterDefinition(name="df", type="data.frame", columns=columns_of(FRAME)),
            ParameterDefinition(name="factor", type="integer", default=1),
        ],
        outputs={"kinds": "vector", "back": "data.frame", "hours": "vector"},
    )
    assert service.inputs[0].columns == columns_of(FRAME)
    kinds = [str(dtype) for dtype in FRAME.dtypes]
    records = json.loads(FRAME.to_json(orient="records", date_format="iso"))
    for given in (FRAME, records, FRAME.iloc[::-1].iloc[::-1][["when", *FRAME.columns[:-1]]]):
        found = service(df=given)
        assert found.kinds == kinds
        assert found.hours == [0, 1]
    assert service(df=FRAME.iloc[[1]], factor=2).hours == [2]
    batch = client.batches.start(service_name, "1", [{"df": FRAME.iloc[[i]]} for i in (0, 1)])
    results = batch.wait(quiet=True).results()
    assert [each and each.outputs["kinds"] for each in results] == [kinds] * 2
    with pytest.raises(BadRequest, match="the column 'size'"):
        service(df=FRAME.drop(columns="size"))
    with pytest.raises(BadRequest, match="one of 'S', 'M', 'L'"):
        service(df=FRAME.assign(size="XL"))
    with pytest.raises(BadRequest, match=r'df\["when"\]\[0\] must be an ISO date and time'):
        service(df=FRAME.assign(when="2024-02-30T00:00:00Z"))
    service.delete()


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"type": "integer", "default": "a"}, "the default of x must be a whole number"),
        ({"type": "vector", "columns": [{"name": "a"}]}, "only a data.frame has columns"),
        ({"type": "data.frame", "columns": [{"name": "a"}] * 2}, "the column 'a' twice"),
        (
            {"type": "data.frame", "columns": [{"name": "a", "type": "int46"}]},
            "'int46', which is no dtype",
        ),
    ],
)
def test_a_definition_that_cannot_be_is_refused_when_it_is_published(
    door: Door, service_name: str, definition: dict[str, Any], message: str
) -> None:
    body = {"code": "y = 1", "inputParameterDefinitions": [{"name": "x", **definition}]}
    answer = door.post(f"/services/{service_name}/1", json=body)
    assert (answer.status_code, message in answer.json()["message"]) == (400, True), answer.text


class Hours:
    """A model that needs dates."""

    def predict(self, rows: Any) -> Any:
        return rows["when"].dt.hour + rows["size"].cat.codes


@pytest.mark.kernel
def test_a_realtime_service_has_the_dtypes_of_its_model(client: Client, service_name: str) -> None:
    columns = FRAME[["when", "size"]]
    service = client.services.publish_realtime(service_name, "1", Hours(), like=columns)
    assert service.inputs[0].columns == columns_of(columns)
    assert service(columns).outputData["y_Pred"].tolist() == [0, 3]
    assert service(FRAME.iloc[[1]]).outputData["y_Pred"].tolist() == [3]
    schema = service.openapi()["components"]["schemas"]["InputParameters"]["properties"]
    assert schema["inputData"]["required"] == ["when", "size"]
    with pytest.raises(BadRequest, match=r'inputData\["size"\]\[0\] must be one of'):
        service({"when": ["2024-02-29T23:59Z"], "size": ["XL"]})
    with pytest.raises(ValueError, match="interval"):
        serialize_model(Hours(), like=columns.assign(size=pd.cut([1, 2], 2)))
    service.delete()
