"""Each call of sessions at both doors: what it answers, and each status that it may have."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import cloudpickle
import dill
import pytest
import requests

from tests.contract.doors import Door
from tests.gates import once_there_is
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

NOBODY = "0e8fd4a1-90b8-4ee7-a9f1-618430a2febf"
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def shared(door: Door) -> Iterator[str]:
    """The path of a session that this module's tests share."""
    answer = door.post("/sessions", json={"name": "contract", "runtimeType": "Python"})
    assert answer.status_code == 201, answer.text
    yield f"/sessions/{answer.json()['sessionId']}"
    door.delete(f"/sessions/{answer.json()['sessionId']}")


@pytest.fixture(scope="module")
def ended(door: Door) -> str:
    """The path of a session that was there and has ended."""
    session = f"/sessions/{door.post('/sessions', json={}).json()['sessionId']}"
    assert door.delete(session).status_code == 200
    return session


def run(door: Door, session: str, code: str, *outputs: str) -> dict[str, Any]:
    answer = door.post(f"{session}/execute", json={"code": code, "outputParameters": list(outputs)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"], answer.json()
    return {each["name"]: each["value"] for each in answer.json()["outputParameters"]}


def until_printed(door: Door, session: str, text: str) -> None:
    wait_until(lambda: text in door.get(f"{session}/console-output").json()["consoleOutput"])


def give(door: Door, session: str, name: str) -> None:
    """Put a file into the working directory of a session."""
    answer = door.post(f"{session}/files", files={"file": (name, b"1")})
    assert answer.ok, answer.text


# --- who may, and what is not there ----------------------------------------------------------

CALLS = [
    ("POST", ""),
    ("GET", ""),
    ("DELETE", "/{id}"),
    ("DELETE", "/{id}/force"),
    ("POST", "/{id}/execute"),
    ("POST", "/{id}/executions"),
    ("GET", "/{id}/executions"),
    ("GET", "/{id}/executions/1/events"),
    ("POST", "/{id}/cancel"),
    ("GET", "/{id}/console-output"),
    ("GET", "/{id}/history"),
    ("GET", "/{id}/files"),
    ("POST", "/{id}/files"),
    ("GET", "/{id}/files/a.txt"),
    ("DELETE", "/{id}/files/a.txt"),
    ("GET", "/{id}/workspace"),
    ("GET", "/{id}/inventory"),
    ("GET", "/{id}/workspace/x"),
    ("POST", "/{id}/workspace/x"),
    ("DELETE", "/{id}/workspace/x"),
    ("POST", "/{id}/snapshot"),
    ("POST", "/{id}/loadsnapshot/1"),
]
IDS = [f"{method} /sessions{path}" for method, path in CALLS]


def call(door: Door, method: str, path: str) -> requests.Response:
    if path.endswith("/files") and method == "POST":
        return door.call(method, path, files={"file": ("a.txt", b"a")})
    return door.call(method, path, json={} if method == "POST" else None)


@pytest.mark.parametrize(("method", "path"), CALLS, ids=IDS)
def test_nobody_may_without_a_token(door: Door, method: str, path: str) -> None:
    answer = call(door.with_token(None), method, "/sessions" + path.format(id=NOBODY))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), CALLS[2:], ids=IDS[2:])
def test_a_session_that_never_was_is_404(door: Door, method: str, path: str) -> None:
    answer = call(door, method, "/sessions" + path.format(id=NOBODY))
    assert answer.status_code == 404
    assert NOBODY in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), CALLS[2:], ids=IDS[2:])
def test_a_session_that_has_ended_is_404_and_its_workspace_410(
    door: Door, ended: str, method: str, path: str
) -> None:
    answer = call(door, method, ended + path.removeprefix("/{id}"))
    assert answer.status_code == (410 if (method, path) == ("GET", "/{id}/workspace") else 404)
    assert "it was closed" in answer.json()["message"]


def test_a_session_from_a_snapshot_that_is_not_there_is_404_and_none_is_left(door: Door) -> None:
    before = door.get("/sessions").json()
    assert door.post("/sessions", json={"snapshotId": NOBODY}).status_code == 404
    assert [each["id"] for each in door.get("/sessions").json()] == [each["id"] for each in before]


# --- code ------------------------------------------------------------------------------------


