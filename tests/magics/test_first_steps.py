"""What somebody sees who fits a model, publishes it and has never heard of sessions."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.publishing import check_name, publish, suggest
from jupyter_mlsvc_server.launch import ServerProcess
from tests.docs.tables import README, ROOT

from .conftest import Run, ShownError

pytestmark = pytest.mark.kernel

FIT: Final = """
import pandas as pd
from sklearn.linear_model import LogisticRegression
loans = pd.DataFrame({"income": [1.0, 2.0, 3.0, 4.0] * 5, "age": [20, 30, 40, 50] * 5})
pipe = LogisticRegression().fit(loans, loans.age > 30)
applicant = loans.head(8)
"""
CELL: Final = "risk = pipe.predict(applicant)"


def python_cells(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_first_cell_after_a_fit_publishes_it(run: Run, connection: MlsvcConnection) -> None:
    run(FIT).result.raise_error()
    ran = run(f"%%publish Loans -i applicant:data.frame -o risk:vector\n{CELL}")
    told = ran.stdout.split("Out[")[0].splitlines()
    assert re.fullmatch(r"Taken from this notebook: pipe \([\d.]+ k?B\)\.", told[0])
    assert told[1] == ("Tried with applicant (5 rows): risk = [False, False, True, True, False]")
    assert "session" not in ran.stdout + ran.stderr
    assert ran.value.version == "V1.0"
    answer = run("%consume Loans applicant=loans.head(3)").value
    assert answer.risk == [False, False, True]
    assert list(connection.client.sessions.list()) == []
    assert list(connection.client.snapshots.list()) == []
    assert run(f"%%publish Loans\n{CELL}").value.version == "V1.1"


def test_a_cell_that_yields_is_published_and_shown_item_by_item(run: Run) -> None:
    run("prompt = 'a b'").result.raise_error()
    ran = run("%%publish Words -i prompt -o words:character\nfor each in prompt: yield each + '.'")
    assert "Tried with prompt='a b': words = 'a. .b.'" in ran.stdout
    assert ran.value.outputs[0].streams
    shown = run("%consume --stream Words prompt='xyz'")
    assert shown.stdout == "x.y.z.\n"
    assert shown.value is None
    assert run("%consume Words prompt='xyz'").value.words == "x.y.z."


@pytest.fixture
def in_own_kernel(
    user_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of kernels of the server's own JupyterLab."""
    connection = {"url": user_server.notebook_url, "token": user_server.jupyter_token}
    file = tmp_path / "connection.json"
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    monkeypatch.setenv("MLSVC_CONNECTION_FILE", str(file))


@pytest.mark.usefixtures("in_own_kernel")
@pytest.mark.parametrize(
    ("page", "before"),
    [
        ("README.md", 0),
        ("server_ext/docs/how-to/publish-from-a-notebook.md", 2),
        ("server_ext/docs/how-to/call-from-python.md", 2),
    ],
)
def test_the_lines_of_a_page_work_one_after_the_other(run: Run, page: str, before: int) -> None:
    for cell in (FIT, *python_cells(README)[:before]):
        run(cell).result.raise_error()
    cells = python_cells(ROOT / page)
    assert len(cells) >= 3
    for cell in cells:
        run(cell).result.raise_error()


