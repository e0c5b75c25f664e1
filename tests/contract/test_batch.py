"""Batches by REST, at both doors."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

RESULT_MEMBERS = [
    *("success", "errorMessage", "outputParameters"),
    *("outputFiles", "consoleOutput", "changedFiles"),
]


def start(door: Door, name: str, records: object, query: str = "") -> str:
    answer = door.post(f"/api/{name}/1.0/batch{query}", json=records)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["batchExecutionId"])


def finished(door: Door, path: str, query: str = "") -> dict[str, Any]:
    """Poll a batch until it has ended."""
    body: dict[str, Any] = {}

    def has_ended() -> bool:
        answer = door.get(path + query)
        assert answer.status_code == 200, answer.text
        body.update(answer.json())
        return body["state"] not in {"Pending", "InProgress"}

    wait_until(has_ended, f"{path} did not end")
    return body


def until_finished(door: Door, path: str, count: int) -> None:
    """Poll a batch until so many of its records have a result."""
    wait_until(lambda: door.get(f"{path}?count=0").json()["completedItemCount"] >= count)


def publish(door: Door, name: str, code: str, inputs: str, outputs: str, files: str = "") -> None:
    answer = door.post(
        f"/services/{name}/1.0",
        json={
            "code": code,
            "inputParameterDefinitions": [
                {"name": item, "type": "numeric"} for item in inputs.split()
            ],
            "outputParameterDefinitions": [
                {"name": item, "type": "numeric"} for item in outputs.split()
            ],
            "outputFileNames": files.split(),
        },
    )
    assert answer.status_code == 201, answer.text


@pytest.fixture
def slow(door: Door, service_name: str) -> Iterator[str]:
    """The name of a service that takes as many seconds as it is told."""
    publish(door, service_name, "import time\ntime.sleep(x)\ny = x", "x", "y")
    yield service_name
    door.delete(f"/services/{service_name}/1.0")


def test_each_record_has_the_result_of_a_single_call_at_its_number(
    door: Door, published: str
) -> None:
    records = [{"a": number, "b": 100} for number in range(50)]
    answer = door.post(f"/api/{published}/1.0/batch?parallelCount=7", json=records)
    assert answer.status_code == 202
    identifier = answer.json()["batchExecutionId"]
    assert answer.json() == {
        "name": published,
        "version": "1.0",
        "batchExecutionId": identifier,
        "BatchExecutionId": identifier,
    }
    body = finished(door, f"/api/{published}/1.0/batch/{identifier}")
    assert body["state"] == "Complete"
    assert (body["completedItemCount"], body["totalItemCount"]) == (50, 50)
    assert body["parallelCount"] == 7
    results = body["batchExecutionResults"]
    assert all(list(result) == RESULT_MEMBERS for result in results)
    assert [result["outputParameters"] for result in results] == [
        {"total": number + 100} for number in range(50)
    ]
    single = door.post(f"/api/{published}/1.0", json=records[3])
    assert results[3] == single.json()


def test_records_that_do_not_fit_fail_alone(door: Door, published: str) -> None:
    records = [{"a": 1, "b": 2}, {"a": "one", "b": 2}, {"a": 1}, {"a": 3, "b": 4}]
    body = finished(door, f"/api/{published}/1.0/batch/{start(door, published, records)}")
    assert body["state"] == "Complete"
    assert [result["success"] for result in body["batchExecutionResults"]] == [
        *(True, False, False, True)
    ]
    assert body["failedItemCount"] == 2
    wrong, short = body["batchExecutionResults"][1:3]
    assert list(wrong) == RESULT_MEMBERS
    assert "'one'" in wrong["errorMessage"]
    assert "'b'" in short["errorMessage"]
    assert "missing" in short["errorMessage"]


def test_code_that_raises_fails_its_record_with_the_last_line_of_the_traceback(
    door: Door, service_name: str
) -> None:
    publish(door, service_name, "y = 1 / x", "x", "y")
    path = f"/api/{service_name}/1.0/batch"
    identifier = start(door, service_name, [{"x": 1}, {"x": 0}, {"x": 2}])
    body = finished(door, f"{path}/{identifier}")
    first, failed, last = body["batchExecutionResults"]
    assert (first["errorMessage"], last["errorMessage"]) == ("", "")
    assert failed["errorMessage"] == "ZeroDivisionError: float division by zero"
    door.delete(f"/services/{service_name}/1.0")


def test_a_batch_of_nothing_is_complete(door: Door, published: str) -> None:
    body = finished(door, f"/api/{published}/1.0/batch/{start(door, published, [])}")
    assert (body["state"], body["totalItemCount"]) == ("Complete", 0)
    assert body["batchExecutionResults"] == []


@pytest.mark.parametrize("query", ["showPartialResults=true", "showPartialResult=True"])
def test_partial_results_keep_the_numbers_of_their_records(
    door: Door, slow: str, query: str
) -> None:
    # Slow ones first: a worker of a quick service is given records ahead, which wait for the gap.
    records = [{"x": 0.05}] * 4 + [{"x": 300}] + [{"x": 0.05}] * 3
    path = f"/api/{slow}/1.0/batch/{start(door, slow, records)}"
    until_finished(door, path, 7)
    body = door.get(f"{path}?{query}").json()
    assert body["state"] == "InProgress"
    results = body["batchExecutionResults"]
    assert [result["success"] for result in results] == [True] * 4 + [False] + [True] * 3
    gap = results[4]
    assert list(gap) == [*RESULT_MEMBERS, "finished"]
    assert (gap["success"], gap["finished"]) == (False, False)
    assert door.get(path).json()["batchExecutionResults"] == []
    assert (
        door.get(f"{path}?{query.replace('rue', 'rue')[:-4]}false").json()["batchExecutionResults"]
        == []
    )
    door.delete(path)


def test_results_can_be_read_in_pages(door: Door, published: str) -> None:
    identifier = start(door, published, [{"a": n, "b": 0} for n in range(20)])
    path = f"/api/{published}/1.0/batch/{identifier}"
    finished(door, path, "?count=0")
    page = door.get(f"{path}?first=5&count=3").json()["batchExecutionResults"]
    assert [result["outputParameters"]["total"] for result in page] == [5, 6, 7]
    assert door.get(f"{path}?count=0").json()["batchExecutionResults"] == []
    assert len(door.get(f"{path}?first=18&count=10").json()["batchExecutionResults"]) == 2


def test_files_of_a_record_are_listed_and_sent_as_they_are(door: Door, service_name: str) -> None:
    code = (
        "open('a.txt', 'w').write(f'é {x:g}')\nif x > 1:\n    open('b.bin', 'wb').write(b'\\0\\1')"
    )
    publish(door, service_name, code, "x", "", "a.txt b.bin")
    path = f"/api/{service_name}/1.0/batch/{start(door, service_name, [{'x': 1}, {'x': 2}])}"
    body = finished(door, path)
    files = [result["outputFiles"] for result in body["batchExecutionResults"]]
    assert files[0]["b.bin"] is None
    assert base64.b64decode(files[1]["b.bin"]) == b"\0\1"
    assert door.get(f"{path}/0/files").json() == ["a.txt"]
    assert door.get(f"{path}/1/files").json() == ["a.txt", "b.bin"]
    answer = door.get(f"{path}/1/files/a.txt")
    assert (answer.status_code, answer.content) == (200, "é 2".encode())
    assert door.get(f"{path}/1/files/b.bin").content == b"\0\1"
    for missing in ("/0/files/b.bin", "/2/files", "/x/files", "/2/files/a.txt"):
        assert door.get(path + missing).status_code == 404, missing
    door.delete(f"/services/{service_name}/1.0")


def test_deleting_stops_at_once_and_leaves_nothing(door: Door, slow: str) -> None:
    path = f"/api/{slow}/1.0/batch"
    identifier = start(door, slow, [{"x": 1}] * 1000, "?parallelCount=50")
    assert identifier in door.get(path).json()
    answer = door.delete(f"{path}/{identifier}")
    assert (answer.status_code, answer.json()) == (200, [identifier])
    assert door.get(f"{path}/{identifier}").status_code == 404
    assert identifier not in door.get(path).json()


def test_a_cancelled_batch_keeps_its_results(door: Door, slow: str) -> None:
    identifier = start(door, slow, [{"x": 0}] * 4 + [{"x": 1}] * 1000)
    path = f"/api/{slow}/1.0/batch/{identifier}"
    until_finished(door, path, 4)
    answer = door.post(f"{path}/cancel")
    assert (answer.status_code, type(answer.json())) == (200, str)
    body = door.get(path).json()
    assert body["state"] == "Cancelled"
    assert 4 <= body["completedItemCount"] < 1004
    assert [result["success"] for result in body["batchExecutionResults"][:4]] == [True] * 4
    assert door.post(f"{path}/cancel").status_code == 200
    assert door.get(path).json() == body


def test_other_callers_find_room_beside_a_batch(door: Door, slow: str) -> None:
    identifier = start(door, slow, [{"x": 0.2}] * 1000, "?parallelCount=100")
    until_finished(door, f"/api/{slow}/1.0/batch/{identifier}", 2)
    assert door.post(f"/api/{slow}/1.0", json={"x": 0}).json()["success"]
    door.delete(f"/api/{slow}/1.0/batch/{identifier}")


def test_batches_are_their_starters_alone(
    door: Door, published: str, people: Callable[[str], str]
) -> None:
    ana, ben, rita = (door.with_token(people(name)) for name in ("ana", "ben", "rita"))
    path = f"/api/{published}/1.0/batch"
    identifier = start(ana, published, [{"a": 1, "b": 2}])
    finished(ana, f"{path}/{identifier}")
    assert ana.get(path).json() == [identifier]
    assert ben.get(path).json() == []
    for other in (ben, rita, door):
        for method, rest in [
            *(("GET", ""), ("DELETE", ""), ("POST", "/cancel")),
            *(("GET", "/0/files"), ("GET", "/0/files/a")),
        ]:
            answer = other.call(method, f"{path}/{identifier}{rest}")
            assert answer.status_code == 404, (method, rest)
    assert finished(rita, f"{path}/{start(rita, published, [])}")["state"] == "Complete"
    assert door.with_token(None).get(path).status_code == 401
    assert door.with_token(None).post(path, json=[]).status_code == 401


@pytest.mark.parametrize(
    ("body", "query", "words"),
    [
        ("", "", "empty"),
        ("null", "", "array"),
        ("{}", "", "array"),
        ('[{"a": 1}, 3]', "", "$[1]"),
        ('[{"a": 1}, ', "", "not valid JSON"),
        ("[]", "?parallelCount=many", "parallelCount"),
        ("[]", "?parallelCount=0", "parallelCount"),
    ],
)
def test_what_is_no_list_of_records_is_refused(
    door: Door, published: str, body: str, query: str, words: str
) -> None:
    answer = door.post(f"/api/{published}/1.0/batch{query}", data=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["message"]
    assert door.get(f"/api/{published}/1.0/batch").json() == []


@pytest.mark.parametrize("query", ["showPartialResults=maybe", "first=-1", "count=x"])
def test_an_unfit_query_is_refused(door: Door, published: str, query: str) -> None:
    path = f"/api/{published}/1.0/batch/{start(door, published, [])}"
    assert door.get(f"{path}?{query}").status_code == 400


def test_unknown_services_and_batches_are_not_found(door: Door, published: str) -> None:
    assert door.post("/api/nothing/1.0/batch", json=[]).status_code == 404
    assert door.get("/api/nothing/1.0/batch").status_code == 404
    assert door.get(f"/api/{published}/1.0/batch/unknown").status_code == 404
    identifier = start(door, published, [])
    assert door.get(f"/api/{published}/2.0/batch/{identifier}").status_code == 404


def test_more_threads_than_allowed_are_taken_as_the_most(door: Door, published: str) -> None:
    path = f"/api/{published}/1.0/batch/{start(door, published, [], '?parallelCount=9999')}"
    assert door.get(path).json()["parallelCount"] == 100


def test_results_outlive_their_service(door: Door, published: str) -> None:
    path = f"/api/{published}/1.0/batch"
    identifier = start(door, published, [{"a": 1, "b": 2}])
    before = finished(door, f"{path}/{identifier}")
    assert door.delete(f"/services/{published}/1.0").status_code == 200
    assert door.get(f"{path}/{identifier}").json() == before
    assert door.get(path).json() == [identifier]


def test_a_batch_whose_service_goes_fails_and_keeps_its_results(door: Door, slow: str) -> None:
    identifier = start(door, slow, [{"x": 0}] * 4 + [{"x": 0.3}] * 1000)
    path = f"/api/{slow}/1.0/batch/{identifier}"
    until_finished(door, path, 4)
    door.delete(f"/services/{slow}/1.0")
    body = finished(door, path)
    assert body["state"] == "Failed"
    assert slow in body["errorMessage"]
    assert 4 <= body["completedItemCount"] < 1000
    assert body["batchExecutionResults"][0]["outputParameters"] == {"y": 0}


def test_answers_fit_the_services_document(door: Door, published: str) -> None:
    document = door.get(f"/api/{published}/1.0/swagger.json").json()
    path = f"/api/{published}/1.0/batch"
    started = door.post(path, json=[{"a": 1, "b": 2}, {"a": "x"}])
    identifier = started.json()["batchExecutionId"]
    answers = {
        (path, "post"): started,
        (path, "get"): door.get(path),
        (f"{path}/{{executionId}}/{{index}}/files", "get"): door.get(f"{path}/{identifier}/0/files")
        if finished(door, f"{path}/{identifier}")
        else None,
        (f"{path}/{{executionId}}", "get"): door.get(f"{path}/{identifier}"),
        (f"{path}/{{executionId}}", "delete"): door.delete(f"{path}/{identifier}"),
    }
    for (template, method), answer in answers.items():
        assert answer is not None
        described = document["paths"][template][method]["responses"][str(answer.status_code)]
        schema = described["schema"] | {"definitions": document["definitions"]}
        jsonschema.validate(answer.json(), schema, jsonschema.Draft4Validator)


def test_a_client_that_goes_away_while_sending_leaves_nothing(
    mlsvc_server: ServerProcess, mlsvc_admin_token: str, mlsvc_api: Callable[..., Any]
) -> None:
    definition = {"code": "pass", "inputParameterDefinitions": []}
    mlsvc_api("POST", "/services/sending/1.0", json=definition)
    head = (
        "POST /api/sending/1.0/batch HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {mlsvc_admin_token}\r\nContent-Length: 9000000\r\n\r\n"
    )
    staging = mlsvc_server.data_dir / "staging"
    logged = len(mlsvc_server.log_file.read_text())
    with socket.create_connection(("127.0.0.1", mlsvc_server.public_port)) as connection:
        connection.sendall(head.encode() + b"[" + b"{}," * 1_000_000)
        wait_until(lambda: any(path.name == "body" for path in staging.rglob("*")))
    wait_until(lambda: not any(path.name == "body" for path in staging.rglob("*")))
    assert "Traceback" not in mlsvc_server.log_file.read_text()[logged:]
    assert mlsvc_api("GET", "/api/sending/1.0/batch").json() == []
    mlsvc_api("DELETE", "/services/sending/1.0")
