from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.gates import once_there_is
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def session_id(mlsvc_api: Api) -> Iterator[str]:
    answer = mlsvc_api("POST", "/sessions", json={"name": "over HTTP", "runtimeType": "Python"})
    assert answer.status_code == 201, answer.text
    yield answer.json()["sessionId"]
    mlsvc_api("DELETE", f"/sessions/{answer.json()['sessionId']}/force")


@pytest.fixture
def r_session_id(mlsvc_api: Api, needs_r: None) -> Iterator[str]:
    answer = mlsvc_api("POST", "/sessions", json={"runtimeType": "R"})
    yield answer.json()["sessionId"]
    mlsvc_api("DELETE", f"/sessions/{answer.json()['sessionId']}/force")


@pytest.fixture
def call(mlsvc_api: Api, session_id: str) -> Api:
    """A function that calls a path of the shared session."""

    def call_it(method: str, path: str, **kwargs: Any) -> requests.Response:
        return mlsvc_api(method, f"/sessions/{session_id}{path}", **kwargs)

    return call_it


def until_printed(call: Api, text: str) -> None:
    wait_until(lambda: text in call("GET", "/console-output").json()["consoleOutput"])


# --- life ------------------------------------------------------------------------------------


def test_a_session_is_created_listed_and_closed_with_the_statuses_of_the_contract(
    mlsvc_api: Api,
) -> None:
    created = mlsvc_api("POST", "/sessions", json={"runtimeType": "Python"})
    assert created.status_code == 201
    identifier = created.json()["sessionId"]
    (listed,) = [each for each in mlsvc_api("GET", "/sessions").json() if each["id"] == identifier]
    assert (listed["owner"], listed["runtimeType"]) == ("admin", "Python")
    assert listed["name"]
    closed = mlsvc_api("DELETE", f"/sessions/{identifier}")
    assert (closed.status_code, type(closed.json())) == (200, str)
    assert mlsvc_api("DELETE", f"/sessions/{identifier}").status_code == 404


def test_closing_by_force_works_while_code_runs(mlsvc_api: Api) -> None:
    identifier = mlsvc_api("POST", "/sessions").json()["sessionId"]
    started = mlsvc_api(
        "POST", f"/sessions/{identifier}/executions", json={"code": "while True: pass"}
    )
    assert started.status_code == 202
    closed = mlsvc_api("DELETE", f"/sessions/{identifier}/force")
    assert (closed.status_code, type(closed.json())) == (200, str)


def test_a_dead_session_is_410_for_its_workspace_and_404_elsewhere(mlsvc_api: Api) -> None:
    identifier = mlsvc_api("POST", "/sessions").json()["sessionId"]
    died = mlsvc_api(
        "POST", f"/sessions/{identifier}/execute", json={"code": "import os; os._exit(1)"}
    )
    assert died.status_code == 200
    assert died.json()["success"] is False
    assert "exit code 1" in died.json()["errorMessage"]
    assert mlsvc_api("GET", f"/sessions/{identifier}/workspace").status_code == 410
    assert mlsvc_api("GET", f"/sessions/{identifier}/history").status_code == 404
    again = mlsvc_api("POST", f"/sessions/{identifier}/execute", json={"code": "1"})
    assert again.status_code == 404
    assert "exit code 1" in again.json()["message"]


# --- execute ---------------------------------------------------------------------------------


def test_execute_answers_the_five_members_in_their_order(call: Api) -> None:
    body = {
        "code": "print('hi')\ny = x * 2",
        "inputParameters": [{"name": "x", "value": [1, 2]}],
        "outputParameters": ["y"],
        "input_parameters": None,
    }
    answer = call("POST", "/execute", json=body)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert list(answer.json().items()) == [
        ("success", True),
        ("errorMessage", ""),
        ("outputParameters", [{"name": "y", "value": [1, 2, 1, 2]}]),
        ("consoleOutput", "hi\n"),
        ("changedFiles", []),
    ]


LARGE = [0.5] * 200_000


