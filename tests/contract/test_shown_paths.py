"""No answer shows where the server keeps its files, or its libraries."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.formats.shown_paths import without_folders, without_paths
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door

pytestmark = pytest.mark.kernel


@pytest.fixture
def secrets(mlsvc_server: ServerProcess) -> list[str]:
    """What may be in no answer."""
    return [str(mlsvc_server.data_dir), sys.prefix, sys.base_prefix, "site-packages", "/usr/lib/R/"]


@pytest.fixture(scope="module")
def session_id(door: Door) -> Iterator[str]:
    """A session that all tests here share."""
    identifier = door.post("/sessions", json={"runtimeType": "Python"}).json()["sessionId"]
    yield identifier
    door.delete(f"/sessions/{identifier}")


def assert_hidden(text: str, secrets: list[str]) -> None:
    """Check that a text shows nothing of the server."""
    assert not [secret for secret in secrets if secret in text], text


PYTHON: dict[str, tuple[str, str]] = {
    "a library": (
        "from sklearn.svm import SVC\nSVC().predict([[1.0]])",
        "sklearn/",
    ),
    "another": ("import pandas\npandas.DataFrame({'a': [1]})['b']", "pandas/core/"),
    "the standard library": ("import json\njson.loads('{')", "json/decoder.py"),
    "a name that a module has not": ("from pandas import nothing_like_it", "pandas/__init__.py"),
    "a warning of a library": (
        "from sklearn.linear_model import LogisticRegression as L\n"
        "L(max_iter=1).fit([[1.0], [2.0], [3.0]], [0, 1, 0])\nraise ValueError('seen')",
        "ConvergenceWarning",
    ),
    "a file of the working directory": (
        "import os, sys\nopen('helper_of_mine.py', 'w').write('def f():\\n    return 1 / 0')\n"
        "sys.path.insert(0, os.getcwd())\nimport helper_of_mine\nhelper_of_mine.f()",
        "helper_of_mine.py",
    ),
    "a file that is not there": ("import os\nopen(os.path.abspath('none.csv'))", "'none.csv'"),
    "the working directory": ("import os\nraise ValueError(os.getcwd())", "ValueError: ."),
}


@pytest.mark.parametrize(("code", "word"), PYTHON.values(), ids=PYTHON)
def test_a_session_shows_paths_of_libraries_only(
    door: Door, session_id: str, secrets: list[str], code: str, word: str
) -> None:
    answer = door.post(f"/sessions/{session_id}/execute", json={"code": code})
    assert answer.json()["success"] is False
    assert word in answer.json()["consoleOutput"] + answer.json()["errorMessage"]
    assert_hidden(answer.text, secrets)
    execution = door.get(f"/sessions/{session_id}/executions").json()[-1]["executionId"]
    events = door.get(f"/sessions/{session_id}/executions/{execution}/events")
    assert_hidden(events.text, secrets)


def called(door: Door, code: str, runtime: str) -> Any:
    """Publish code, call it, and give the answer."""
    path = f"svc-{uuid.uuid4().hex[:8]}/V1"
    body = {"code": code, "runtimeType": runtime}
    published = door.post(f"/services/{path}", json=body)
    if published.status_code != 201:
        return published
    answer = door.post(f"/api/{path}", json={})
    door.delete(f"/services/{path}")
    return answer


@pytest.mark.parametrize(("code", "word"), PYTHON.values(), ids=PYTHON)
def test_a_service_shows_paths_of_libraries_only(
    door: Door, secrets: list[str], code: str, word: str
) -> None:
    answer = called(door, code, "Python")
    assert word in answer.text
    assert_hidden(answer.text, secrets)


R = {
    "an error of a package": "stats::lm(y ~ x, data = list())",
    "a package that is not there": "library(nothing.like.it)",
    "a file that is not there": "read.csv(file.path(getwd(), 'none.csv'))",
    "a broken file of a package": "stop(system.file('Meta', package = 'stats'), '/x is corrupt')",
}


@pytest.mark.usefixtures("needs_r")
@pytest.mark.parametrize("code", R.values(), ids=R)
def test_r_shows_paths_of_libraries_only(door: Door, secrets: list[str], code: str) -> None:
    assert_hidden(called(door, code, "R").text, secrets)
    session = door.post("/sessions", json={"runtimeType": "R"}).json()["sessionId"]
    answer = door.post(f"/sessions/{session}/execute", json={"code": code})
    assert answer.json()["success"] is False
    assert_hidden(answer.text, secrets)
    door.delete(f"/sessions/{session}")


def test_a_snapshot_whose_files_are_in_the_way_says_which(
    door: Door, session_id: str, secrets: list[str]
) -> None:
    path = f"/sessions/{session_id}"
    door.post(f"{path}/execute", json={"code": "open('way', 'w').write('1')"})
    snapshot = door.post(f"{path}/snapshot", json={}).json()["snapshotId"]
    code = "import os; os.remove('way'); os.makedirs('way/deep')"
    door.post(f"{path}/execute", json={"code": code})
    answer = door.post(f"{path}/loadsnapshot/{snapshot}")
    assert answer.status_code == 400
    assert "way" in answer.json()["message"]
    assert_hidden(answer.text, secrets)
    door.post(f"{path}/execute", json={"code": "import shutil; shutil.rmtree('way')"})
    door.delete(f"/snapshots/{snapshot}")


def test_the_status_names_its_log_without_a_folder(door: Door, secrets: list[str]) -> None:
    status = door.get("/status")
    assert "/" not in status.json()["details"]["logPath"]
    (backend,) = status.json()["components"]["backends"]["components"].values()
    assert backend["details"]["logPath"] == status.json()["details"]["logPath"]
    assert_hidden(status.text, secrets)


def test_who_calls_sees_no_folder_and_the_log_has_all_of_it(door: Door) -> None:
    path = f"svc-{uuid.uuid4().hex[:8]}/V1"
    file = "/var/models/nobody/risk.bin"
    door.post(f"/services/{path}", json={"code": f"open({file!r})"})
    answer = door.post(f"/api/{path}", json={}).json()
    assert answer["errorMessage"].endswith("No such file or directory: 'risk.bin'")
    assert "/var/models" not in answer["consoleOutput"].replace(f"open({file!r})", "")
    (entry,) = door.get(f"/services/{path}/logs").json()
    assert f"directory: '{file}'" in entry["text"]
    door.delete(f"/services/{path}")


FOLDERS = {
    'File "/usr/local/team/helpers.py", line 3': 'File "helpers.py", line 3',
    "no '/var/data/a.csv', and /tmp/x/y": "no 'a.csv', and y",
    "GET https://host/usr/lib/x and /api/loans/1": "GET https://host/usr/lib/x and /api/loans/1",
    "3/usr/4 and sklearn/usr/base.py": "3/usr/4 and sklearn/usr/base.py",
    "/var": "/var",
}


@pytest.mark.parametrize(("text", "shown"), FOLDERS.items())
def test_files_of_this_machine_have_no_folder_for_who_calls(text: str, shown: str) -> None:
    assert without_folders(text) == shown


TEXTS = {
    'File "/opt/ve/lib/python3.12/site-packages/a/b.py", line 3': 'File "a/b.py", line 3',
    "File \x1b[32m~/ve/lib/python3.9/site-packages/a.py:7\x1b[39m": "File \x1b[32ma.py:7\x1b[39m",
    "File \x1b[1;32m/usr/lib/python3.9/json/x.py:7": "File \x1b[1;32mjson/x.py:7",
    "from 'x' (/usr/lib/python3/dist-packages/x.py)": "from 'x' (x.py)",
    "error in /usr/local/lib/R/site-library/jsonlite/R/x.rdb": "error in jsonlite/R/x.rdb",
    "no path: a/site-packages/b and c": "no path: a/site-packages/b and c",
    "/home/me/data.csv": "/home/me/data.csv",
    "/srv/place/a.py and /srv/place/b.py": "a.py and b.py",
    "nothing": "nothing",
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.items())
def test_only_what_comes_before_a_librarys_own_path_is_left_out(text: str, shown: str) -> None:
    assert without_paths(text, ["/srv/place"]) == shown


def test_this_pythons_own_folders_are_known_whatever_they_are_called() -> None:
    assert without_paths(f"{Path(pytest.__file__)}: 1") == "pytest/__init__.py: 1"


def test_a_long_text_takes_no_longer_than_it_is() -> None:
    text = "x" * 50_000 + "/site-packages/" * 20_000 + "/" + "y" * 50_000
    assert len(without_paths(text)) <= len(text)
