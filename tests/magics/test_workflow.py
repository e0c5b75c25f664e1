"""The whole article by magics, in a real shell against a real server."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.errors import BadRequest, Conflict, MlsvcError, NotFound, ServiceFailed
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc_server.launch import ServerProcess

from .conftest import Run, ShownError

pytestmark = pytest.mark.kernel

TRAIN = """%%remote_exec --session iris
from sklearn import svm
from sklearn import datasets
clf = svm.SVC()
iris = datasets.load_iris()
names = {0: 'I. setosa', 1: 'I. versicolor', 2: 'I. virginica'}
clf.fit(iris.data, iris.target)
"""
CODE = "iris_species = [names[x] for x in clf.predict(flower_data)]"


@pytest.mark.slow
def test_the_article(run: Run, on_server: InteractiveShell) -> None:
    assert run("%mlsvc status").value.code == "pass"
    assert "admin (owner)" in repr(run("%mlsvc whoami").value)
    run(TRAIN).result.raise_error()
    on_server.user_ns["species_1"] = [7, 3.2, 4.7, 1.4]
    run("%remote_exec -i species_1 -o result result = clf.predict(species_1)").result.raise_error()
    assert on_server.user_ns["result"].tolist() == [1]
    snapshot = run('%mlsvc snapshot "Iris Snapshot"').value
    assert [item.name for item in run("%mlsvc snapshots").value] == ["Iris Snapshot"]

    published = run(
        f"%publish Iris V1.0 --snapshot {snapshot.id} "
        f'-i flower_data:vector -o iris_species:vector "{CODE}"'
    ).value
    assert published.code == CODE
    service = run("svc = %mlsvc service Iris V1.0\nsvc").value
    assert [(item.name, item.type) for item in service.inputs] == [("flower_data", "vector")]
    swagger = run("%mlsvc swagger Iris V1.0").value
    assert "/api/Iris/V1.0" in swagger["paths"]
    assert "InputParameters" in swagger["definitions"]
    answers = {
        "[7,3.2,4.7,1.4]": "I. versicolor",
        "[3,2.6,3,2.5]": "I. versicolor",
        "[5.1,3.5,1.4,.2]": "I. setosa",
    }
    for flower, species in answers.items():
        result = run(f"%consume Iris V1.0 flower_data={flower}").value
        assert result.outputs == {"iris_species": [species]}

    updated = run('%mlsvc update Iris V1.0 --description "Tells {irises} apart"').value
    assert (updated.description, updated.code) == ("Tells {irises} apart", CODE)
    run(
        f"%publish Iris V2.0 --snapshot {snapshot.id} "
        f"-i flower_data:vector -o iris_species:string {CODE}[0]"
    ).result.raise_error()
    newest = run("r = %consume Iris flower_data=[5.1, 3.5, 1.4, .2]\nr.iris_species").value
    assert newest == "I. setosa"
    listed = [(item.name, item.version) for item in run("%mlsvc services").value]
    assert listed == [("Iris", "V1.0"), ("Iris", "V2.0")]
    assert run("%mlsvc delete Iris V2.0").stdout == "Deleted service Iris V2.0.\n"
    assert [item.version for item in run("%mlsvc services Iris").value] == ["V1.0"]


def test_publishing_takes_a_snapshot_of_the_current_session_and_leaves_none(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%remote_exec factor = 3")
    run("%%publish Triple V1 -i x:numeric -o y:numeric\ny = x * factor").result.raise_error()
    assert run("%consume Triple x=2").value.y == 6
    assert list(connection.client.snapshots.list()) == []


def test_what_a_snapshot_leaves_out_is_shown(run: Run) -> None:
    run("%%remote_exec\nimport threading\nlock = threading.Lock()\nfactor = 2")
    ran = run("%%publish Double V1 -i x:numeric -o y:numeric\ny = x * factor")
    assert ran.stdout.startswith("Left out of the snapshot: lock (")


def test_a_failed_publication_leaves_no_snapshot(run: Run, connection: MlsvcConnection) -> None:
    run("%remote_exec factor = 3")
    assert isinstance(run("%%publish Bad V1\nif True\n    y = 1").error, BadRequest)
    assert list(connection.client.snapshots.list()) == []
    assert list(connection.client.services.list()) == []


def test_pure_code_needs_no_session(run: Run) -> None:
    ran = run("%publish Add V1 -i a:numeric,b:numeric -o c:numeric c = a + b")
    assert (ran.stderr, ran.value.snapshot_id) == ("", None)
    assert run("%consume Add a=1 b=2.5").value.c == 3.5


def test_names_that_nothing_provides_are_refused(run: Run) -> None:
    ran = run("%publish Add V1 -i a:numeric -o c:numeric c = a + offset")
    assert str(ran.error) == "The code reads offset, which the notebook lacks."
    assert run("%publish Add V1 -i a:numeric -o c:numeric --force c = a + offset").value


def test_names_that_only_the_notebook_has_are_sent_to_the_session(
    run: Run, on_server: InteractiveShell
) -> None:
    run("%remote_exec factor = 2")
    on_server.user_ns |= {"offset": 1}
    cell = "-i a:numeric -o c:numeric\nc = a * factor + offset"
    ran = run(f"%%publish Add V1 {cell}")
    session = run("%mlsvc session").value.name
    assert ran.stdout.startswith(f"Sent offset, 5 B: session {session!r} did not have it.\n")
    assert run("%consume Add a=3").value.c == 7
    refused = run(f"%%publish Add V2 {cell} + ofs").error
    assert str(refused) == (
        f"The code reads ofs, which neither the notebook nor session {session!r} has. "
        "Did you mean 'offset'?"
    )
    again = run("%publish Add V2 -i a:numeric -o c:numeric c = a * factor")
    assert "Sent" not in again.stdout


def test_an_output_that_the_code_does_not_set_is_refused(run: Run) -> None:
    ran = run("%publish Add V1 -i a:numeric -o totl:numeric total = a")
    assert str(ran.error) == "The code never sets the output 'totl'. Did you mean 'total'?"


def test_values_of_the_notebook_are_consumed(run: Run, on_server: InteractiveShell) -> None:
    import pandas as pd

    run("%%publish Sum V1 -i frame:data.frame -o total:numeric\ntotal = frame['a'].sum()")
    on_server.user_ns["frame"] = pd.DataFrame({"a": [1, 2, 3]})
    assert run("%consume Sum frame=frame").value.total == 6


def test_init_code_alias_files_and_group_are_published(run: Run) -> None:
    run(
        "%%publish Plot V1 -o n:integer --files out.txt --alias draw --group Artists "
        '--init-code "k = 2"\n'
        "n = k\nopen('out.txt', 'w').write('done')"
    ).result.raise_error()
    service = run("%mlsvc service Plot").value
    assert (service.alias, service.init_code, service.output_files) == (
        "draw",
        "k = 2",
        ["out.txt"],
    )
    assert run("%consume Plot").value.files == {"out.txt": b"done"}
    assert service.group == "artists"
    assert run('%mlsvc update Plot V1 --group ""').value.group is None


def test_code_of_a_service_that_raises_is_an_error_here(run: Run) -> None:
    run("%publish Div V1 -i x:numeric -o y:numeric y = 1 / x")
    ran = run("%consume Div x=0")
    assert isinstance(ran.error, ServiceFailed)
    assert ran.error.request_id
    assert ran.stdout.splitlines()[0] == (
        "ServiceFailed: service Div V1 raised ZeroDivisionError: float division by zero "
        f"(request {ran.error.request_id})"
    )


def test_the_same_version_again_is_a_conflict(run: Run) -> None:
    run("%publish Div V1 -i x:numeric -o y:numeric y = 1 / x")
    assert isinstance(run("%publish Div V1 -i x:numeric -o y:numeric y = 1 / x").error, Conflict)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("%mlsvc service Nothing", NotFound),
        ("%mlsvc delete Nothing V1", NotFound),
        ("%mlsvc session nothing", NotFound),
        ("%consume Nothing x=1", NotFound),
        ("%publish S V1 --session nothing y = 1", NotFound),
        ("%mlsvc snapshot", MlsvcError),
    ],
)
def test_what_is_not_there_is_one_line(run: Run, cell: str, kind: type[Exception]) -> None:
    ran = run(cell)
    assert isinstance(ran.error, kind)
    assert len(ran.stdout.splitlines()) == 1


def test_sessions_are_started_switched_and_closed(run: Run) -> None:
    # Tests that ran before may have left some of this user's, until their kernels have ended.
    others = {item.id for item in run("%mlsvc sessions").value}

    def names() -> set[str]:
        listed = run("%mlsvc sessions").value
        return {item.name for item in listed if item.id not in others}

    run("%mlsvc session new one")
    run("%mlsvc session new two")
    assert run("%mlsvc session").value.name == "two"
    assert run("%mlsvc session one").value.name == "one"
    assert run("%mlsvc session switch two").value.name == "two"
    assert run("%mlsvc session switch one").value.name == "one"
    assert names() == {"one", "two"}
    assert run("%mlsvc session close two").stdout == "Closed session 'two'.\n"
    assert run("%mlsvc session close").stdout == "Closed session 'one'.\n"
    assert names() == set()


def test_a_wrong_password_is_one_line_and_keeps_the_login_that_was_there(
    run: Run,
    connection: MlsvcConnection,
    user_server: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jupyter_mlsvc.magics.mlsvc.getpass", lambda _: "wrong password")
    ran = run(f"%mlsvc login {user_server.public_url} -u admin")
    assert ran.stdout.splitlines()[0].startswith("Unauthorized: ")
    assert connection.client.user == "admin"
    assert run("%mlsvc status").value.code == "pass"


def test_after_logout_the_tokens_are_useless(user_server: ServerProcess) -> None:
    assert user_server.admin_password is not None
    client = Client(user_server.public_url, username="admin", password=user_server.admin_password)
    token = client._api.auth.token()
    client.logout()
    with pytest.raises(MlsvcError):
        Client(user_server.public_url, token).services.list()


def test_a_server_that_is_not_there_is_one_line(shown_error: ShownError) -> None:
    shown = shown_error(
        "from jupyter_mlsvc import Client\nClient('http://127.0.0.1:9', 'token').status()"
    )
    assert shown.splitlines() == [
        "ConnectionFailed: The server at http://127.0.0.1:9 cannot be reached: connection refused. "
        "Check that it runs and that the address is right (%mlsvc login URL, Client(url) or "
        "environment variable MLSVC_URL)."
    ]


def test_a_service_is_changed_from_a_session_in_one_line(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%publish Change V1 -i x:numeric -o y:numeric y = x")
    run("%remote_exec --session other factor = 5")
    ran = run('%mlsvc update Change V1 --session other --code "y = x * factor"')
    assert ran.value.code == "y = x * factor"
    assert run("%consume Change V1 x=2").value.y == 10
    assert list(connection.client.snapshots.list()) == []


def test_code_that_is_changed_is_called_once_before_it_is_taken(run: Run) -> None:
    run("%publish Change V1 -i x:numeric -o y:numeric y = x").result.raise_error()
    run("x = 4.0")
    changed = run('%mlsvc update Change V1 --code "y = x * 3"')
    assert changed.value.publish_check.output_parameters == {"y": 12.0}
    assert "Tried with x=4.0: y = 12.0" in changed.stdout

    refused = str(run('%mlsvc update Change V1 --code "y = x / (x - x)"').error)
    assert "ZeroDivisionError" in refused
    assert "force=True" in refused
    assert run("%consume Change V1 x=2").value.y == 6

    forced = run('%mlsvc update Change V1 --force --code "y = x / (x - x)"')
    assert "it fails. ZeroDivisionError" in forced.stdout
    unchecked = run('%mlsvc update Change V1 --no-check --code "y = 1 / (x - x)"')
    assert unchecked.value.publish_check is None
    assert "Tried" not in unchecked.stdout
    described = run('%mlsvc update Change V1 --description "Divides"')
    assert described.value.description == "Divides"
    assert "Tried" not in described.stdout


def test_a_version_that_exists_is_refused_before_anything_is_sent(
    run: Run, connection: MlsvcConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("factor = 2")
    cell = "%%publish Taken V1 -i x:numeric -o y:numeric\ny = x * factor"
    run(cell).result.raise_error()
    made: list[str] = []
    sessions = connection.client.sessions
    create = sessions.create

    def counted(name: str) -> Session:
        made.append(name)
        return create(name)

    monkeypatch.setattr(sessions, "create", counted)
    refused = str(run(cell).error)
    assert "Version 'V1' of service 'Taken' exists already." in refused
    assert "replace" in refused
    assert made == []
    run(f"{cell.replace('V1 ', 'V1 --replace ')}").result.raise_error()
    assert made


def test_what_can_not_be_sent_points_to_set_up_code(run: Run) -> None:
    run("import threading\nlock = threading.Lock()")
    cell = "%%publish Locks V1 -i x:numeric -o y:numeric\nwith lock:\n    y = x"
    refused = str(run(cell).error)
    assert "'lock' (lock) can't be sent to the server" in refused
    assert "--setup" in refused
    setup = '--setup "import threading; lock = threading.Lock()"'
    run(cell.replace("V1 ", f"V1 {setup} ")).result.raise_error()
    assert run("%consume Locks V1 x=2").value.y == 2


def test_a_frame_that_may_be_none_is_left_out(run: Run) -> None:
    run(
        "import pandas as pd\nleft = pd.DataFrame({'a': [1]})\n"
        "def merged(left: pd.DataFrame, right: pd.DataFrame | None = None) -> list[int]:\n"
        "    return [len(left), -1 if right is None else len(right)]"
    ).result.raise_error()
    run("%publish Merged V1 -f merged").result.raise_error()
    assert run("%consume Merged V1 left=left").value.answer == [1, -1]
    assert run("%consume Merged V1 left=left right=left").value.answer == [1, 1]
    assert run("%consume Merged V1 left=left right=None").value.answer == [1, -1]


def test_a_snapshot_of_a_session_that_has_ended_says_so(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%remote_exec x = 1")
    connection.client.sessions.get("default").close()
    assert str(run("%mlsvc snapshot").error).startswith("Session 'default' has ended on the server")


def test_a_model_of_the_kernel_becomes_a_realtime_service(
    run: Run, on_server: InteractiveShell
) -> None:
    rows = pandas.DataFrame({"x": [0.0, 1.0]})
    on_server.user_ns["line"] = LinearRegression().fit(rows, [1.0, 3.0])
    service = run(
        '%publish --realtime Line V1.0 --response height -d "2x" --alias line --group lines line'
    ).value
    assert (service.runtime_type, service.alias, service.group) == ("Realtime", "line", "lines")
    on_server.user_ns["rows"] = rows
    result = run("%consume Line V1.0 inputData=rows").value
    assert list(result.outputData.height_Pred) == pytest.approx([1, 3])
    run("%mlsvc delete Line V1.0")


def test_a_realtime_service_is_called_once_with_rows_of_the_notebook(
    run: Run, on_server: InteractiveShell
) -> None:
    rows = pandas.DataFrame({"x": [0.0, 1.0]})
    on_server.user_ns["line"] = LinearRegression().fit(rows, [1.0, 3.0])
    on_server.user_ns["houses"] = rows.assign(height=[1.0, 3.0])
    tried = run("%publish --realtime Line V1.0 --response height line")
    answer = tried.value.publish_check.output_parameters["outputData"]
    assert answer["height_Pred"] == pytest.approx([1, 3])
    assert "Tried with inputData (2 rows): outputData = " in tried.stdout

    on_server.user_ns["houses"] = rows.assign(x=["tall", "small"])
    refused = str(run("%publish --realtime Line V2.0 --response height line").error)
    assert "force=True" in refused
    forced = run("%publish --realtime Line V2.0 --response height --force line")
    assert "it fails" in forced.stdout

    del on_server.user_ns["houses"]
    assert run("%publish --realtime Line V3.0 line").value.publish_check is None
    on_server.user_ns["houses"] = rows
    assert run("%publish --realtime Line V4.0 --no-check line").value.publish_check is None


def test_the_file_of_an_onnx_model_becomes_a_realtime_service(
    run: Run, on_server: InteractiveShell, tmp_path: Path
) -> None:
    rows = pandas.DataFrame({"x": [0.0, 1.0]})
    model = LinearRegression().fit(rows.to_numpy(), [1.0, 3.0])
    file = tmp_path / "a line.onnx"
    file.write_bytes(to_onnx(model, rows.to_numpy("float32")).SerializeToString())
    run(f"%publish --realtime Line V2.0 --response height {file}").result.raise_error()
    on_server.user_ns["rows"] = rows
    result = run("%consume Line V2.0 inputData=rows").value
    assert list(result.outputData.height_Pred) == pytest.approx([1, 3], abs=1e-5)
    run("%mlsvc delete Line V2.0")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%publish --realtime Line V1.0 nothing", "no variable nothing"),
        ("%publish --realtime Line V1.0", "needs the variable"),
        ("%publish --realtime Line V1.0 -i x:vector line", "without --inputs"),
        ("%publish Line V1.0 --response y y = 1", "for --realtime"),
        ("%publish --realtime Line V1.0 number", "an int"),
        ("%publish --realtime Line V1.0 nowhere/line.onnx", "No such file"),
    ],
)
def test_a_wrong_line_of_a_realtime_service_says_what_is_right(
    run: Run, on_server: InteractiveShell, line: str, words: str
) -> None:
    on_server.user_ns["number"] = 1
    error = run(line).error
    assert isinstance(error, UsageError)
    assert words in str(error)


def test_log_of_a_service_shows_what_calls_printed_and_raised(run: Run) -> None:
    code = 'print("for", n); y = 1 / n'
    run(f"%publish Printing V1.0 -i n:integer -o y:numeric --no-check {code}").result.raise_error()
    assert repr(run("%mlsvc logs Printing").value) == "No call has printed anything."
    run("%consume Printing V1.0 n=1").result.raise_error()
    assert run("%consume Printing V1.0 n=0").error is not None
    for line in ("%mlsvc logs Printing V1.0", "%mlsvc logs Printing/V1.0", "%mlsvc logs Printing"):
        first, second = run(line).value
        assert repr(first).splitlines()[1:] == ["    for 1"]
        heading, *lines = repr(second).splitlines()
        assert f"UTC ERROR ZeroDivisionError: division by zero (request {second.request_id})" in (
            heading
        )
        assert (lines[0], lines[-1]) == ("    for 0", "    ZeroDivisionError: division by zero")
    assert [each.id for each in run("%mlsvc logs Printing -n 1").value] == [second.id]
    assert [call.success for call in run("%mlsvc calls Printing/V1.0").value] == [False, True]
    (failed,) = run("%mlsvc calls Printing --errors").value
    assert (failed.problem, failed.request_id) == (second.problem, second.request_id)
    shown = repr(run(f"%mlsvc calls Printing V1.0 --id {failed.id}").value)
    assert shown.splitlines()[0] == f"Call {failed.id}"
    assert "200, raised\n" in shown
    assert second.text.rstrip() in shown
    assert repr(run("%mlsvc batches Printing").value) == "No batches."
    compared = run("%mlsvc compare Printing V1.0 V1.0").value
    assert (compared.changes, "code" in compared.same) == ({}, True)
    run("%remote_exec rate = 2")
    with_session = run("%mlsvc compare Printing V1.0 --session default").value
    assert repr(with_session).startswith("Printing V1.0 (-) and session 'default' (+)")
    run("%mlsvc delete Printing V1.0").result.raise_error()
    error = run("%mlsvc logs Printing V1.0").error
    assert isinstance(error, NotFound)


def test_statistics_of_all_services_and_of_one(run: Run) -> None:
    run("%publish Counted V1.0 -o y:integer y = 1").result.raise_error()
    run("%consume Counted V1.0").result.raise_error()
    one = run("%mlsvc statistics Counted").value
    assert (one.version, one.calls, one.errors) == ("V1.0", 1, 0)
    assert len(run("%mlsvc statistics Counted V1.0 --period week").value.history) == 168
    error = run("%mlsvc statistics --period week").error
    assert "name it" in str(error)
    every = run("%mlsvc statistics").value
    assert [row.calls for row in every if row.name == "Counted"] == [1]
    run("%mlsvc delete Counted V1.0").result.raise_error()