def test_history_has_the_code_of_each_execution_oldest_first(door: Door, shared: str) -> None:
    before = len(door.get(f"{shared}/history").json())
    codes = ["a = 1", "", "größe = 'ü'\nprint(größe)"]
    for code in codes:
        run(door, shared, code)
    assert door.get(f"{shared}/history").json()[before:] == codes


def test_the_console_is_that_of_the_running_and_then_of_the_last_execution(
    door: Door, shared: str
) -> None:
    run(door, shared, "print('earlier')")
    code = f"print('größe', flush=True)\n{once_there_is('read')}\nprint('end')"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, door, shared, code)
        until_printed(door, shared, "größe")
        assert door.get(f"{shared}/console-output").json() == {"consoleOutput": "größe\n"}
        assert door.get("/sessions").status_code == 200
        give(door, shared, "read")
        running.result()
    assert door.get(f"{shared}/console-output").json() == {"consoleOutput": "größe\nend\n"}


def test_cancel_ends_the_code_and_keeps_the_session(door: Door, shared: str) -> None:
    run(door, shared, "kept = 5")
    code = "print('running', flush=True)\nwhile True: pass"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(door.post, f"{shared}/execute", json={"code": code})
        until_printed(door, shared, "running")
        answer = door.post(f"{shared}/cancel")
        assert (answer.status_code, type(answer.json())) == (200, str)
        result = running.result().json()
    assert (result["success"], result["outputParameters"]) == (False, [])
    assert "cancelled" in result["errorMessage"]
    assert run(door, shared, "pass", "kept") == {"kept": 5}
    # There is nothing to cancel now, which is no mistake.
    assert door.post(f"{shared}/cancel").status_code == 200


def test_one_execution_is_cancelled_and_no_other(door: Door, shared: str) -> None:
    begun = door.post(
        f"{shared}/executions",
        json={"code": f"print('first', flush=True)\n{once_there_is('go on')}\nfirst = 'finished'"},
    ).json()["executionId"]
    until_printed(door, shared, "first")
    mine = str(uuid.uuid4())
    for _ in range(2):  # sent twice, it is started once
        waiting = door.post(f"{shared}/executions", json={"code": "mine = 1", "executionId": mine})
        assert (waiting.status_code, waiting.json()) == (202, {"executionId": mine})
    assert door.post(f"{shared}/cancel", params={"executionId": mine}).status_code == 200
    events = door.get(f"{shared}/executions/{mine}/events").text
    assert "cancelled before it began" in events
    give(door, shared, "go on")
    assert run(door, shared, "pass", "first") == {"first": "finished"}
    assert "mine" not in door.get(f"{shared}/workspace").json()
    assert door.post(f"{shared}/cancel", params={"executionId": begun}).status_code == 200
    unknown = door.post(f"{shared}/cancel", params={"executionId": NOBODY})
    assert (unknown.status_code, NOBODY in unknown.json()["message"]) == (404, True)
    bad = door.post(f"{shared}/executions", json={"code": "1", "executionId": "a/b"})
    assert bad.status_code == 400


def test_execute_tells_which_files_changed(door: Door, shared: str) -> None:
    door.post(f"{shared}/files", files={"file": ("given.txt", b"given")})
    code = "open('new ü.txt', 'w').write('x')\nimport os\nos.makedirs('sub', exist_ok=True)\n"
    code += "open('sub/deep.txt', 'w').write('x')\nopen('given.txt').read()"
    answer = door.post(f"{shared}/execute", json={"code": code})
    assert answer.json()["changedFiles"] == ["new ü.txt", "sub/deep.txt"]


# --- files -----------------------------------------------------------------------------------

NAMES = ["plain.csv", "two words.txt", "größe 日本.bin", "a+b&c=d%20#e.txt", 'it\'s "q".txt']


@pytest.mark.parametrize("name", NAMES)
def test_a_file_goes_there_and_back_whatever_its_name(door: Door, shared: str, name: str) -> None:
    path = f"{shared}/files/{quote(name, safe='')}"
    data = name.encode() * 3
    # Browsers and generated clients write a quote in a file name as %22.
    sent = name.replace('"', "%22")
    uploaded = door.post(f"{shared}/files", files={"file": (sent, data)})
    assert uploaded.status_code == 201
    stored = uploaded.json().removeprefix("Wrote ").removesuffix(".")
    path = f"{shared}/files/{quote(stored, safe='')}"
    assert stored in door.get(f"{shared}/files").json()
    downloaded = door.get(path)
    assert downloaded.status_code == 200
    assert downloaded.headers["Content-Type"] == "application/octet-stream"
    assert quote(stored, safe="") in downloaded.headers["Content-Disposition"]
    assert downloaded.content == data
    deleted = door.delete(path)
    assert deleted.status_code == 200
    assert door.get(path).status_code == 404
    assert door.delete(path).status_code == 404


