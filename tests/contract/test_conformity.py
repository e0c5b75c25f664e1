"""The look at every answer sees what is wrong with one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.conformity import Answer, Unexpected, check_answer
from tests.contract.doors import Door
from tests.reference import ABSENT, SWAGGER

JSON = "application/json"
RESULT = {
    "success": True,
    "errorMessage": "",
    "outputParameters": {"y": 1},
    "outputFiles": {"a.txt": None},
    "consoleOutput": "",
    "changedFiles": [],
}
PROBLEM = {"message": "There is none.", "link": "", "exceptionType": "NotFoundException"}


def answer(method: str, path: str, status: int, body: Any, content_type: str = JSON) -> Answer:
    return Answer(
        method, f"http://localhost{path}", status, content_type, json.dumps(body).encode()
    )


GOOD = [
    answer("GET", "/sessions/1/history", 200, ["x = 1"]),
    answer("GET", "/hub/user%20name/mlsvc/sessions/1/history", 200, ["x = 1"]),
    answer("POST", "/api/svc/1.0", 200, RESULT),
    answer("GET", "/services/mlsvc/1.0", 404, PROBLEM),
    answer("GET", "/nowhere", 404, PROBLEM),
    answer("GET", "/health/live", 200, {"status": "alive"}),
]
WRONG = {
    "a status that is not listed": answer("POST", "/sessions", 202, {"sessionId": "1"}),
    "a member that is missing": answer("POST", "/sessions", 201, {}),
    "a member of another type": answer("POST", "/sessions", 201, {"sessionId": 1}),
    "another type behind a prefix": answer("GET", "/lab/mlsvc/sessions/1/history", 200, [1]),
    "an error without its body": answer("GET", "/services/svc/1.0", 404, {"detail": "none"}),
    "an error of an unknown path": answer("GET", "/nowhere", 404, "none"),
    "text in place of JSON": answer("GET", "/sessions", 200, [], "text/plain"),
    "half a consume answer": answer("POST", "/api/svc/1.0", 200, {"success": True}),
    "a quoted batch": answer("GET", "/lab/mlsvc/api/svc/1.0/batch/1", 200, "Complete"),
    "a service document that is none": answer("GET", "/api/svc/1.0/swagger.json", 200, {}),
}


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.url)
def test_what_the_contract_says_passes(good: Answer) -> None:
    check_answer(good)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_it_does_not_say_is_found(wrong: Answer) -> None:
    with pytest.raises(Unexpected, match="answered"):
        check_answer(wrong)


def test_microsofts_document_counts_beside_ours() -> None:
    if not SWAGGER.exists():
        pytest.skip(ABSENT)
    check_answer(answer("GET", "/sessions", 200, [_session(runtimeType="Python")]))
    with pytest.raises(Unexpected, match="Cobol"):
        check_answer(answer("GET", "/sessions", 200, [_session(runtimeType="Cobol")]))


def _session(**members: Any) -> dict[str, Any]:
    return {"id": "1", "name": "a", "owner": "ana", "runtimeType": "R"} | members


@pytest.mark.kernel
def test_answers_are_looked_at_whoever_asks(
    door: Door, unexpected_answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(answer: Answer) -> None:
        raise Unexpected(f"{answer.method} {answer.status} {answer.body!r}")

    monkeypatch.setattr("tests.watching.check_answer", refuse)
    requests.get(f"{door.url}/sessions", timeout=30)
    with requests.Session() as session:
        session.get(f"{door.url}/health/live", stream=True, timeout=30)
    found = list(unexpected_answers)
    # They were wanted.
    unexpected_answers.clear()
    assert found[0].startswith("GET 401 b'{")
    assert found[1].startswith("GET 200 b'{")
