"""``%mlsvc put``, ``get``, ``diff``, files, history and snapshots against a real server."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.errors import MlsvcError, TransferInterrupted
from jupyter_mlsvc.magics.connection import MlsvcConnection
from tests.gates import once_there_is
from tests.waiting import wait_until

from .conftest import Run

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def html_of(shell: InteractiveShell, value: object) -> str:
    assert shell.display_formatter is not None
    shown, _ = shell.display_formatter.format(value)
    return str(shown["text/html"])


def test_objects_are_put_and_got(run: Run, on_server: InteractiveShell) -> None:
    run("import numpy as np\nweights = np.arange(3)\nrate = 2\ndef score(x): return x * rate")
    moved = run("%mlsvc put weights, score,rate").value
    assert [line.split()[:2] for line in repr(moved).splitlines()[2:]] == [
        ["weights", "numpy.ndarray"],
        ["score", "function"],
        ["rate", "int"],
    ]
    assert "<td" in html_of(on_server, moved)
    assert run("%%remote_exec\nrate = 5\nprint(score(weights[2]))").stdout == "10\n"
    run("del weights, score\nrate = 7")
    got = run("%mlsvc get weights,score").value
    assert [item.name for item in got] == ["weights", "score"]
    assert on_server.user_ns["score"](1) == 5  # with the rate that it had there
    assert on_server.user_ns["weights"].tolist() == [0, 1, 2]


def test_half_of_what_was_asked_for_is_not_brought(run: Run, on_server: InteractiveShell) -> None:
    run("%remote_exec there = 1")
    error = run("%mlsvc get there,missing").error
    assert str(error) == "There is no 'missing' in session 'default'."
    assert "there" not in on_server.user_ns


def test_what_only_reads_starts_no_session(run: Run, connection: MlsvcConnection) -> None:
    for line in ("get x", "files", "history", "console", "diff", "snapshot", "download x"):
        error = run(f"%mlsvc {line}").error
        assert isinstance(error, MlsvcError)
        assert str(error).startswith("No session is in use yet")
    assert list(connection.client.sessions.list()) == []


def test_files_go_there_and_back(run: Run, in_a_folder: Path, on_server: InteractiveShell) -> None:
    (in_a_folder / "größe 1.csv").write_bytes(b"a,b\n")
    (in_a_folder / "two.csv").write_bytes(bytes(range(256)) * 5000)
    assert [path.name for path in run("%mlsvc upload *.csv").value] == ["größe 1.csv", "two.csv"]
    files = run("%mlsvc files").value
    assert repr(files).splitlines()[2:] == ["größe 1.csv", "two.csv"]
    assert "<td" in html_of(on_server, files)
    assert run("%remote_exec print(open('größe 1.csv').read())").stdout == "a,b\n\n"
    saved = run('%mlsvc download "größe 1.csv" two.csv --to sub/folder').value
    assert saved[0].read_bytes() == b"a,b\n"
    assert (in_a_folder / "sub/folder/two.csv").stat().st_size == 1_280_000
    run("%mlsvc download two.csv --to other.csv")
    assert (in_a_folder / "other.csv").stat().st_size == 1_280_000
    assert "no file 'nothing'" in str(run("%mlsvc download nothing").error)
    assert list(run('%mlsvc files --delete "größe 1.csv",two.csv').value) == []


def test_history_and_console_show_themselves(run: Run, on_server: InteractiveShell) -> None:
    run("%%remote_exec\nfor i in range(2):\n    print(i < 5)")
    history = run("%mlsvc history").value
    assert repr(history) == "[1] for i in range(2):\n        print(i < 5)"
    assert "print(i &lt; 5)" in html_of(on_server, history)
    console = run("%mlsvc console").value
    assert console == "True\nTrue\n"
    assert repr(console) == "True\nTrue"
    assert html_of(on_server, console) == "<pre>True\nTrue</pre>"


def test_the_console_is_read_while_code_runs(run: Run, connection: MlsvcConnection) -> None:
    session = connection.new("busy")
    code = "import time\nprint('on', flush=True)\ntime.sleep(600)"
    execution = session.start_execution(code)
    wait_until(lambda: "on" in run("%mlsvc console").value)
    session.cancel(execution)


def test_comparison_lists_differences(run: Run, on_server: InteractiveShell) -> None:
    source = "import threading\nimport numpy as np\nsame = {'a': np.arange(3), 'b': {1, 2}}\n"
    source += "def f(x): return x + 1\nlock = threading.Lock()\n"
    run(f"{source}value = 1\nkind = 1\nhere = 1")
    run(f"%%remote_exec\n{source}value = 2\nkind = 'a'\nthere = 1")
    diff = run("%mlsvc diff").value
    assert {item.name: item.kind for item in diff.objects} == {
        "kind": "type",
        "value": "value",
        "here": "only here",
        "there": "only there",
        "lock": "not compared",
    }
    assert {"same", "f"} <= set(diff.same)
    assert diff.names("only there") == ["there"]
    assert diff.versions == []
    first, *rows = repr(diff).splitlines()
    assert first.startswith("This kernel and session 'default': ")
    assert any(row.split() == ["kind", "type", "int", "str"] for row in rows)
    assert "<td" in html_of(on_server, diff)


def test_a_snapshot_moves_by_a_file(run: Run, in_a_folder: Path) -> None:
    run("%remote_exec rate = 3\nopen('data.csv', 'w').write('a')")
    run("%%remote_exec\nopen('data.csv', 'w').write('a')")
    run("%mlsvc snapshot Iris")
    (path,) = run("%mlsvc snapshot Iris --download .").value
    assert path == Path("Iris.zip")
    assert "files/data.csv" in zipfile.ZipFile(path).namelist()
    assert run("%mlsvc snapshot Iris --delete").stdout == "Deleted snapshot 'Iris'.\n"
    assert "no snapshot 'Iris'" in str(run("%mlsvc load Iris").error)
    snapshot = run("%mlsvc snapshot --upload Iris.zip").value
    assert snapshot.name == "Iris"
    run("%mlsvc session new other --snapshot Iris")
    assert run("%remote_exec print(rate)").stdout == "3\n"
    run("%remote_exec rate = 4")
    assert run("%mlsvc load Iris").stdout == "Loaded 1 object and 1 file.\n"
    assert run("%remote_exec print(rate)").stdout == "3\n"
    (in_a_folder / "bad.zip").write_bytes(b"PK")
    assert "no zip archive" in str(run("%mlsvc snapshot --upload bad.zip").error)


def test_an_interrupted_transfer_leaves_nothing(
    run: Run, in_a_folder: Path, connection: MlsvcConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt comes where a real one would: in the middle of the pieces."""
    (in_a_folder / "big.bin").write_bytes(bytes(2_000_000))
    run("%mlsvc upload big.bin")
    connection.session().upload_file("big.bin", "kept.bin")

    def interrupted(self: Any, done: int, total: int | None) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    monkeypatch.setattr("jupyter_mlsvc.display.TransferBar.__call__", interrupted)
    (in_a_folder / "other.bin").write_bytes(bytes(2_000_000))
    error = run("%mlsvc upload other.bin").error
    assert isinstance(error, TransferInterrupted)
    assert "while 'other.bin' was on its way" in str(error)
    assert isinstance(run("%mlsvc download kept.bin").error, TransferInterrupted)
    run("weights = b'x' * 2_000_000")
    assert isinstance(run("%mlsvc put weights").error, TransferInterrupted)
    monkeypatch.undo()
    monkeypatch.chdir(in_a_folder)
    assert sorted(path.name for path in in_a_folder.iterdir()) == ["big.bin", "other.bin"]
    assert connection.session().list_files() == ["big.bin", "kept.bin"]
    assert connection.session().list_objects() == []


