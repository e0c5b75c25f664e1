"""Realtime services: a model instead of code, through both doors."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import jsonschema
import openapi_spec_validator
import pandas
import pytest
import requests
from skl2onnx import to_onnx
from skl2onnx.common.data_types import Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from jupyter_mlsvc import serialize_model
from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error

pytestmark = pytest.mark.kernel

IRIS = load_iris(as_frame=True)
FLOWERS = {
    "a": [7.0, 5.1],
    "b": [3.2, 3.5],
    "c": [4.7, 1.4],
    "d": [1.4, 0.2],
}
SPECIES = IRIS.target.map(dict(enumerate(IRIS.target_names)))


def by_position() -> SVC:
    """An estimator that knows how many columns it was fitted with, not their names."""
    return SVC().fit(IRIS.data.to_numpy(), SPECIES)


def by_name() -> Any:
    """A pipeline that knows the names of its columns: a, b, c and d."""
    columns = IRIS.data.set_axis(list("abcd"), axis=1)
    return make_pipeline(StandardScaler(), SVC()).fit(columns, SPECIES)


def publish(door: Door, name: str, model: bytes, **fields: str) -> requests.Response:
    """Send the form as Microsoft's client does: a file part without a type."""
    return door.post(
        f"/realtime-services/{name}/1.0", files={"model": ("model", model)}, data=fields
    )


def consume(door: Door, name: str, columns: object, version: str = "1.0") -> requests.Response:
    return door.post(f"/api/{name}/{version}", json={"inputData": columns})


def predicted(answer: requests.Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["success"], body["errorMessage"]
    outputs: dict[str, list[Any]] = body["outputParameters"]["outputData"]
    return outputs


@pytest.fixture
def realtime(door: Door, service_name: str) -> Iterator[str]:
    """The name of a realtime service whose version 1.0 tells flowers apart."""
    answer = publish(door, service_name, serialize_model(by_name(), response="species"))
    assert answer.status_code == 201, answer.text
    assert isinstance(answer.json(), str)
    yield service_name
    door.delete(f"/services/{service_name}/1.0")


def test_a_realtime_service_is_described_as_the_contract_has_it(door: Door, realtime: str) -> None:
    (service,) = door.get(f"/services/{realtime}/1.0").json()
    assert service["runtimeType"] == "Realtime"
    (definition,) = service["inputParameterDefinitions"]
    assert [each["name"] for each in definition.pop("columns")] == list(FLOWERS)
    assert definition == {"name": "inputData", "type": "data.frame"}
    assert service["outputParameterDefinitions"] == [{"name": "outputData", "type": "data.frame"}]
    assert service["outputFileNames"] == []
    assert service["operationId"] is None
    assert service["description"] == ""
    assert str(uuid.UUID(service["snapshotId"])) == service["snapshotId"]
    assert service.get("code") is None
    assert service.get("initCode") is None
    assert service["snapshotId"] not in {each["id"] for each in door.get("/snapshots").json()}


def test_it_is_listed_and_has_a_document_and_goes_by_the_normal_paths(
    door: Door, realtime: str
) -> None:
    assert realtime in {each["name"] for each in door.get("/services").json()}
    document = door.get(f"/api/{realtime}/1.0/swagger.json").json()
    post = document["paths"][f"/api/{realtime}/1.0"]["post"]
    assert post["operationId"] == "ConsumeWebService"
    assert list(document["definitions"]["InputParameters"]["properties"]) == ["inputData"]
    assert list(document["definitions"]["OutputParameters"]["properties"]) == ["outputData"]
    assert door.delete(f"/services/{realtime}/1.0").status_code == 200
    assert consume(door, realtime, FLOWERS).status_code == 404


def test_several_rows_are_predicted_at_once_under_the_name_of_the_response(
    door: Door, realtime: str
) -> None:
    answer = consume(door, realtime, FLOWERS)
    assert predicted(answer) == {"species_Pred": ["versicolor", "setosa"]}
    body = answer.json()
    assert (body["consoleOutput"], body["changedFiles"], body["outputFiles"]) == ("", [], {})


def test_columns_come_in_any_order_and_with_the_label(door: Door, realtime: str) -> None:
    mixed = {"species": ["?", "?"]} | dict(reversed(FLOWERS.items()))
    assert predicted(consume(door, realtime, mixed)) == {"species_Pred": ["versicolor", "setosa"]}


def test_a_missing_column_is_400_and_named(door: Door, realtime: str) -> None:
    short = {name: FLOWERS[name] for name in ("a", "b", "d")}
    assert_error(consume(door, realtime, short), 400, "'c'", "inputData")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "inputData"),
        ({"inputData": None}, "null"),
        ({"inputData": [1, 2]}, "data.frame"),
        ({"inputData": FLOWERS, "more": 1}, "more"),
        ({"inputData": {"a": [1], "b": [1, 2]}}, "'b'"),
    ],
    ids=["nothing", "null", "a list", "another input", "columns of two lengths"],
)
def test_an_input_that_does_not_fit_is_400(
    door: Door, realtime: str, body: dict[str, Any], word: str
) -> None:
    answer = door.post(f"/api/{realtime}/1.0", json=body)
    assert answer.status_code == 400
    assert word in answer.json()["message"] or word.strip("'") in answer.json()["message"]


