"""What a version says about itself, on the wire, and what it refuses before its code runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error

pytestmark = pytest.mark.kernel

APPLICANT: dict[str, Any] = {
    "name": "applicant",
    "type": "data.frame",
    "description": "Who asks for a loan.",
    "columns": [
        {"name": "income", "type": "number", "nullable": False, "description": "Euros a year."},
        {"name": "region", "type": "string", "categories": ["north", "south"]},
    ],
}
ROW = {"income": 2500, "region": "north"}


def test_a_description_is_kept_shown_and_checked_before_the_code(
    door: Door, service_name: str
) -> None:
    path = f"/services/{service_name}/1"
    body = {
        "code": "risk = applicant['income'] / 1000",
        "tags": ["credit"],
        "inputParameterDefinitions": [APPLICANT],
        "outputParameterDefinitions": [{"name": "risk", "type": "vector"}],
        "check": {"inputs": {"applicant": [ROW]}, "asExample": True},
    }
    assert_error(door.post(path, json=body | {"tags": [""]}), 400)
    assert door.post(path, json=body).status_code == 201
    (view,) = door.get(path).json()
    assert view["inputParameterDefinitions"] == [APPLICANT]
    assert view["tags"] == ["credit"]
    assert view["examples"] == [{"inputs": {"applicant": [ROW]}, "outputs": {"risk": [2.5]}}]

    for value, message in {
        "incom": "Input applicant lacks the column 'income' (did you mean it by 'incom'?).",
        "income": """Input applicant["income"][0] must be a value, got null.""",
    }.items():
        answer = door.post(f"/api/{service_name}/1", json={"applicant": [{value: None, **REGION}]})
        assert_error(answer, 400)
        assert answer.json()["message"] == message
        assert answer.json()["inputs"] == {"applicant": message}
    answer = door.post(f"/api/{service_name}/1", json={"applicant": [ROW | {"more": 1}]})
    assert answer.json()["outputParameters"] == {"risk": [2.5]}

    assert door.patch(path, json={"tags": [], "examples": []}).status_code == 200
    (view,) = door.get(path).json()
    assert {"tags", "examples"}.isdisjoint(view)
    door.delete(path)


REGION = {"region": "north"}