def test_a_long_transfer_shows_a_bar(
    run: Run, in_a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr("jupyter_mlsvc.display._PATIENCE_SECONDS", 0.0)
    (in_a_folder / "big.bin").write_bytes(np.zeros(2_000_000, "u1").tobytes())
    assert "big.bin" in run("%mlsvc upload big.bin").stderr
    monkeypatch.setattr("jupyter_mlsvc.display._PATIENCE_SECONDS", 60.0)
    assert run("%mlsvc upload big.bin").stderr == ""


def test_two_notebooks_do_not_interrupt_each_other(
    run: Run, connection: MlsvcConnection, tmp_path: Path
) -> None:
    session = connection.new("shared")
    go_on = tmp_path / "go on"
    code = f"print('on', flush=True)\n{once_there_is(go_on)}\nother = 'finished'"
    begun = threading.Event()
    other = threading.Thread(target=lambda: session.run(code, on_event=lambda _: begun.set()))
    other.start()
    assert begun.wait(60)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    # Interrupted while it waits behind the other's code.
    execution = session.start_execution("waited = 1", execution_id="mine")
    session.cancel(execution)
    go_on.touch()
    with pytest.raises(KeyboardInterrupt):
        session.run("print('now')", on_event=interrupt)
    other.join(60)
    assert session.execute("pass", outputs=["other"]).outputs["other"] == "finished"
    assert "waited" not in session.list_objects()