def test_a_service_is_given_to_a_colleague_as_the_page_says(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%publish churn V1.0 -i tenure:integer -o risk:numeric risk = tenure / 24")
    page = (ROOT / "server_ext/docs/how-to/give-a-service-to-a-colleague.md").read_text()
    create, listing, revoke = re.findall(r"^%mlsvc .*", page, re.MULTILINE)
    made = run(create).value
    assert "only on this machine" in repr(made)
    (curl,) = re.findall(r"```bash\n(curl .*)\n", page)
    curl = curl.replace("http://localhost:12800", connection.client.url)

    def call(line: str) -> dict[str, Any]:
        done = subprocess.run(
            ["bash", "-c", line],
            env=os.environ | {"KEY": made.key},
            capture_output=True,
            check=True,
            timeout=60,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    assert call(curl)["outputParameters"] == {"risk": 0.5}
    assert call(made.curl)["success"] is True
    (key,) = run(listing).value
    assert (key.name, key.note, key.calls) == ("billing", "monthly invoices", 2)
    assert "its next call is refused" in run(revoke).stdout
    assert "not valid (any more)" in call(curl)["message"]
    for wrong in ("create x", "create x --all --services churn", "list --days 3", "make x"):
        assert isinstance(run(f"%mlsvc key {wrong}").error, UsageError)
    refused = str(run("%mlsvc key create x --services nothing").error)
    assert refused == "There is no service 'nothing'; a key is for services that are published."


def test_a_session_keeps_its_objects_where_somebody_says_so(run: Run) -> None:
    run("%remote_exec RATE = 5")
    run("RATE = 1").result.raise_error()
    cell = "-i '' -o y\ny = RATE"
    run(f"%%publish Kept --as-in-session {cell}").result.raise_error()
    assert run("%consume Kept").value.y == 5
    found = suggest(f"%%publish Kept {cell}")
    assert [(each["name"], each["reason"]) for each in found["sendable"]] == [("RATE", "differs")]
    members = {name: found[name] for name in ("name", "version", "code", "inputs", "outputs")}
    place = {"session": found["session"]["name"]}
    assert publish(**members, **place, asInSession=["RATE"])["sent"] == []
    assert run("%consume Kept").value.y == 5
    sent = run(f"%%publish Kept {cell}")
    assert "Sent RATE, 5 B: it differed from that of session 'default'." in sent.stdout
    assert run("%consume Kept").value.y == 1


def test_an_old_notebook_of_a_session_goes_on_with_its_objects(run: Run) -> None:
    run("%remote_exec factor = 3")
    ran = run("%%publish Triple -i x:numeric -o y\ny = x * factor")
    assert "Sent" not in ran.stdout
    assert run("%consume Triple x=2").value.y == 6


def test_a_dialog_knows_what_kind_of_service_a_cell_makes(run: Run) -> None:
    run(FIT + "def score(income: float, age: int = 3) -> float:\n    return income").value  # noqa: B018
    model = suggest("pipe.fit(loans, loans.age > 30)")
    assert (model["kind"], model["model"], model["name"]) == ("model", "pipe", "pipe")
    assert model["problems"] == []
    function = suggest("def score(income: float, age: int = 3) -> float:\n    return income")
    assert (function["kind"], function["function"]) == ("function", "score")
    assert function["code"] == "answer = score(income=income, age=age)\n"
    optional = {each["name"]: each.get("default") for each in function["inputs"]}
    assert optional == {"income": None, "age": 3}
    several = suggest(sources=["%%publish Loans V7\nn = 1", "risk = pipe.predict(applicant)"])
    assert (several["name"], several["version"]) == ("Loans", "V7")
    assert several["code"] == "n = 1\n\nrisk = pipe.predict(applicant)\n"
    nothing = suggest("# nothing")["problems"]
    assert nothing == ["The code sets no variable that could be an output."]


def test_a_name_and_a_version_are_looked_up_while_somebody_types(
    run: Run, on_server: InteractiveShell
) -> None:
    on_server.user_ns["x"] = 1
    run("%publish Typed V1.0 -i x -o y --no-check y = x").result.raise_error()
    free = {"ok": True, "message": "", "versions": ["V1.0"], "next": "V1.1"}
    assert check_name("Typed") == {**free, "neverAnswered": False}
    taken = check_name("Typed", "V1.0")
    assert (taken["ok"], taken["neverAnswered"]) == (False, True)
    assert taken["message"] == "Typed V1.0 exists already. The next version is V1.1."
    assert check_name("Typed", "V2")["ok"] is True
    assert check_name("Other")["next"] == "V1.0"
    assert "no valid service name" in check_name("a/b")["message"]


def test_a_dialog_says_what_would_help(run: Run, on_server: InteractiveShell) -> None:
    on_server.user_ns["x"] = 1
    run("%publish Helped V1.0 -i x -o y y = x").result.raise_error()
    rows = {"inputs": [{"name": "x", "type": "integer"}], "outputs": [{"name": "y", "type": ""}]}
    conflict = publish(name="Helped", version="V1.0", code="y = x", **rows)["error"]
    assert (conflict["code"], conflict["next"], conflict["force"]) == ("conflict", "V1.1", False)
    assert conflict["message"] == "Version 'V1.0' of service 'Helped' exists already."
    failing = publish(name="Helped", code="y = x / 0", **rows)["error"]
    assert failing["force"] is True
    assert "ZeroDivisionError" in failing["message"]
    assert "force" not in failing["message"]
    assert publish(name="Helped", code="y = x / 0", force=True, **rows)["error"] is None
    unset = publish(name="Helped", code="z = x", **rows)["error"]
    assert (unset["force"], unset["message"]) == (True, "The code never sets the output 'y'.")
    nameless = publish(name="", code="y = x", **rows)["error"]
    assert "no valid service name" in nameless["message"]
    rows["inputs"][0]["type"] = "dataframe"
    mistyped = publish(name="Helped", code="y = x", **rows)["error"]
    assert mistyped["message"].startswith(
        "'x' has the unknown type 'dataframe'. Did you mean 'data.frame'? Use one of logical,"
    )


def test_lines_of_ipython_are_not_lost_without_a_word(run: Run) -> None:
    run("x = 2").result.raise_error()
    cell = "-i x -o y\n%matplotlib inline\n!echo hi\nfor _ in [1]:\n    %time y = x + 1"
    ran = run(f"%%publish Timed {cell}")
    assert ran.value.code == "for _ in [1]:\n    y = x + 1\n"
    assert ran.stdout.startswith("Left out, as a service runs Python alone: !echo hi.\n")
    assert "!echo hi." in suggest(f"%%publish Timed {cell}")["warnings"][0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pipe Loans", "What is published stands last: %publish Loans pipe."),
        (
            "Loans raw",
            "raw (LogisticRegression) is not fitted, so it is no model yet: call raw.fit",
        ),
        ("applicant", "There is no code to publish, and applicant (DataFrame) is no model"),
        ("Loans called", "called (Called) is published as a function: %publish NAME -f called."),
        ("Loans V1.0", "There is no code to publish."),
    ],
)
def test_a_line_without_code_says_what_is_missing(run: Run, line: str, told: str) -> None:
    run(FIT).result.raise_error()
    run("raw = LogisticRegression()").result.raise_error()
    run("class Called:\n    def __call__(self): return 1\ncalled = Called()").result.raise_error()
    assert str(run(f"%publish {line}").error).startswith(told)


@pytest.mark.parametrize("line", ["y = x * 2", "y=x*2", "V1.0 y = x * 2"])
def test_code_may_follow_the_name(run: Run, line: str) -> None:
    run("x = 2").result.raise_error()
    run(f"%publish Double {line}").result.raise_error()
    assert run("%consume Double V1.0 x=4").value.y == 8


def test_a_refusal_in_a_notebook_names_the_way_on(shown_error: ShownError, run: Run) -> None:
    run("x = 2").result.raise_error()
    shown = shown_error("%%publish Lost -i x -o z\ny = x")
    assert shown.splitlines() == [
        "NotPublishable: The code never sets the output 'z'.",
        "Correct it, or go on all the same with --force.",
    ]


def test_settings_of_the_notebook_that_services_lack_are_named(run: Run) -> None:
    run(f"{FIT}import sklearn\nsklearn.set_config(transform_output='pandas')").result.raise_error()
    try:
        ran = run(f"%%publish Loans\n{CELL}")
        setup = "import sklearn; sklearn.set_config(transform_output='pandas')"
        set_up = run(f'%%publish Loans --setup "{setup}"\n{CELL}')
    finally:
        run("sklearn.set_config(transform_output='default')").result.raise_error()
    told = "The notebook has scikit-learn set to transform_output = 'pandas'."
    assert ran.stdout.startswith(told)
    assert "scikit-learn" not in set_up.stdout.split("Out[")[0]
    assert told not in run(f"%%publish Loans\n{CELL}").stdout