def test_result_says_what_the_model_cannot_compute(door: Door, realtime: str) -> None:
    answer = consume(door, realtime, FLOWERS | {"a": ["seven", "five"]})
    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert "seven" in answer.json()["errorMessage"]


def test_without_names_columns_count_by_position(door: Door, service_name: str) -> None:
    assert publish(door, service_name, cloudpickle.dumps(by_position())).status_code == 201
    answer = consume(door, service_name, FLOWERS)
    assert predicted(answer) == {"y_Pred": ["versicolor", "setosa"]}
    assert answer.json()["consoleOutput"] == ""
    assert_error(consume(door, service_name, {"a": [1.0]}), 400, "1 column", "4 columns")
    door.delete(f"/services/{service_name}/1.0")


def compressed_by_joblib() -> bytes:
    with io.BytesIO() as file:
        joblib.dump(by_name(), file, compress=("gzip", 3))
        return file.getvalue()


def dumped_by_joblib() -> bytes:
    with io.BytesIO() as file:
        joblib.dump(by_name(), file)
        return file.getvalue()


@pytest.mark.parametrize(
    "write",
    [lambda: pickle.dumps(by_name(), 2), dumped_by_joblib, compressed_by_joblib],
    ids=["pickle", "joblib", "compressed joblib"],
)
def test_other_files_of_a_model_are_taken(
    door: Door, service_name: str, write: Callable[[], bytes]
) -> None:
    answer = publish(door, service_name, write())
    assert answer.status_code == 201, answer.text
    assert predicted(consume(door, service_name, FLOWERS)) == {"y_Pred": ["versicolor", "setosa"]}
    door.delete(f"/services/{service_name}/1.0")


class Doubler:
    """A model of no library."""

    def predict(self, frame: Any) -> Any:
        return pandas.DataFrame({"twice": frame["x"] * 2, "plus one": frame["x"] + 1})


def test_a_model_of_the_notebooks_own_class_gets_the_frame_and_may_give_one(
    door: Door, service_name: str
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        model = serialize_model(Doubler())
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert publish(door, service_name, model).status_code == 201
    assert predicted(consume(door, service_name, {"x": [1, 2]})) == {
        "twice_Pred": [2, 4],
        "plus one_Pred": [2, 3],
    }
    door.delete(f"/services/{service_name}/1.0")


def test_a_model_of_texts_takes_one_column(door: Door, service_name: str) -> None:
    texts = ["good", "very good", "bad", "very bad"]
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, [1, 1, 0, 0])
    assert publish(door, service_name, serialize_model(model)).status_code == 201
    assert predicted(consume(door, service_name, {"t": ["bad bad", "good", "good good"]})) == {
        "y_Pred": [0, 1, 1]
    }
    assert_error(consume(door, service_name, {"t": ["x"], "u": ["y"]}), 400, "1 column")
    door.delete(f"/services/{service_name}/1.0")


