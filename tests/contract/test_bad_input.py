"""What a mistake is answered with: the status, the Error body, and a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests

from jupyter_mlsvc.wire.operations import ERROR_BODY
from tests.contract.doors import Door

pytestmark = pytest.mark.kernel

NOBODY = "0e8fd4a1-90b8-4ee7-a9f1-618430a2febf"
MEMBERS = set(ERROR_BODY.__struct_encode_fields__)


def assert_error(answer: requests.Response, status: int, *words: str) -> None:
    """Check the status, the shape of the body, and that the message has certain words."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert {"message", "link", "exceptionType"} <= set(body) <= MEMBERS, body
    assert body["exceptionType"].endswith("Exception")
    for word in words:
        assert word in body["message"], body["message"]
    assert "Traceback" not in body["message"]
    assert "jupyter_mlsvc_server" not in body["message"]


UNKNOWN = [
    ("DELETE", f"/sessions/{NOBODY}", "session"),
    ("DELETE", f"/sessions/{NOBODY}/force", "session"),
    ("POST", f"/sessions/{NOBODY}/execute", "session"),
    ("POST", f"/sessions/{NOBODY}/cancel", "session"),
    ("GET", f"/sessions/{NOBODY}/console-output", "session"),
    ("GET", f"/sessions/{NOBODY}/history", "session"),
    ("GET", f"/sessions/{NOBODY}/files", "session"),
    ("GET", f"/sessions/{NOBODY}/workspace", "session"),
    ("POST", f"/sessions/{NOBODY}/snapshot", "session"),
    ("GET", f"/snapshots/{NOBODY}", "snapshot"),
    ("DELETE", f"/snapshots/{NOBODY}", "snapshot"),
    ("GET", "/services/nothing/1.0", "service"),
    ("PATCH", "/services/nothing/1.0", "service"),
    ("DELETE", "/services/nothing/1.0", "service"),
    ("GET", "/api/nothing/1.0/swagger.json", "service"),
    ("POST", "/api/nothing/1.0", "service"),
    ("GET", "/nowhere", "/nowhere"),
]


@pytest.mark.parametrize(
    ("method", "path", "word"), UNKNOWN, ids=[f"{m} {p}" for m, p, _ in UNKNOWN]
)
def test_what_is_not_there_is_404(door: Door, method: str, path: str, word: str) -> None:
    assert_error(door.call(method, path, json={"code": "1"}), 404, word)


