"""The environment that Binder makes of this repository runs the walkthrough."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import REPOSITORY
from .environment import needed

BINDER = REPOSITORY / ".binder"


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """What is run once the requirements are there."""
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    lines = [shlex.split(line, comments=True) for line in script.read_text().splitlines()]
    return [words for words in lines if words and words[0] != "set"]


def test_the_walkthrough_finds_what_it_imports(commands: list[list[str]]) -> None:
    (wanted,) = [words[-1] for words in commands if words[:2] == ["pip", "install"]]
    package = Requirement(wanted.replace(".", "jupyter-mlsvc", 1))
    names = (BINDER / "requirements.txt").read_text().split()
    brought = needed([str(package), *names])
    assert {"jupyter-mlsvc", "jupyterlab", "uvicorn"} <= brought.keys()

    notebook = json.loads((REPOSITORY / "notebooks/01-iris-walkthrough.ipynb").read_text())
    code = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"])
    modules = set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))
    assert modules
    providers = metadata.packages_distributions()
    missing = {
        module
        for module in modules
        if not {canonicalize_name(name) for name in providers[module]} & brought.keys()
    }
    assert missing == set()


def test_python_is_one_that_is_supported() -> None:
    version = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    classifiers = metadata.metadata("jupyter-mlsvc").get_all("Classifier") or []
    assert f"Programming Language :: Python :: {version}" in classifiers


def test_programs_of_the_build_are_there(commands: list[list[str]]) -> None:
    programs = {words[0] for words in commands} | {
        f"{words[0]}-{words[1]}" for words in commands if words[0] == "jupyter"
    }
    assert {program for program in programs if shutil.which(program) is None} == set()