@pytest.mark.parametrize("kind", ["Python", "R"])
def test_large_inputs_and_outputs_go_by_file_and_are_what_was_sent(
    mlsvc_api: Api, mlsvc_server: ServerProcess, kind: str, request: pytest.FixtureRequest
) -> None:
    session = request.getfixturevalue("r_session_id" if kind == "R" else "session_id")
    body = {
        "code": "y <- x; f <- data.frame(a = 1)" if kind == "R" else "y = x; f = [t.a.sum()]",
        "inputParameters": [
            {"name": "x", "value": LARGE},
            {"name": "t", "value": {"a": [1, 2]}, "type": "data.frame"},
        ],
        "outputParameters": ["y", "f"],
    }
    answer = mlsvc_api("POST", f"/sessions/{session}/execute", json=body)
    assert answer.json()["errorMessage"] == ""
    outputs = {each["name"]: each for each in answer.json()["outputParameters"]}
    assert outputs["y"] == {"name": "y", "value": LARGE}
    expected = {"value": {"a": [1]}, "type": "data.frame"} if kind == "R" else {"value": [3]}
    assert outputs["f"] == {"name": "f", **expected}
    started = mlsvc_api("POST", f"/sessions/{session}/executions", json=body)
    path = f"/sessions/{session}/executions/{started.json()['executionId']}/events"
    (*_, last) = mlsvc_api("GET", path).text.splitlines()
    assert json.loads(last)["outputParameters"] == answer.json()["outputParameters"]
    # They go once the answer is out.
    wait_until(lambda: not list(mlsvc_server.data_dir.rglob("*puts-*")), "a file was left")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"outputs": []}, "There is no member 'outputs'"),
        ({"code": 1}, "code"),
        ({"outputParameters": ["1"]}, "1"),
    ],
)
def test_a_large_body_that_does_not_fit_is_refused_like_a_small_one(
    call: Api, mlsvc_server: ServerProcess, wrong: dict[str, Any], words: str
) -> None:
    answers = []
    for value in ([1], LARGE):
        body = {"code": "1", "inputParameters": [{"name": "x", "value": value}], **wrong}
        answers.append(call("POST", "/execute", json=body))
    assert {each.status_code for each in answers} == {400}
    assert words in answers[0].json()["message"]
    assert len({each.json()["message"] for each in answers}) == 1
    wait_until(lambda: not list(mlsvc_server.data_dir.rglob("inputs-*")), "a file was left")


def test_code_that_raises_is_200_with_the_error(call: Api) -> None:
    answer = call("POST", "/execute", json={"code": "p"})
    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert answer.json()["errorMessage"] == "NameError: name 'p' is not defined"


@pytest.mark.parametrize("body", ['{"code": 1}', "[]", "{", '{"outputParameters": [1]}'])
def test_a_body_that_does_not_fit_is_400(call: Api, body: str) -> None:
    assert call("POST", "/execute", data=body).status_code == 400


def test_a_name_that_is_none_is_400(call: Api) -> None:
    answer = call("POST", "/execute", json={"code": "1", "outputParameters": ["a b"]})
    assert answer.status_code == 400
    assert "'a b'" in answer.json()["message"]


def test_the_console_is_served_and_the_code_cancelled_while_execute_blocks(call: Api) -> None:
    answers: list[requests.Response] = []
    code = "import time\nprint('working', flush=True)\ntime.sleep(60)"
    blocked = threading.Thread(
        target=lambda: answers.append(call("POST", "/execute", json={"code": code}))
    )
    blocked.start()
    until_printed(call, "working")
    assert not answers
    cancelled = call("POST", "/cancel")
    assert (cancelled.status_code, type(cancelled.json())) == (200, str)
    blocked.join(60)
    assert answers[0].json()["success"] is False
    assert "cancelled" in answers[0].json()["errorMessage"]
    assert call("POST", "/execute", json={"code": "1"}).json()["success"] is True


