"""What frameworks are asked, and how their answers are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .catalogue import FRAMEWORKS, Framework

ANSWERS: dict[str, Any] = {
    "BentoML": ["I. setosa"],
    "MLflow": {"predictions": [0]},
    "LitServe": {"iris_species": ["I. setosa"]},
    "MLServer": {"id": "2", "outputs": [{"name": "predict", "shape": [1, 1], "data": [0]}]},
    "KServe": {"predictions": ["I. setosa"]},
    "Ray Serve": {"iris_species": ["I. setosa"]},
    "Ray Serve, HAProxy": {"iris_species": ["I. setosa"]},
}


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=list(FRAMEWORKS))
def test_the_answer_of_each_framework_is_read_as_species(framework: Framework) -> None:
    assert framework.species(ANSWERS[framework.name]) == ["I. setosa"]


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=list(FRAMEWORKS))
def test_each_body_has_one_row(framework: Framework) -> None:
    for question, row in zip(framework.questions, ("[7, 3.2", "[3, 2.6", "[5.1, 3.5"), strict=True):
        assert json.dumps(question).count(row) == 1


def test_every_framework_asks_for_its_package_and_the_model() -> None:
    for framework in FRAMEWORKS.values():
        assert any(one.startswith(framework.package) for one in framework.requirements)
        assert any(one.startswith("scikit-learn>=") for one in framework.requirements)


def test_frameworks_that_share_an_environment_want_the_same_in_it() -> None:
    by_folder: dict[str, set[str]] = {}
    for framework in FRAMEWORKS.values():
        environment = framework.environment
        by_folder.setdefault(environment.folder.name, set()).add(environment.fingerprint)
    assert {folder: len(lists) for folder, lists in by_folder.items() if len(lists) != 1} == {}
