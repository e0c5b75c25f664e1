"""What a publish dialog asks the kernel: suggestions, and publishing what was confirmed."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy
import pandas
import pytest
from IPython.core.interactiveshell import InteractiveShell
from sklearn.svm import SVC

from jupyter_mlsvc.client.versions import next_version
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.publishing import consume_line, publish, suggest

from .conftest import Run

CODE = "iris_species = [names[x] for x in clf.predict(flower_data)]"
TRAIN = """%%remote_exec --session iris
from sklearn import datasets, svm
iris = datasets.load_iris()
clf = svm.SVC().fit(iris.data, iris.target)
names = {0: 'I. setosa', 1: 'I. versicolor', 2: 'I. virginica'}
"""


def named(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def types(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["type"] for row in rows}


@pytest.fixture
def names(bare_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Variables of a notebook that has no extension loaded, and no server."""
    monkeypatch.setenv("MLSVC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLSVC_TOKEN", "token")
    namespace: dict[str, Any] = bare_shell.user_ns
    return namespace


# --- without a server --------------------------------------------------------------------------


def test_without_a_server_the_notebook_is_read_all_the_same(names: dict[str, Any]) -> None:
    names["flower"] = [7, 3.2]
    names["clf"] = SVC()
    found = suggest("species = clf.predict(flower)")
    assert found["connected"] is False
    assert found["session"] is None
    assert "cannot be reached" in found["error"]
    assert found["inputs"] == [
        {
            "name": "flower",
            "type": "vector",
            "example": [7, 3.2],
            "source": "notebook",
            "known": True,
        }
    ]
    assert found["otherNames"] == {"session": [], "notebook": ["clf"], "missing": []}
    assert types(found["sendable"]) == {"clf": "sklearn.svm._classes.SVC"}
    json.dumps(found)


def test_a_suggestion_leaves_nothing_in_the_notebook(names: dict[str, Any]) -> None:
    before = set(names)
    suggest("y = x + 1")
    assert set(names) == before