def test_several_responses_are_columns_of_their_own(door: Door, service_name: str) -> None:
    rows = pandas.DataFrame({"x": [0.0, 1.0, 2.0]})
    model = LinearRegression().fit(rows, [[0, 1], [2, 2], [4, 3]])
    for response, names in (((), ["y1", "y2"]), (("up", "on"), ["up", "on"])):
        data = serialize_model(model, response=response)
        assert publish(door, service_name, data).status_code == 201
        outputs = predicted(consume(door, service_name, {"x": [3.0]}))
        assert list(outputs) == [f"{name}_Pred" for name in names]
        assert [round(column[0], 6) for column in outputs.values()] == [6, 4]
        door.delete(f"/services/{service_name}/1.0")


def onnx_of_flowers() -> bytes:
    rows = IRIS.data.to_numpy().astype("float32")
    model = LogisticRegression(max_iter=500).fit(rows, SPECIES.to_numpy(str))
    return bytes(to_onnx(model, rows[:1]).SerializeToString())


@pytest.mark.parametrize(
    ("write", "name"),
    [(onnx_of_flowers, "y"), (lambda: serialize_model(onnx_of_flowers(), response="kind"), "kind")],
    ids=["as it is", "in a container"],
)
def test_an_onnx_model_is_served(
    door: Door, service_name: str, write: Callable[[], bytes], name: str
) -> None:
    answer = publish(door, service_name, write())
    assert answer.status_code == 201, answer.text
    answer = consume(door, service_name, FLOWERS)
    assert predicted(answer) == {f"{name}_Pred": ["versicolor", "setosa"]}
    assert answer.json()["consoleOutput"] == ""
    assert_error(consume(door, service_name, {"a": [1.0]}), 400, "1 column", "4 columns")
    text = consume(door, service_name, FLOWERS | {"a": ["seven", "five"]})
    assert_error(text, 400, "a number", "seven")
    door.delete(f"/services/{service_name}/1.0")


def onnx_of_columns() -> bytes:
    rows = pandas.DataFrame({"city": ["Bern", "Rome"] * 3, "rooms": [1, 2, 3] * 2})
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(columns, LinearRegression()).fit(rows, rows["rooms"] * 1.5)
    types = [("city", StringTensorType([None, 1])), ("rooms", Int64TensorType([None, 1]))]
    return bytes(to_onnx(model, initial_types=types).SerializeToString())