CLAIMS = {"iss": "jupyter-mlsvc", "sub": "admin", "jti": NOBODY, "exp": 4102444800}
TOKENS = {
    "none": None,
    "nonsense": "nonsense",
    "forged": jwt.encode(CLAIMS, "k" * 64, algorithm="HS512"),
    "unsigned": jwt.encode(CLAIMS, "", algorithm="none"),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("path", ["/status", "/services", "/swagger.json", "/nowhere"])
def test_nothing_but_health_is_open_without_a_valid_token(
    door: Door, path: str, token: str | None
) -> None:
    answer = door.with_token(token).get(path)
    assert_error(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_forged_token_is_called_invalid(door: Door) -> None:
    answer = door.with_token(TOKENS["forged"]).get("/status")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_health_needs_no_token(door: Door) -> None:
    assert door.with_token(None).get("/health/ready").status_code == 200


def test_a_wrong_password_is_401(door: Door) -> None:
    wrong = {"username": "admin", "password": "not the password"}
    assert_error(door.with_token(None).post("/login", json=wrong), 401, "password")


BODIES: list[tuple[str, str, bytes, str]] = [
    ("POST", "/services/x/1", b"{nonsense", "JSON"),
    ("POST", "/services/x/1", b"[1]", "object"),
    ("POST", "/services/x/1", b"\xff\xfe", "JSON"),
    ("POST", "/services/x/1", b'{"code": 1}', "code"),
    ("POST", "/services/x/1", b"{}", "code"),
    ("POST", "/login", b'{"username": "admin"}', "password"),
    ("POST", "/sessions", b'{"runtimeType": "Cobol"}', "Cobol"),
    ("POST", "/sessions", b'{"name": 7}', "name"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "word"), BODIES, ids=[f"{p} {b[:20]!r}" for _, p, b, _ in BODIES]
)
def test_a_body_that_does_not_fit_is_400(
    door: Door, method: str, path: str, body: bytes, word: str
) -> None:
    assert_error(door.call(method, path, data=body), 400, word)


def _definition(**changes: Any) -> dict[str, Any]:
    return {
        "code": "y = x",
        "inputParameterDefinitions": [{"name": "x", "type": "numeric"}],
        "outputParameterDefinitions": [{"name": "y", "type": "numeric"}],
        "runtimeType": "Python",
    } | changes


PUBLISHED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "syntax error": ({"code": "y = 1\ny = (x"}, ["line 2", "^", "(x"]),
    "syntax error in initCode": ({"initCode": "def f(:"}, ["initCode", "^"]),
    "unknown type": (
        {"inputParameterDefinitions": [{"name": "x", "type": "vektor"}]},
        ["'x'", "'vektor'", "vector"],
    ),
    "no identifier": (
        {"inputParameterDefinitions": [{"name": "not a name", "type": "vector"}]},
        ["not a name", "identifier"],
    ),
    "twice": ({"outputParameterDefinitions": [{"name": "y"}, {"name": "y"}]}, ["'y'", "twice"]),
    "file outside": ({"outputFileNames": ["../secret"]}, ["../secret"]),
    "bad alias": ({"operationId": "1x"}, ["operationId", "1x"]),
}


@pytest.mark.parametrize(("changes", "words"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_definition_that_cannot_run_is_refused_and_nothing_is_left(
    door: Door, service_name: str, changes: dict[str, Any], words: list[str]
) -> None:
    path = f"/services/{service_name}/1.0"
    assert_error(door.post(path, json=_definition(**changes)), 400, *words)
    assert door.get(f"/services/{service_name}").json() == []
    assert_error(door.post(f"/api/{service_name}/1.0", json={"x": 1}), 404)


@pytest.mark.parametrize("name", ["%20x", "x%2Fy", "a" * 129, "caf%C3%A9", "x%00"])
def test_a_name_outside_the_rule_is_refused(door: Door, name: str) -> None:
    answer = door.post(f"/services/{name}/1.0", json=_definition())
    assert_error(answer, 400, "service name")


def test_an_unknown_snapshot_is_404(door: Door, service_name: str) -> None:
    answer = door.post(f"/services/{service_name}/1", json=_definition(snapshotId=NOBODY))
    assert_error(answer, 404, NOBODY)


def test_the_same_version_again_is_409(door: Door, published: str) -> None:
    answer = door.post(f"/services/{published}/1.0", json=_definition())
    assert_error(answer, 409, "1.0", "PATCH")


def test_a_patch_that_does_not_fit_changes_nothing(door: Door, published: str) -> None:
    before = door.get(f"/services/{published}/1.0").json()
    change = {"description": "new", "code": "total = ("}
    assert_error(door.patch(f"/services/{published}/1.0", json=change), 400, "^")
    assert door.get(f"/services/{published}/1.0").json() == before
    answer = door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2})
    assert answer.json()["outputParameters"] == {"total": 3}


INPUTS: dict[str, tuple[Any, list[str]]] = {
    "missing": ({"a": 1}, ["'b'", "missing"]),
    "extra": ({"a": 1, "b": 2, "c": 3}, ["'c'"]),
    "wrong type": ({"a": 1, "b": "two"}, ["b", "integer", "two"]),
    "fraction": ({"a": 1, "b": 2.5}, ["b", "integer", "2.5"]),
    "not an object": ([1, 2], ["object"]),
}


@pytest.mark.parametrize(("body", "words"), INPUTS.values(), ids=INPUTS)
def test_inputs_that_do_not_fit_are_400_and_named(
    door: Door, published: str, body: Any, words: list[str]
) -> None:
    assert_error(door.post(f"/api/{published}/1.0", json=body), 400, *words)


def test_code_that_raises_answers_with_the_users_own_traceback(
    door: Door, service_name: str
) -> None:
    code = "def ratio(x):\n    return 1 / x\nprint('before')\ny = ratio(x)"
    assert door.post(f"/services/{service_name}/1", json=_definition(code=code)).ok
    answer = door.post(f"/api/{service_name}/1", json={"x": 0.0})
    body = answer.json()
    assert (answer.status_code, body["success"]) == (200, False)
    assert body["errorMessage"] == "ZeroDivisionError: float division by zero"
    assert body["consoleOutput"].startswith("before\n")
    assert "return 1 / x" in body["consoleOutput"]
    assert "jupyter_mlsvc" not in body["consoleOutput"]
    assert body["outputParameters"] == {}
    door.delete(f"/services/{service_name}/1")


def test_a_body_over_the_limit_is_413(door: Door, published: str) -> None:
    body = b'{"a": 1, "b": ' + b"1" * (65 * 2**20) + b"}"
    assert_error(door.post(f"/api/{published}/1.0", data=body), 413, "larger")


def test_what_a_snapshot_cannot_keep_is_named_and_the_code_that_needs_it_refused(
    door: Door, session_id: str, service_name: str
) -> None:
    code = "import threading\nlock = threading.Lock()\nkept = 5"
    door.post(f"/sessions/{session_id}/execute", json={"code": code})
    snapshot = door.post(f"/sessions/{session_id}/snapshot", json={}).json()
    (skipped,) = snapshot["skipped"]
    assert skipped["name"] == "lock"
    assert "lock" in skipped["reason"]
    needs_it = _definition(code="y = lock.locked()", snapshotId=snapshot["snapshotId"])
    answer = door.post(f"/services/{service_name}/1", json=needs_it)
    assert_error(answer, 400, "lock", "thread lock")
    door.delete(f"/snapshots/{snapshot['snapshotId']}")


class TestOtherPeople:
    """What belongs to somebody else."""

    def test_sessions_and_snapshots_are_as_if_not_there(
        self, door: Door, session_id: str, people: Callable[[str], str]
    ) -> None:
        snapshot = door.post(f"/sessions/{session_id}/snapshot", json={}).json()["snapshotId"]
        other = door.with_token(people("ana"))
        assert other.get("/sessions").json() == []
        assert other.get("/snapshots").json() == []
        assert_error(other.post(f"/sessions/{session_id}/execute", json={"code": "1"}), 404)
        assert_error(other.delete(f"/sessions/{session_id}"), 404)
        assert_error(other.get(f"/snapshots/{snapshot}"), 404)
        assert_error(other.delete(f"/snapshots/{snapshot}"), 404)

    def test_a_snapshot_cannot_be_published_by_another(
        self, door: Door, session_id: str, service_name: str, people: Callable[[str], str]
    ) -> None:
        snapshot = door.post(f"/sessions/{session_id}/snapshot", json={}).json()["snapshotId"]
        other = door.with_token(people("ana"))
        answer = other.post(f"/services/{service_name}/1", json=_definition(snapshotId=snapshot))
        assert_error(answer, 403, "another user")

    def test_a_service_is_read_and_called_but_not_changed_and_its_code_is_hidden(
        self, door: Door, published: str, people: Callable[[str], str]
    ) -> None:
        path = f"/services/{published}/1.0"
        for name in ("ana", "rita"):
            other = door.with_token(people(name))
            (service,) = other.get(path).json()
            assert service["myPermissionOnService"] == "read only"
            assert not {"code", "initCode"} & set(service)
            assert other.post(f"/api/{published}/1.0", json={"a": 1, "b": 1}).json()["success"]
            assert_error(other.patch(path, json={"description": "mine"}), 403)
            assert_error(other.delete(path), 403)
            assert_error(other.post(f"/services/{published}/2.0", json=_definition()), 403)

    def test_a_reader_publishes_nothing(
        self, door: Door, service_name: str, people: Callable[[str], str]
    ) -> None:
        reader = door.with_token(people("rita"))
        answer = reader.post(f"/services/{service_name}/1", json=_definition())
        assert_error(answer, 403, "publish")

    def test_an_owner_changes_and_deletes_what_others_published(
        self, door: Door, service_name: str, people: Callable[[str], str]
    ) -> None:
        other = door.with_token(people("ben"))
        path = f"/services/{service_name}/1"
        assert other.post(path, json=_definition()).status_code == 201
        assert door.patch(path, json={"description": "checked"}).status_code == 200
        assert door.get(path).json()[0]["versionPublishedBy"] == "ben"
        assert door.delete(path).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Expect": "100-continue"}], ids=["plain", "by the application"]
)
def test_each_refusal_of_a_call_has_the_id_of_its_request(
    door: Door, published: str, headers: dict[str, str]
) -> None:
    bodies = [{"a": "x", "b": 1}, {"a": 1}, {"a": 1, "b": 2, "c": 3}]
    for path in (f"/api/{published}/1.0", "/api/none-such/1.0"):
        for body in bodies:
            answer = door.post(path, json=body, headers=headers)
            assert answer.status_code in {400, 404}, answer.text
            assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