@pytest.mark.parametrize(
    ("value", "kind", "example"),
    [
        (True, "logical", True),
        (3, "integer", 3),
        (2.5, "numeric", 2.5),
        ("a", "character", "a"),
        (numpy.float64(1.5), "numeric", 1.5),
        (numpy.bool_(True), "logical", True),
        ([1, "a", None], "vector", [1, "a", None]),
        ((1, 2), "vector", [1, 2]),
        (numpy.arange(3), "vector", [0, 1, 2]),
        (pandas.Series([1.5]), "vector", [1.5]),
        ([[1, 2], [3, 4]], "matrix", [[1, 2], [3, 4]]),
        (numpy.zeros((50, 2)), "matrix", [[0.0, 0.0]] * 3),
        (pandas.DataFrame({"a": range(50)}), "data.frame", {"a": [0, 1, 2]}),
        (numpy.arange(1000), "vector", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_and_examples_come_from_values(
    names: dict[str, Any], value: Any, kind: str, example: Any
) -> None:
    names["x"] = value
    (row,) = suggest("y = f(x)")["inputs"]
    assert ("columns" in row) == (kind == "data.frame")
    row.pop("columns", None)
    assert row == {
        "name": "x",
        "type": kind,
        "example": example,
        "source": "notebook",
        "known": True,
    }


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("y = score(x)", ["score"]),
        ("y = np.sum(x)", ["np"]),
        ("y = table[x]", ["table"]),
        ("y = x * RATE", ["RATE"]),
        ("y = model.predict([x])", ["model"]),
    ],
)
def test_functions_modules_models_and_tables_are_no_inputs(
    names: dict[str, Any], code: str, others: list[str]
) -> None:
    names |= {"score": abs, "np": numpy, "table": ["a", "b"], "RATE": 2.5, "model": SVC(), "x": 1}
    found = suggest(code)
    assert [each["name"] for each in found["inputs"]] == ["x"]
    assert found["otherNames"]["notebook"] == others


def test_what_a_function_of_the_notebook_uses_goes_with_it(
    bare_shell: InteractiveShell, names: dict[str, Any]
) -> None:
    bare_shell.run_cell("factor = {1: 2}\ndef twice(v):\n    return factor[1] * v\nx = 1")
    assert suggest("y = twice(x)")["otherNames"]["notebook"] == ["twice", "factor"]


def test_values_that_the_cell_writes_down_become_inputs(names: dict[str, Any]) -> None:
    found = suggest("# a flower\nrow = [7, 3.2]\ny = [a * 2 for a in row]\n")
    assert found["inputs"] == [
        {"name": "row", "type": "vector", "example": [7, 3.2], "source": "cell", "known": True}
    ]
    assert found["code"] == "# a flower\ny = [a * 2 for a in row]\n"
    assert found["warnings"] == [
        "The cell sets row itself. As an input it comes with each call, so its line was taken out "
        "of the code."
    ]


def test_what_is_nowhere_is_an_input_of_unknown_type(names: dict[str, Any]) -> None:
    found = suggest("y = clf_predict(flower)")
    assert found["inputs"] == [
        {"name": "flower", "type": "vector", "example": None, "source": "unknown", "known": False}
    ]
    assert found["otherNames"]["missing"] == ["clf_predict"]
    assert found["warnings"] == [
        "The type of the input 'flower' is not known; it is declared as vector.",
        "The type of the output 'y' is not known until the cell has run; publishing finds it out.",
        "The code reads clf_predict, which the notebook lacks.",
    ]


def test_outputs_are_what_the_cell_sets_last(names: dict[str, Any]) -> None:
    names["x"] = 1
    found = suggest("a = x + 1\nb = a * 2\nfor i in range(3):\n    c = f'{i}'\nprint(b, c)")
    assert [each["name"] for each in found["outputs"]] == ["b", "c"]
    assert types(found["outputs"])["c"] == "character"


def test_a_value_without_a_name_is_no_output(names: dict[str, Any]) -> None:
    names["x"] = 1
    found = suggest("x * 2")
    assert found["outputs"] == []
    assert found["warnings"] == [
        "The value of the last line has no name. Assign it to a variable to make it an output."
    ]


def test_magic_lines_are_read_and_left_out(names: dict[str, Any]) -> None:
    found = suggest(
        "%%publish Iris V2.0 --session iris -i flower:vector -o species:character "
        "--init-code 'import os' -d \"Tells irises\" --files a.png --concurrency 20\n"
        "%matplotlib inline\n!ls\n"
        "species = flower % 2\n"
    )
    assert found["code"] == "species = flower % 2\n"
    assert (found["name"], found["version"]) == ("Iris", "V2.0")
    assert found["initCode"] == "import os"
    assert found["description"] == "Tells irises"
    assert found["files"] == ["a.png"]
    assert (found["concurrency"], found["deadlineSeconds"]) == (20, None)
    assert found["inputs"] == [
        {"name": "flower", "type": "vector", "example": None, "source": "cell", "known": True}
    ]
    assert types(found["outputs"]) == {"species": "character"}


def test_a_line_of_publish_is_read(names: dict[str, Any]) -> None:
    found = suggest('%publish Iris V1.0 -i a:numeric -o b:numeric "b = a"')
    assert found["code"] == "b = a\n"
    assert types(found["inputs"]) == {"a": "numeric"}


def test_what_remote_exec_sends_and_fetches_are_inputs_and_outputs(names: dict[str, Any]) -> None:
    names["row"] = [1.5]
    found = suggest("%%remote_exec -i row -o y\nz = row[0]\ny = z + 1\nw = 2")
    assert types(found["inputs"]) == {"row": "vector"}
    assert [each["name"] for each in found["outputs"]] == ["y"]


@pytest.mark.parametrize(
    ("code", "warning"),
    [
        ("y = = x", "This is no Python that a service could run: line 1: invalid syntax."),
        ("%%publish Iris -x\ny = 1", "%%publish: unknown option -x."),
    ],
)
def test_what_cannot_be_read_is_said(names: dict[str, Any], code: str, warning: str) -> None:
    assert warning in suggest(code)["warnings"]


@pytest.mark.parametrize(
    ("versions", "suggested"),
    [
        ([], "V1.0"),
        (["V1.0"], "V1.1"),
        (["7", "8"], "9"),
        (["1.0.9", "1.0.10"], "1.0.11"),
        (["beta"], "beta.1"),
        (["V1.1", "V1.0"], "V1.2"),
        (["2024-01"], "2024-02"),
        (["v09"], "v10"),
    ],
)
def test_the_next_version_is_suggested(versions: list[str], suggested: str) -> None:
    assert next_version(versions) == suggested


def test_the_call_has_the_examples() -> None:
    inputs: list[dict[str, Any]] = [
        {"name": "a", "type": "vector", "example": [1, None, True, "x"]},
        {"name": "b", "type": "numeric"},
        {"name": "c.d", "type": "numeric"},
    ]
    assert consume_line("My iris", "V1", inputs) == (
        "%consume \"My iris\" V1 a=[1, None, True, 'x'] b=b c.d=c_d"
    )


def test_publishing_without_a_server_is_a_problem_of_the_answer(names: dict[str, Any]) -> None:
    answer = publish(name="Iris", version="V1.0", code="y = 1", outputs=[])
    assert "cannot be reached" in answer["error"]["message"]
    assert answer["url"] is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"version": "V1"}, "missing required field"),
        ({"name": "A", "code": 1}, "Expected `str`, got `int`"),
        ({"name": "A", "code": "y = 1", "outputs": [{"name": "y"}]}, "has no 'type'"),
        ({"name": "A", "code": "y = 1", "send": ["nix"]}, "There is no variable nix"),
        ({"name": "A", "code": "y = 1", "session": "s", "snapshot": "t"}, "without a session"),
        (
            {"name": "A", "code": "y = 1", "inputs": [{"name": "a b", "type": "vector"}]},
            "'a b' is no valid name",
        ),
    ],
)
def test_invalid_publish_request_is_a_problem_of_the_answer(
    names: dict[str, Any], request_: dict[str, Any], message: str
) -> None:
    assert message in publish(**request_)["error"]["message"]