NUMBERS = {"type": "array", "items": {"type": "number"}}
TAKEN: dict[str, tuple[Callable[[], bytes], dict[str, Any]]] = {
    "names": (
        lambda: serialize_model(by_name()),
        {"properties": dict.fromkeys("abcd", NUMBERS), "required": list("abcd")},
    ),
    "an order": (
        lambda: serialize_model(by_position()),
        {"additionalProperties": NUMBERS, "minProperties": 4, "maxProperties": 4},
    ),
    "ONNX of a matrix": (
        onnx_of_flowers,
        {"additionalProperties": NUMBERS, "minProperties": 4, "maxProperties": 4},
    ),
    "ONNX of columns": (
        lambda: serialize_model(onnx_of_columns()),
        {
            "properties": {
                "city": {"type": "array", "items": {"type": "string"}},
                "rooms": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["city", "rooms"],
        },
    ),
    "a pickle that does not tell": (
        lambda: pickle.dumps(by_name()),
        {"additionalProperties": {"type": "array", "items": {}}},
    ),
}


@pytest.mark.parametrize(("write", "expected"), TAKEN.values(), ids=TAKEN)
def test_its_documents_show_the_columns_that_the_model_takes(
    door: Door, service_name: str, write: Callable[[], bytes], expected: dict[str, Any]
) -> None:
    assert publish(door, service_name, write()).status_code == 201
    swagger = door.get(f"/api/{service_name}/1.0/swagger.json").json()
    (schema,) = swagger["definitions"]["InputParameters"]["properties"].values()
    assert schema["type"] == "object"
    assert "data.frame" in schema["description"]
    assert schema.items() >= expected.items()
    assert ("required" in schema) == ("required" in expected)
    openapi = door.get(f"/api/{service_name}/1.0/openapi.json").json()
    openapi_spec_validator.validate(openapi)
    (schema,) = openapi["components"]["schemas"]["InputParameters"]["properties"].values()
    assert schema["type"] == ["object", "null"]
    assert schema.get("required") == expected.get("required")
    assert list(schema.get("properties", {})) == list(expected.get("properties", {}))
    (service,) = door.get(f"/services/{service_name}/1.0").json()
    (definition,) = service["inputParameterDefinitions"]
    columns = definition.pop("columns", [])
    assert [each["name"] for each in columns] == list(expected.get("properties", {}))
    assert definition == {"name": "inputData", "type": "data.frame"}
    door.delete(f"/services/{service_name}/1.0")


def test_a_call_made_by_the_document_is_understood(door: Door, realtime: str) -> None:
    openapi = door.get(f"/api/{realtime}/1.0/openapi.json").json()
    (schema,) = openapi["components"]["schemas"]["InputParameters"]["properties"].values()
    jsonschema.validate(FLOWERS, schema)
    predicted(consume(door, realtime, FLOWERS))
    for wrong in (FLOWERS | {"a": ["seven", "five"]}, {"a": [1.0]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


# --- publishing ------------------------------------------------------------------------------


def test_without_a_version_it_gets_a_guid(door: Door, service_name: str) -> None:
    answer = door.post(
        f"/realtime-services/{service_name}",
        files={"model": ("model", serialize_model(by_name()))},
        data={
            "description": "Tells irises apart",
            "operationId": "classify",
            "network": "false",
            "keepBodies": "true",
        },
    )
    assert answer.status_code == 201, answer.text
    (service,) = door.get(f"/services/{service_name}").json()
    assert (service["network"], service["readOnly"], service["keepBodies"]) == (False, False, True)
    assert str(uuid.UUID(service["version"])) == service["version"]
    assert (service["description"], service["operationId"]) == ("Tells irises apart", "classify")
    door.delete(f"/services/{service_name}/{service['version']}")


NO_MODELS = {
    "junk": (b"\x00\x01junk", "predict"),
    "nothing": (b"", "predict"),
    "text": (b"hello", "predict"),
    "a model of Microsoft's": (b"blob\x02\x00\x00\x00RxLinMod", "revoscalepy"),
    "a cut container": (serialize_model(by_position())[:12], "early"),
    "half a pickle": (serialize_model(by_position())[:500], "predict"),
    "half an ONNX model": (onnx_of_flowers()[:-10], "ONNX"),
    "ONNX without a graph": (b"\x08\x08\x3a\x00\x42\x02\x10\x0d", "ONNX"),
    "broken gzip": (gzip.compress(b"hello")[:-4], "predict"),
    "something else": (pickle.dumps({"a": 1}), "builtins.dict"),
    "an unfitted estimator": (pickle.dumps(SVC()), "not fitted"),
    "a class": (pickle.dumps(SVC), "type"),
    "an unknown module": (b"\x80\x02cno_such_module\nModel\n.", "no_such_module"),
}


@pytest.mark.parametrize(("data", "word"), NO_MODELS.values(), ids=NO_MODELS)
def test_what_is_no_model_is_400_and_says_what_is_expected(
    door: Door, service_name: str, data: bytes, word: str
) -> None:
    assert_error(publish(door, service_name, data), 400, word)
    assert door.get(f"/services/{service_name}").json() == []


def test_a_form_that_does_not_fit_is_400(door: Door, service_name: str) -> None:
    path = f"/realtime-services/{service_name}/1.0"
    model = {"model": ("model", serialize_model(by_position()))}
    assert_error(door.post(path, json={"model": "x"}), 400, "multipart")
    assert_error(door.post(path, files={"description": (None, "x")}), 400, "'model'")
    assert_error(door.post(path, files={"model": (None, "x")}), 400, "file")
    assert_error(door.post(path, files=model, data={"operationId": "a b"}), 400, "operationId")
    assert_error(door.post("/realtime-services/%20x/1", files=model), 400, "service name")


def test_an_existing_version_is_409(door: Door, realtime: str) -> None:
    assert_error(publish(door, realtime, serialize_model(by_position())), 409, "exists")


def test_realtime_services_need_a_token(door: Door, realtime: str) -> None:
    nobody = door.with_token(None)
    assert_error(publish(nobody, "x", b""), 401)
    assert_error(nobody.patch(f"/realtime-services/{realtime}/1.0", data={}), 401)
    assert_error(nobody.post("/realtime-services/x"), 401)


def test_only_those_who_may_publish_code_publish_models(
    door: Door, realtime: str, service_name: str, people: Callable[[str], str]
) -> None:
    model = serialize_model(by_position())
    rita, ana, ben = (door.with_token(people(name)) for name in ("rita", "ana", "ben"))
    name = f"{service_name}-ana"
    assert_error(publish(rita, name, model), 403, "reader")
    assert publish(ana, name, model).status_code == 201
    form = {"files": {"description": (None, "mine now")}}
    assert_error(ben.patch(f"/realtime-services/{name}/1.0", **form), 403)
    files = {"model": ("model", model)}
    assert_error(ben.post(f"/realtime-services/{name}/2.0", files=files), 403, "another user")
    assert predicted(consume(rita, name, FLOWERS)) == {"y_Pred": ["versicolor", "setosa"]}
    (service,) = ben.get(f"/services/{name}/1.0").json()
    assert service["myPermissionOnService"] == "read only"
    assert ana.delete(f"/services/{name}/1.0").status_code == 200


class Spy:
    """Runs an expression where it is loaded."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.expression, {"os": os})


def test_the_server_process_never_loads_a_model(
    door: Door, service_name: str, writable_dir: Path
) -> None:
    note = writable_dir / service_name
    data = cloudpickle.dumps(Spy(f"open({str(note)!r}, 'a').write(f'{{os.getpid()}} ') and {{}}"))
    assert_error(publish(door, service_name, data), 400, "builtins.dict")
    loaders = set(note.read_text().split())
    assert len(loaders) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in loaders), "the loader lives on"


# --- changing --------------------------------------------------------------------------------


def test_patch_changes_what_is_given_and_keeps_the_rest(door: Door, realtime: str) -> None:
    path = f"/realtime-services/{realtime}/1.0"
    (before,) = door.get(f"/services/{realtime}/1.0").json()
    answer = door.patch(path, files={"description": (None, "better"), "operationId": (None, "f")})
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json(), str)
    (after,) = door.get(f"/services/{realtime}/1.0").json()
    assert after == before | {"description": "better", "operationId": "f"}
    assert "species_Pred" in predicted(consume(door, realtime, FLOWERS))

    model = serialize_model(by_position(), response="kind")
    assert door.patch(path, files={"model": ("model", model)}).status_code == 200
    assert predicted(consume(door, realtime, FLOWERS)) == {"kind_Pred": ["versicolor", "setosa"]}
    (last,) = door.get(f"/services/{realtime}/1.0").json()
    assert last["snapshotId"] != before["snapshotId"]
    assert (last["description"], last["operationId"]) == ("better", "f")


def test_a_patch_that_fails_leaves_the_old_model(door: Door, realtime: str) -> None:
    path = f"/realtime-services/{realtime}/1.0"
    assert_error(door.patch(path, files={"model": ("model", b"junk")}), 400)
    assert_error(door.patch(path, files={"model": ("model", pickle.dumps(SVC()))}), 400, "fitted")
    assert_error(
        door.patch("/realtime-services/nothing/1", files={"model": ("model", b"junk")}), 404
    )
    assert "species_Pred" in predicted(consume(door, realtime, FLOWERS))


def test_the_two_kinds_do_not_turn_into_each_other(door: Door, realtime: str) -> None:
    code = door.post(f"/services/{realtime}/2.0", json={"code": "y = 1", "runtimeType": "Python"})
    assert code.status_code == 201
    model = {"model": ("model", serialize_model(by_position()))}
    answer = door.patch(f"/services/{realtime}/1.0", json={"code": "y = 1"})
    assert_error(answer, 400, "PATCH /realtime-services")
    answer = door.patch(f"/realtime-services/{realtime}/2.0", files=model)
    assert_error(answer, 400, "PATCH /services")
    answer = door.post(f"/services/{realtime}/3.0", json={"code": "1", "runtimeType": "Realtime"})
    assert_error(answer, 400, "POST /realtime-services")
    door.delete(f"/services/{realtime}/2.0")