def test_a_large_file_comes_as_a_stream_while_other_calls_are_answered(
    door: Door, shared: str
) -> None:
    size = 30 * 2**20
    run(door, shared, f"open('large.bin', 'wb').write(bytes({size}))")
    with door.get(f"{shared}/files/large.bin", stream=True) as answer:
        assert int(answer.headers["Content-Length"]) == size
        chunks = answer.iter_content(2**16)
        received = len(next(chunks))
        assert door.get("/sessions").status_code == 200
        received += sum(len(chunk) for chunk in chunks)
    assert received == size
    # One that goes away in the middle leaves no trouble behind.
    with door.get(f"{shared}/files/large.bin", stream=True) as answer:
        next(answer.iter_content(2**16))
    assert door.delete(f"{shared}/files/large.bin").status_code == 200


def test_a_file_replaces_the_one_of_its_name(door: Door, shared: str) -> None:
    for data in (b"first", b"second, longer", b""):
        assert door.post(f"{shared}/files", files={"file": ("a.txt", data)}).status_code == 201
        assert door.get(f"{shared}/files/a.txt").content == data


@pytest.mark.parametrize("body", [{"data": b"raw"}, {"files": {"other": ("a", b"a")}}])
def test_an_upload_without_its_part_is_400(door: Door, shared: str, body: dict[str, Any]) -> None:
    assert door.post(f"{shared}/files", **body).status_code == 400


@pytest.mark.parametrize("name", ["..%2Fx", "%2Fetc%2Fpasswd", "a%00b"])
def test_a_file_name_that_leads_away_is_refused(door: Door, shared: str, name: str) -> None:
    for method in ("GET", "DELETE"):
        assert door.call(method, f"{shared}/files/{name}").status_code == 400


# --- workspace -------------------------------------------------------------------------------


@pytest.mark.parametrize("pickler", [cloudpickle, dill, pickle], ids=lambda each: each.__name__)
def test_an_object_is_set_used_read_and_deleted(door: Door, shared: str, pickler: Any) -> None:
    path = f"{shared}/workspace/given"
    value = {"list": [1, 2.5, None], "text": "größe", "set": {1, 2}}
    answer = door.post(path, data=pickler.dumps(value), headers=OCTETS)
    assert answer.status_code == 200
    assert "given" in door.get(f"{shared}/workspace").json()
    assert run(door, shared, "n = len(given['list'])", "n") == {"n": 3}
    read = door.get(path)
    assert read.headers["Content-Type"] == "application/octet-stream"
    # Any of them reads what comes.
    assert [each.loads(read.content) for each in (cloudpickle, dill, pickle)] == [value] * 3
    assert door.delete(path).status_code == 200
    assert "given" not in door.get(f"{shared}/workspace").json()
    assert [door.get(path).status_code, door.delete(path).status_code] == [404, 404]


@pytest.mark.parametrize("pickler", [cloudpickle, dill], ids=lambda each: each.__name__)
def test_a_function_travels_by_value(door: Door, shared: str, pickler: Any) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "factor": 3}
    exec("def scale(x):\n    return x * factor\n", namespace)
    path = f"{shared}/workspace/scale"
    data = pickler.dumps(namespace["scale"], **({"recurse": True} if pickler is dill else {}))
    assert door.post(path, data=data, headers=OCTETS).status_code == 200
    assert run(door, shared, "y = scale(2)", "y") == {"y": 6}
    assert pickle.loads(door.get(path).content)(3) == 9


def test_an_array_of_many_bytes_goes_both_ways(door: Door, shared: str) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(2_000_000.0)
    path = f"{shared}/workspace/array"
    assert door.post(path, data=pickle.dumps(array), headers=OCTETS).status_code == 200
    assert (pickle.loads(door.get(path).content) == array).all()


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps(1)[:-1]])
def test_bytes_that_are_no_object_are_400(door: Door, shared: str, data: bytes) -> None:
    answer = door.post(f"{shared}/workspace/bad", data=data, headers=OCTETS)
    assert answer.status_code == 400
    assert "bad" not in door.get(f"{shared}/workspace").json()