# --- with a server -----------------------------------------------------------------------------


@pytest.mark.kernel
def test_names_types_and_sizes_of_the_session_are_known(run: Run) -> None:
    run(TRAIN + "flower_data = [7, 3.2, 4.7, 1.4]").result.raise_error()
    found = suggest(CODE)
    assert found["connected"] is True
    assert found["error"] is None
    assert found["session"] == {"name": "iris", "runtimeType": "Python", "exists": True}
    assert found["sessions"] == ["iris"]
    assert found["inputs"] == [
        {
            "name": "flower_data",
            "type": "vector",
            "example": [7, 3.2, 4.7, 1.4],
            "source": "session",
            "known": True,
        }
    ]
    assert types(found["outputs"]) == {"iris_species": "vector"}
    assert found["otherNames"] == {"session": ["clf", "names"], "notebook": [], "missing": []}
    objects = named(found["objects"])
    assert objects["clf"]["type"] == "sklearn.svm._classes.SVC"
    assert 2000 < objects["clf"]["size"] < found["snapshotSize"] < 100_000
    assert found["warnings"] == []
    assert len(run("%mlsvc history").value) == 1


@pytest.mark.kernel
def test_what_is_suggested_can_be_published_and_called(run: Run) -> None:
    run(TRAIN + "flower_data = [7, 3.2, 4.7, 1.4]").result.raise_error()
    found = suggest("%%publish Suggested --concurrency 2 --deadline 5\n" + CODE)
    keys = ("name", "version", "code", "initCode", "inputs", "outputs")
    answer = publish(
        **{key: found[key] for key in (*keys, "concurrency", "deadlineSeconds")},
        session=found["session"]["name"],
    )
    assert answer["error"] is None
    assert answer["url"].endswith("/api/Suggested/V1.0")
    service = run("%mlsvc service Suggested V1.0").value
    assert (service.url, service.concurrency) == (answer["url"], 2)
    assert answer["call"] == "%consume Suggested V1.0 flower_data=[7, 3.2, 4.7, 1.4]"
    assert run(answer["call"]).value.outputs == {"iris_species": ["I. versicolor"]}
    assert run("%mlsvc snapshots").value == []
    again = suggest("%%publish Suggested V1.0\n" + CODE)
    assert "Suggested V1.0 is published already; take another version." in again["warnings"]
    assert suggest("%%publish Suggested\n" + CODE)["version"] == "V1.1"
    refused = publish(name="Suggested", version="V1.0", code="y = 1")
    assert "exists" in refused["error"]["message"]


@pytest.mark.kernel
def test_objects_of_the_notebook_are_published_without_a_session_that_stays(
    run: Run, on_server: InteractiveShell, connection: MlsvcConnection
) -> None:
    on_server.user_ns |= {"table": {"a": 1.5}, "key": "a"}
    found = suggest("price = table[key]")
    assert found["session"]["exists"] is False
    assert found["otherNames"]["notebook"] == ["table"]
    answer = publish(
        name="Sent",
        version="V1",
        code=found["code"],
        inputs=found["inputs"],
        outputs=found["outputs"],
        session=found["session"]["name"],
        send=found["otherNames"]["notebook"],
    )
    assert answer["error"] is None
    assert run(answer["call"]).value.outputs == {"price": 1.5}
    assert connection.current is None
    assert list(connection.client.sessions.list()) == []


@pytest.mark.kernel
def test_what_the_snapshot_left_out_is_noted(run: Run, on_server: InteractiveShell) -> None:
    run("%remote_exec --session locked import threading; lock = threading.Lock()")
    on_server.user_ns["lock"] = threading.Lock()
    answer = publish(name="Locked", version="V1", code="y = 1", session="locked")
    assert answer["error"] is None
    assert any("lock" in note for note in answer["notes"])
    refused = publish(name="Locked", version="V2", code="y = 1", session="locked", send=["lock"])
    assert "'lock' (lock) can't be sent" in refused["error"]["message"]


