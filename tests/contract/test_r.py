"""Sessions and services in R by REST, at both doors."""

from __future__ import annotations

import base64
import io
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import msgspec
import pandas
import pytest

from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import encode_output
from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error
from tests.contract.test_batch import finished, start
from tests.contract.test_pools import pool, status
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("needs_r")]

TRAIN = """
fit <- lm(mpg ~ wt, mtcars)
labels <- c(low = 'thirsty', high = 'frugal')
grade <- function(mpg) unname(labels[ifelse(mpg > 20, 'high', 'low')])
write.csv(head(mtcars), 'cars.csv')
"""
SERVICE = """
mpg <- predict(fit, data.frame(wt = weights))
grades <- grade(mpg)
cat('graded', length(mpg), 'cars\\n')
write.csv(data.frame(mpg = mpg, grade = grades), 'graded.csv', row.names = FALSE)
"""


@pytest.fixture(scope="module")
def session_id(door: Door, needs_r: None) -> Iterator[str]:
    """One session in R."""
    answer = door.post("/sessions", json={"name": "in R", "runtimeType": "R"})
    assert answer.status_code == 201, answer.text
    identifier = answer.json()["sessionId"]
    yield identifier
    door.delete(f"/sessions/{identifier}")


@pytest.fixture(scope="module")
def snapshot_id(door: Door, session_id: str) -> Iterator[str]:
    """A snapshot of a trained model."""
    trained = door.post(f"/sessions/{session_id}/execute", json={"code": TRAIN})
    assert trained.json()["success"], trained.text
    answer = door.post(f"/sessions/{session_id}/snapshot", json={"name": "Cars"})
    assert answer.status_code == 201, answer.text
    identifier = answer.json()["snapshotId"]
    yield identifier
    door.delete(f"/snapshots/{identifier}")


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "code": SERVICE,
        "runtimeType": "R",
        "inputParameterDefinitions": [{"name": "weights", "type": "vector"}],
        "outputParameterDefinitions": [
            {"name": "mpg", "type": "vector"},
            {"name": "grades", "type": "vector"},
        ],
        "outputFileNames": ["graded.csv"],
    } | changes


@pytest.fixture(scope="module")
def cars(door: Door, snapshot_id: str) -> Iterator[str]:
    """The name of a service in R."""
    name = f"cars-{uuid.uuid4().hex[:8]}"
    answer = door.post(f"/services/{name}/1.0", json=definition(snapshotId=snapshot_id))
    assert answer.status_code == 201, answer.text
    yield name
    door.delete(f"/services/{name}/1.0")


def backend(door: Door) -> dict[str, Any]:
    (node,) = door.get("/status").json()["components"]["backends"]["components"].values()
    details: dict[str, Any] = node["details"]
    return details


def test_a_session_runs_code_with_inputs_outputs_and_changed_files(
    door: Door, session_id: str
) -> None:
    answer = door.post(
        f"/sessions/{session_id}/execute",
        json={
            "code": "print(x); frame <- data.frame(a = x, b = c('u', NA)); cat('', file = 'f.txt')",
            "inputParameters": [{"name": "x", "value": [1, 2.5]}],
            "outputParameters": ["frame", "x"],
        },
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "errorMessage": "",
        "outputParameters": [
            {"name": "frame", "value": {"a": [1, 2.5], "b": ["u", None]}, "type": "data.frame"},
            {"name": "x", "value": [1, 2.5]},
        ],
        "consoleOutput": "[1] 1.0 2.5\n",
        "changedFiles": ["f.txt"],
    }
    assert door.get(f"/sessions/{session_id}/console-output").json() == {
        "consoleOutput": "[1] 1.0 2.5\n"
    }
    (listed,) = [each for each in door.get("/sessions").json() if each["id"] == session_id]
    assert (listed["name"], listed["runtimeType"]) == ("in R", "R")
    failed = door.post(f"/sessions/{session_id}/execute", json={"code": "stop('no')"}).json()
    assert (failed["success"], failed["errorMessage"]) == (False, "Error: no")
    assert door.get(f"/sessions/{session_id}/history").json()[-1] == "stop('no')"