def test_a_client_that_goes_away_leaves_no_lock(
    call: Api, mlsvc_server: ServerProcess, mlsvc_admin_token: str, session_id: str
) -> None:
    def send(code: str) -> socket.socket:
        body = json.dumps({"code": code}).encode()
        client = socket.create_connection(("127.0.0.1", mlsvc_server.public_port))
        head = (
            f"POST /sessions/{session_id}/execute HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {mlsvc_admin_token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        return client

    with send(f"print('left alone', flush=True)\n{once_there_is('go')}\nleft = 'ran'"):
        until_printed(call, "left alone")
    with send("left = 'must not run'"):
        wait_until(lambda: call("GET", "/executions").json()[-1]["state"] == "queued")
    for _ in range(10):  # the server hears of both ends before it answers all of these
        assert call("GET", "/executions").json()[-1]["state"] == "queued"
    assert call("POST", "/files", files={"file": ("go", b"1")}).ok
    answer = call("POST", "/execute", json={"code": "", "outputParameters": ["left"]})
    assert answer.json()["outputParameters"] == [{"name": "left", "value": "ran"}]


def test_the_history_is_a_list_of_code(call: Api) -> None:
    call("POST", "/execute", json={"code": "'the last one'"})
    assert call("GET", "/history").json()[-1] == "'the last one'"


# --- events ----------------------------------------------------------------------------------


def test_a_follower_that_leaves_is_no_error_in_the_log(
    call: Api, mlsvc_server: ServerProcess
) -> None:
    already = len(mlsvc_server.log_file.read_text())
    code = f"print('begun', flush=True)\n{once_there_is('left')}\n"
    code += "for i in range(20): print(i, flush=True)"
    started = call("POST", "/executions", json={"code": code})
    path = f"/executions/{started.json()['executionId']}/events"
    with call("GET", path, stream=True) as answer:
        next(answer.iter_lines())
    assert call("POST", "/files", files={"file": ("left", b"1")}).ok
    assert call("POST", "/execute", json={"code": "1"}).json()["success"] is True
    log = mlsvc_server.log_file.read_text()[already:]
    assert "headers written" not in log


def test_events_are_streamed_while_the_code_runs_and_replayed_after_it(call: Api) -> None:
    # It goes on only once its first line has been read here.
    code = f"print('early', flush=True)\n{once_there_is('read')}\nprint('late')"
    started = call("POST", "/executions", json={"code": code})
    assert started.status_code == 202
    path = f"/executions/{started.json()['executionId']}/events"
    events: list[dict[str, Any]] = []
    with call("GET", path, stream=True) as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        for line in answer.iter_lines():
            events.append(json.loads(line))
            if len(events) == 1:
                assert call("POST", "/files", files={"file": ("read", b"1")}).ok
    assert [each.get("text") for each in events] == ["early\n", "late\n", None]
    assert events[-1]["type"] == "result"
    assert events[-1]["consoleOutput"] == "early\nlate\n"
    replayed = call("GET", path, params={"since": 1}).text.splitlines()
    assert [json.loads(line) for line in replayed] == events[1:]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/executions/nothing/events", 404),
        ("/executions/nothing/events?since=x", 400),
        ("/executions/nothing/events?since=-1", 400),
    ],
)
def test_events_that_cannot_be_followed_are_refused(call: Api, path: str, status: int) -> None:
    answer = call("GET", path)
    assert answer.status_code == status
    assert answer.json()["message"]


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_uploaded_used_listed_downloaded_and_deleted(call: Api) -> None:
    data = bytes(range(256)) * 8192
    uploaded = call("POST", "/files", files={"file": ("data ü.bin", data)})
    assert uploaded.status_code == 201
    assert isinstance(uploaded.json(), str)
    assert "data ü.bin" in call("GET", "/files").json()
    code = {"code": "n = len(open('data ü.bin', 'rb').read())", "outputParameters": ["n"]}
    assert call("POST", "/execute", json=code).json()["outputParameters"][0]["value"] == len(data)
    downloaded = call("GET", "/files/data%20%C3%BC.bin", headers={"Accept": "application/json"})
    assert downloaded.content == data
    assert int(downloaded.headers["Content-Length"]) == len(data)
    assert call("DELETE", "/files/data%20%C3%BC.bin").status_code == 200
    assert call("GET", "/files/data%20%C3%BC.bin").status_code == 404


@pytest.mark.parametrize("name", ["..%2Fconnection.json", "..%2F..%2Fmlsvc.db", "%2Fetc%2Fpasswd"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_file_name_leads_nowhere_else(call: Api, method: str, name: str) -> None:
    assert call(method, f"/files/{name}").status_code == 400


def test_an_uploaded_name_leads_nowhere_else(
    call: Api, mlsvc_server: ServerProcess, tmp_path: Path
) -> None:
    for name in ("../escaped.txt", "/tmp/escaped.txt", "a/escaped.txt"):
        answer = call("POST", "/files", files={"file": (name, b"x")})
        assert answer.status_code == 400, name
    assert not list(mlsvc_server.data_dir.rglob("escaped.txt"))


def test_a_link_made_by_the_code_is_not_followed(call: Api, mlsvc_server: ServerProcess) -> None:
    database = str(mlsvc_server.data_dir / "mlsvc.db")
    code = f"import os; os.symlink({database!r}, 'leak')"
    assert call("POST", "/execute", json={"code": code}).json()["success"]
    assert "leak" not in call("GET", "/files").json()
    assert call("GET", "/files/leak").status_code == 404


def test_an_upload_without_a_file_is_400(call: Api) -> None:
    assert call("POST", "/files", files={"other": ("x", b"x")}).status_code == 400
    assert call("POST", "/files", data=b"raw").status_code == 400


# --- workspace -------------------------------------------------------------------------------


def test_an_object_is_set_listed_read_and_deleted(call: Api) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    data = cloudpickle.dumps(lambda x: x + 1)
    assert call("POST", "/workspace/inc", data=data, headers=octets).status_code == 200
    assert "inc" in call("GET", "/workspace").json()
    code = {"code": "two = inc(1)", "outputParameters": ["two"]}
    assert call("POST", "/execute", json=code).json()["outputParameters"][0]["value"] == 2
    read = call("GET", "/workspace/two")
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert cloudpickle.loads(read.content) == 2
    assert call("DELETE", "/workspace/two").status_code == 200
    assert call("GET", "/workspace/two").status_code == 404
    assert call("DELETE", "/workspace/two").status_code == 404


def test_bytes_that_are_no_object_are_400(call: Api) -> None:
    answer = call("POST", "/workspace/bad", data=b"no pickle")
    assert answer.status_code == 400
    assert answer.json()["message"]