@pytest.mark.kernel
def test_a_snapshot_is_looked_into_and_published_in_place_of_a_session(run: Run) -> None:
    run(TRAIN).result.raise_error()
    taken = run("%mlsvc snapshot model").value
    found = suggest(CODE, snapshot=taken.id)
    assert found["session"] is None
    assert found["snapshot"] == taken.id
    assert found["snapshots"] == [{"id": taken.id, "name": "model"}]
    assert found["otherNames"] == {"session": ["clf", "names"], "notebook": [], "missing": []}
    assert named(found["objects"])["clf"]["size"] > 2000
    assert suggest(f"%%publish A V1 --snapshot model\n{CODE}")["snapshot"] == taken.id
    answer = publish(
        name="FromSnapshot",
        version="V1",
        code=CODE,
        inputs=[{"name": "flower_data", "type": "vector", "example": [7, 3.2, 4.7, 1.4]}],
        outputs=found["outputs"],
        snapshot=taken.id,
    )
    assert answer["error"] is None
    assert run(answer["call"]).value.outputs == {"iris_species": ["I. versicolor"]}
    assert [each.name for each in run("%mlsvc snapshots").value] == ["model"]


@pytest.mark.kernel
@pytest.mark.usefixtures("needs_r")
def test_a_session_in_r_is_looked_into_and_published(run: Run) -> None:
    run("%remote_exec --runtime R fit <- lm(dist ~ speed, cars); new.cars <- head(cars, 2)").value  # noqa: B018
    cell = "%%publish Stops V1 -i new.cars:data.frame -o dist:vector\n"
    found = suggest(f"{cell}dist <- unname(round(predict(fit, new.cars)))")
    assert (found["error"], found["connected"], found["warnings"]) == (None, True, [])
    assert found["session"] == {"name": "default in R", "runtimeType": "R", "exists": True}
    assert found["runtimeType"] == "R"
    assert found["inputs"][0]["example"] == {"speed": [4, 4], "dist": [2, 10]}
    assert found["inputs"][0]["source"] == "cell"
    rows = named(found["objects"])
    assert (rows["fit"]["type"], rows["new.cars"]["parameterType"]) == ("lm", "data.frame")
    keys = ("name", "version", "code", "initCode", "inputs", "outputs", "runtimeType")
    answer = publish(**{key: found[key] for key in keys}, session=found["session"]["name"])
    assert answer["error"] is None
    assert run(answer["call"]).value.outputs == {"dist": [-2, -2]}


@pytest.mark.kernel
@pytest.mark.usefixtures("needs_r")
def test_a_cell_in_r_is_not_read_as_python(run: Run) -> None:
    run("%remote_exec n = 1").value  # noqa: B018
    found = suggest("%%remote_exec --runtime R -o y\ny <- f(x)$a")
    assert found["session"] == {"name": "default in R", "runtimeType": "R", "exists": False}
    assert (found["code"], found["inputs"]) == ("y <- f(x)$a\n", [])
    assert [each["name"] for each in found["outputs"]] == ["y"]
    assert found["otherNames"] == {"session": [], "notebook": [], "missing": []}
    assert found["warnings"] == [
        "The type of the output 'y' is not known until the cell has run; publishing finds it out."
    ]
    run("%remote_exec --runtime R x <- 42").value  # noqa: B018
    plain = suggest("y <- x + 1")
    assert plain["warnings"] == [
        "Code in R is read by the server only: say what its inputs and outputs are."
    ]
    taken = run("%mlsvc snapshot in-r").value
    assert suggest("y <- x + 1", snapshot=taken.id)["runtimeType"] == "R"
    outputs = [{"name": "y", "type": "numeric"}]
    answer = publish(name="My r", version="V1", code="y <- x", outputs=outputs, snapshot=taken.id)
    assert answer["error"] is None
    assert answer["url"].endswith("/api/My%20r/V1")
    assert run(answer["call"]).value.y == 42


@pytest.mark.kernel
def test_the_call_loads_the_magics_where_they_are_not_loaded(
    on_server: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(on_server.magics_manager.magics["line"], "consume")
    answer = publish(name="Unloaded", version="V1", code="y = 1", outputs=[])
    assert answer["call"] == "%load_ext jupyter_mlsvc\n%consume Unloaded V1"


@pytest.mark.kernel
def test_a_busy_session_is_not_waited_for(run: Run, connection: MlsvcConnection) -> None:
    run("%remote_exec --session busy x = 1")
    session = connection.session("busy")
    session.start_execution("import time; time.sleep(600)")
    try:
        found = suggest("y = x")
    finally:
        session.cancel()
    assert found["warnings"][0] == "Session 'busy' is busy, so what it holds is not known now."