def test_an_object_travels_as_rdata(door: Door, session_id: str) -> None:
    path = f"/sessions/{session_id}/workspace"
    door.post(f"/sessions/{session_id}/execute", json={"code": "my.data <- 1:3"})
    got = door.get(f"{path}/my.data")
    assert got.headers["Content-Disposition"].endswith("my.data.RData")
    assert got.headers["Content-Type"] == "application/octet-stream"
    octets = {"Content-Type": "application/octet-stream"}
    assert door.post(f"{path}/again", data=got.content, headers=octets).status_code == 200
    assert {"my.data", "again"} <= set(door.get(path).json())
    assert door.delete(f"{path}/again").status_code == 200
    assert_error(door.get(f"{path}/again"), 404, "again")
    assert_error(door.post(f"{path}/again", data=b"no", headers=octets), 400, "saveRDS")
    assert_error(door.post(f"{path}/TRUE", data=got.content, headers=octets), 400, "TRUE")
    assert_error(door.get(f"/sessions/{session_id}/inventory"), 400, "Python sessions only")
    summary = door.get(f"/sessions/{session_id}/inventory", params={"view": "summary"}).json()
    rows = {row["name"]: row for row in summary["objects"]}
    assert (rows["my.data"]["parameterType"], rows["my.data"]["example"]) == ("vector", [1, 2, 3])


def test_a_snapshot_is_downloaded_sent_back_and_loaded(door: Door, snapshot_id: str) -> None:
    archive = door.get(f"/snapshots/{snapshot_id}").content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {"workspace.RData", "files/cars.csv"} <= set(opened.namelist())
    sent = door.post("/snapshots", files={"file": ("s.zip", archive)})
    assert sent.status_code == 201, sent.text
    copy = sent.json()["snapshotId"]
    request = {"runtimeType": "R", "snapshotId": copy}
    other = door.post("/sessions", json=request).json()["sessionId"]
    answer = door.post(
        f"/sessions/{other}/execute",
        json={"code": "g <- grade(25)", "outputParameters": ["g"]},
    ).json()
    assert answer["outputParameters"] == [{"name": "g", "value": "frugal"}]
    assert door.post(f"/sessions/{other}/loadsnapshot/{snapshot_id}").status_code == 200
    door.delete(f"/sessions/{other}")
    assert_error(door.post("/sessions", json={"snapshotId": copy}), 400, "one of R")
    door.delete(f"/snapshots/{copy}")