@pytest.mark.parametrize("name", ["a-b", "1a", "class", "__builtins__"])
def test_a_name_that_is_none_is_400(door: Door, shared: str, name: str) -> None:
    data = pickle.dumps(1)
    assert door.post(f"{shared}/workspace/{name}", data=data, headers=OCTETS).status_code == 400
    assert door.get(f"{shared}/workspace/{name}").status_code == 400


def test_an_object_that_cannot_be_written_is_400_and_named(door: Door, shared: str) -> None:
    run(door, shared, "import threading; lock = threading.Lock()")
    answer = door.get(f"{shared}/workspace/lock")
    assert answer.status_code == 400
    assert "lock" in answer.json()["message"]


def test_what_a_pickle_does_happens_in_the_session(door: Door, shared: str) -> None:
    class Prints:
        def __reduce__(self) -> Any:
            return exec, ("import os; os.environ['MLSVC_MARK'] = str(os.getpid())",)

    door.post(f"{shared}/workspace/prints", data=pickle.dumps(Prints()), headers=OCTETS)
    seen = run(door, shared, "import os; at = os.environ['MLSVC_MARK'] == str(os.getpid())", "at")
    assert seen == {"at": True}


def test_the_inventory_has_types_digests_and_versions(door: Door, shared: str) -> None:
    run(
        door,
        shared,
        "import numpy, threading\nrow = [1, 2]\nagain = [1, 2]\nlock = threading.Lock()",
    )
    found = door.get(f"{shared}/inventory").json()
    objects = {each["name"]: each for each in found["objects"]}
    assert objects["row"]["type"] == "list"
    assert objects["row"]["digest"] == objects["again"]["digest"] is not None
    assert objects["lock"]["digest"] is None
    assert found["packages"]["numpy"] == found["installed"]["numpy"]
    assert found["pythonVersion"].startswith("3.")
    assert door.get(f"{shared}/history").json()[-1].startswith("import numpy")


def test_a_summary_of_the_inventory_has_sizes_types_and_short_values(
    door: Door, shared: str
) -> None:
    run(
        door,
        shared,
        "import numpy, threading\nrow = [1, 2]\ntable = numpy.zeros((1000, 4))\n"
        "lock = threading.Lock()\nmodel = {'weights': numpy.zeros(1000)}",
    )
    found = door.get(f"{shared}/inventory", params={"view": "summary"}).json()
    objects = {each["name"]: each for each in found["objects"]}
    assert objects["row"]["parameterType"] == "vector"
    assert objects["row"]["example"] == [1, 2]
    assert objects["table"]["parameterType"] == "matrix"
    assert objects["table"]["size"] == 32_000
    assert objects["table"]["example"] == [[0.0] * 4] * 3
    assert objects["lock"]["parameterType"] is None
    assert 8000 < objects["model"]["size"] < 9000
    assert objects["row"]["digest"] is None
    assert found["installed"] == {}


# --- its end ---------------------------------------------------------------------------------


def test_closing_ends_what_runs_and_names_it(door: Door) -> None:
    session = f"/sessions/{door.post('/sessions', json={}).json()['sessionId']}"
    code = "print('on', flush=True)\nimport time\ntime.sleep(60)"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(door.post, f"{session}/execute", json={"code": code})
        until_printed(door, session, "on")
        assert door.delete(f"{session}/force").status_code == 200
        answer = running.result()
    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert "ended" in answer.json()["errorMessage"]


@pytest.mark.parametrize(
    ("value", "told"), [("'\\ud800'", "whole characters"), ("[10 ** 5000]", "digits")]
)
def test_value_that_is_no_json_text_is_named(
    door: Door, shared: str, value: str, told: str
) -> None:
    answer = door.post(
        f"{shared}/execute", json={"code": f"odd = {value}", "outputParameters": ["odd"]}
    )
    assert answer.status_code == 200, answer.text
    assert not answer.json()["success"]
    assert answer.json()["errorMessage"].startswith("odd")
    assert told in answer.json()["errorMessage"]
    # The session goes on.
    assert run(door, shared, "odd = 1", "odd") == {"odd": 1}