def test_a_service_is_consumed_with_its_console_and_files(door: Door, cars: str) -> None:
    answer = door.post(f"/api/{cars}/1.0", json={"weights": [2, 4.5]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == [
        *("success", "errorMessage", "outputParameters"),
        *("outputFiles", "consoleOutput", "changedFiles"),
    ]
    assert [round(mpg, 3) for mpg in body["outputParameters"]["mpg"]] == [26.596, 13.235]
    assert body["outputParameters"]["grades"] == ["frugal", "thirsty"]
    assert (body["success"], body["consoleOutput"]) == (True, "graded 2 cars\n")
    assert body["changedFiles"] == ["graded.csv"]
    file = base64.b64decode(body["outputFiles"]["graded.csv"]).decode()
    assert file.splitlines()[0] == '"mpg","grade"'
    assert_error(door.post(f"/api/{cars}/1.0", json={"weights": 1}), 400, "weights", "vector")
    failed = door.post(f"/api/{cars}/1.0", json={"weights": ["heavy"]}).json()
    assert not failed["success"]
    assert failed["errorMessage"].startswith("Error: variable 'wt' was fitted with")
    assert failed["errorMessage"] in failed["consoleOutput"]


def test_a_service_is_described(door: Door, cars: str, snapshot_id: str) -> None:
    (service,) = door.get(f"/services/{cars}/1.0").json()
    assert (service["runtimeType"], service["snapshotId"]) == ("R", snapshot_id)
    assert service["code"] == SERVICE
    swagger = door.get(f"/api/{cars}/1.0/swagger.json").json()
    assert swagger["definitions"]["InputParameters"]["properties"]["weights"]["type"] == "array"


def test_a_batch_runs(door: Door, cars: str) -> None:
    identifier = start(door, cars, [{"weights": [w]} for w in range(1, 6)])
    batch = finished(door, f"/api/{cars}/1.0/batch/{identifier}")
    assert batch["state"] == "Complete"
    grades = [each["outputParameters"]["grades"] for each in batch["batchExecutionResults"]]
    assert grades == [["frugal"]] * 3 + [["thirsty"]] * 2
    path = f"/api/{cars}/1.0/batch/{identifier}/4/files/graded.csv"
    assert b"thirsty" in door.get(path).content


def test_a_service_has_a_pool_and_counts_as_shells_of_r(door: Door, cars: str) -> None:
    assert door.post(pool(cars), json={"InitialPoolSize": 2, "MaxPoolSize": 2}).status_code == 200
    wait_until(lambda: status(door, cars) == "Success")
    details = backend(door)
    assert details["rCanOpenShell"] == "True"
    assert details["rActiveShellCount"] >= 3, "two workers and a session"
    assert details["rMaxPoolSize"] == details["pythonMaxPoolSize"]
    assert door.post(f"/api/{cars}/1.0", json={"weights": [3]}).json()["success"]
    door.delete(pool(cars))


def test_a_change_is_tried_first_and_serves_at_once(door: Door, cars: str) -> None:
    path = f"/services/{cars}/1.0"
    assert_error(door.patch(path, json={"code": "mpg <- c(1,"}), 400, "line 1", "^")
    assert_error(door.patch(path, json={"runtimeType": "Python"}), 400, "cannot change")
    changed = {"code": "mpg <- weights; grades <- offset", "initCode": "offset <- 'new'"}
    assert door.patch(path, json=changed).status_code == 200
    body = door.post(f"/api/{cars}/1.0", json={"weights": [1]}).json()
    assert body["outputParameters"] == {"mpg": [1], "grades": ["new"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    {
        "syntax": ({"code": "x <- 1\ny y"}, ["line 2", "unexpected symbol", "^"]),
        "init": ({"initCode": "f("}, ["initCode", "unexpected end of input"]),
        "name": (
            {"inputParameterDefinitions": [{"name": "1x", "type": "vector"}]},
            ["1x", "name of R's"],
        ),
    }.values(),
)
def test_a_definition_that_cannot_run_is_refused(
    door: Door, service_name: str, changes: dict[str, Any], words: list[str]
) -> None:
    answer = door.post(f"/services/{service_name}/1.0", json=definition(**changes))
    assert_error(answer, 400, *words)
    assert door.get(f"/services/{service_name}").json() == []


def test_code_and_snapshot_are_of_one_language(
    door: Door, service_name: str, snapshot_id: str
) -> None:
    body = definition(code="x = 1", runtimeType="Python", snapshotId=snapshot_id)
    assert_error(door.post(f"/services/{service_name}/1", json=body), 400, "one of R", "Python")


def test_all_types_both_ways(door: Door, service_name: str) -> None:
    values: dict[str, tuple[str, Any]] = {
        "a.logical": ("logical", True),
        "a.numeric": ("numeric", 0.1),
        "an.integer": ("integer", 7),
        "a.character": ("character", "é"),
        "a.vector": ("vector", [1, None, 3]),
        "a.matrix": ("matrix", [[1, 2], [3, 4]]),
        "a.frame": ("data.frame", {"x": [1, 2], "y": ["u", None]}),
    }
    parameters = [{"name": name, "type": kind} for name, (kind, _) in values.items()]
    body = {
        "code": "\n".join(f"out.{name} <- {name}" for name in values),
        "runtimeType": "R",
        "inputParameterDefinitions": parameters,
        "outputParameterDefinitions": [
            {"name": f"out.{each['name']}", "type": each["type"]} for each in parameters
        ],
    }
    assert door.post(f"/services/{service_name}/1.0", json=body).status_code == 201
    sent = {name: value for name, (_, value) in values.items()}
    answer = door.post(f"/api/{service_name}/1.0", json=sent).json()
    assert answer["outputParameters"] == {f"out.{name}": value for name, value in sent.items()}
    nothing = dict.fromkeys(sent)
    answer = door.post(f"/api/{service_name}/1.0", json=nothing).json()
    assert answer["outputParameters"] == {f"out.{name}": None for name in sent}
    # R writes a scalar as a list of one, and many write a table as records.
    scalars = {name: [sent[name]] for name in list(sent)[:4]}
    records = [{"x": 1, "y": "u"}, {"x": 2}]
    answer = door.post(
        f"/api/{service_name}/1.0", json={**sent, **scalars, "a.frame": records}
    ).json()
    assert answer["outputParameters"] == {f"out.{name}": value for name, value in sent.items()}
    door.delete(f"/services/{service_name}/1.0")


MOMENTS: Any = [
    pandas.Timestamp("2024-02-29T23Z"),
    None,
    pandas.Timestamp("2024-03-01T00:00:00.5Z"),
]
FRAME = pandas.DataFrame(
    {
        "text": ["007", None, "b"],
        "size": pandas.Categorical(["S", "L", None], ["S", "M", "L"], ordered=True),
        "when": MOMENTS,
        "wait": pandas.to_timedelta(["90 s", None, "1 days"]),
        "flag": pandas.array([True, None, False], "boolean"),
        "n": pandas.array([1, None, 3], "Int64"),
        "share": [0.5, None, 2.0],
    }
)


def test_a_row_alone_is_as_among_others_where_the_columns_are_known(
    door: Door, service_name: str
) -> None:
    definition = ParameterDefinition(name="d", type="data.frame", columns=columns_of(FRAME))
    body = {
        "code": (
            "kinds <- vapply(d, function(each) class(each)[[1]], '')\n"
            "levels <- levels(d$size)\nback <- d"
        ),
        "runtimeType": "R",
        "inputParameterDefinitions": [msgspec.to_builtins(definition)],
        "outputParameterDefinitions": [
            {"name": "kinds", "type": "vector"},
            {"name": "levels", "type": "vector"},
            {"name": "back", "type": "data.frame"},
        ],
    }
    assert door.post(f"/services/{service_name}/1.0", json=body).status_code == 201
    plain = encode_output("data.frame", FRAME)

    def answer(columns: object) -> dict[str, Any]:
        answered = door.post(f"/api/{service_name}/1.0", json={"d": columns})
        assert answered.json()["success"], answered.text
        found: dict[str, Any] = answered.json()["outputParameters"]
        return found

    together = answer(plain)
    assert together["kinds"] == [
        *("character", "ordered", "POSIXct", "difftime", "logical", "numeric", "numeric")
    ]
    assert together["levels"] == ["S", "M", "L"]
    assert together["back"]["text"] == ["007", None, "b"]
    assert together["back"]["when"] == ["2024-02-29T23:00:00Z", None, "2024-03-01T00:00:00.5Z"]
    assert together["back"]["wait"] == ["PT90S", None, "PT86400S"]
    for i in range(len(FRAME)):
        alone = answer([{name: column[i] for name, column in plain.items()}])
        assert (alone["kinds"], alone["levels"]) == (together["kinds"], together["levels"])
        assert alone["back"] == {name: [each[i]] for name, each in together["back"].items()}
    wrong = door.post(f"/api/{service_name}/1.0", json={"d": {**plain, "size": ["S", "XL", None]}})
    assert_error(wrong, 400, 'd["size"][1]', "'XL'")
    door.delete(f"/services/{service_name}/1.0")


def test_nulls_alone_are_missing_numbers(door: Door, service_name: str) -> None:
    body = {
        "code": (
            "kinds <- c(typeof(n), typeof(v), typeof(m), typeof(d$a), typeof(d$b[[1]]))\n"
            "missing <- c(is.na(n), is.na(v), is.na(m), is.na(d$a))"
        ),
        "runtimeType": "R",
        "inputParameterDefinitions": [
            {"name": "n", "type": "numeric"},
            {"name": "v", "type": "vector"},
            {"name": "m", "type": "matrix"},
            {"name": "d", "type": "data.frame"},
        ],
        "outputParameterDefinitions": [
            {"name": "kinds", "type": "vector"},
            {"name": "missing", "type": "vector"},
        ],
    }
    assert door.post(f"/services/{service_name}/1.0", json=body).status_code == 201
    sent = {"n": None, "v": [None], "m": [[None]], "d": {"a": [None], "b": [[1, 2]]}}
    answer = door.post(f"/api/{service_name}/1.0", json=sent).json()
    assert answer["outputParameters"] == {
        "kinds": ["double", "double", "double", "double", "integer"],
        "missing": [True, True, True, True],
    }
    door.delete(f"/services/{service_name}/1.0")


def test_cancelling_keeps_the_session(door: Door, session_id: str) -> None:
    path = f"/sessions/{session_id}/executions"
    assert door.post(path, json={"code": "while (TRUE) 1"}).status_code == 202
    wait_until(lambda: door.get(path).json()[-1]["state"] == "running")
    assert door.post(f"/sessions/{session_id}/cancel").status_code == 200
    assert door.post(f"/sessions/{session_id}/execute", json={"code": "1"}).json()["success"]
