"""Notebooks that run without anybody before them: nbconvert, papermill, CI, and plain IPython."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.config import is_watched, notebook_path
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc_server.launch import ServerProcess
from tests.magics.conftest import Run
from tests.waiting import wait_until

SEEN = "%%remote_exec\nprint(sorted(n for n in globals() if n.startswith('from_')))"


@pytest.fixture
def client(user_server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """What the server has; kernels that are started here find it as in JupyterLab."""
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setenv("MLSVC_CONNECTION_FILE", str(user_server.connection_file))
    with Client() as client:
        yield client
        for session in client.sessions.list():
            session.close()


def execute(*cells: str, **options: Any) -> list[str]:
    """Run cells as nbconvert and papermill do; gives what each printed."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in ("%load_ext jupyter_mlsvc", *cells)]
    )
    NotebookClient(notebook, kernel_name="python3", timeout=120, **options).execute()
    return [
        "".join(output.get("text", str(output)) for output in cell.outputs)
        for cell in notebook.cells[1:]
    ]


STARTED = "Started a session that ends with this kernel.\n"


@pytest.mark.kernel
def test_runs_one_after_the_other_see_nothing_of_each_other(client: Client, tmp_path: Path) -> None:
    paths = []
    for number in (1, 2):
        cells = [
            f"%remote_exec from_{number} = 1",
            SEEN,
            "%load_ext jupyter_mlsvc\n%mlsvc sessions",
        ]
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in ("%load_ext jupyter_mlsvc", *cells)]
        )
        paths.append(tmp_path / f"run{number}.ipynb")
        nbformat.write(notebook, paths[-1])
    for number, path in enumerate(paths, 1):
        subprocess.run(
            [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace", path],
            check=True,
            capture_output=True,
        )
        cells = nbformat.read(path, 4).cells[1:]
        assert cells[0].outputs[0].text == STARTED
        assert cells[1].outputs[0].text == f"['from_{number}']\n"
        assert re.search(r"\bkernel-[0-9a-f]{8}\b", str(cells[2].outputs))
        assert list(client.sessions.list()) == []


@pytest.mark.kernel
def test_runs_at_the_same_time_see_nothing_of_each_other(
    client: Client, writable_dir: Path
) -> None:
    outputs: dict[int, list[str]] = {}

    def run(number: int) -> None:
        other = writable_dir / f"{3 - number}"
        wait = f"import pathlib, time\npathlib.Path({str(writable_dir / str(number))!r}).touch()\n"
        wait += f"while not pathlib.Path({str(other)!r}).exists(): time.sleep(0.05)"
        outputs[number] = execute(f"%remote_exec from_{number} = 1", wait, SEEN)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (1, 2):
        assert outputs[number] == [STARTED, "", f"['from_{number}']\n"]
    assert list(client.sessions.list()) == []


@pytest.mark.kernel
def test_a_cell_that_raises_leaves_no_session(client: Client) -> None:
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute("%remote_exec x = 1", "1 / 0")
    assert list(client.sessions.list()) == []


@pytest.mark.kernel
def test_sessions_that_a_run_names_stay(client: Client) -> None:
    assert execute("%remote_exec --session shared x = 1") == ["Started session 'shared'.\n"]
    assert execute("%remote_exec --session shared print(x)") == [
        "Continuing in session 'shared'.\n1\n"
    ]
    assert [session.name for session in client.sessions.list()] == ["shared"]


LEASE = """
import time
from jupyter_mlsvc import Client
with Client() as client:
    def left():
        (session,) = client.sessions.list()
        assert session.lease_seconds <= 8
        return session.lease_seconds
    before = left()
    {}
"""


@pytest.mark.kernel
def test_the_session_of_a_kernel_that_is_killed_ends_with_its_lease(client: Client) -> None:
    cells = ["%config MlsvcConnection.lease_seconds = 8", "%remote_exec x = 1"]
    # It is renewed while the kernel lives, whatever runs.
    renewed = LEASE.format("while (now := left()) <= before: before = now; time.sleep(0.1)")
    outputs = execute(*cells, renewed, "%remote_exec print(x)")
    assert outputs[2:] == ["", "1\n"]
    with pytest.raises(Exception, match="died"):
        execute(*cells, LEASE.format("import os; os.kill(os.getpid(), 9)"))
    wait_until(lambda: list(client.sessions.list()) == [])


@pytest.mark.kernel
def test_what_a_run_shows_does_not_depend_on_how_long_it_takes(client: Client) -> None:
    outputs = execute(
        "%config MlsvcConnection.progress_after = 0.01",
        "%remote_exec import time; time.sleep(2.5)",
        "from jupyter_mlsvc.config import is_watched; print(is_watched())",
        "import jupyter_mlsvc\njupyter_mlsvc.panel()",
    )
    assert outputs[:3] == ["", STARTED, "False\n"]
    # No view, whose front end is not kept, takes the place of what can be read.
    assert "'text/html'" in outputs[3]
    assert "widget-view" not in outputs[3]


@pytest.mark.kernel
def test_a_run_that_a_notebook_starts_is_not_that_notebook(
    client: Client, writable_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that names the notebook is inherited by what its cells start."""
    path = writable_dir / "inner.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell(cell)
                for cell in ("%load_ext jupyter_mlsvc", "%remote_exec print(1)")
            ]
        ),
        path,
    )
    environment = os.environ | {"JPY_SESSION_NAME": "/home/ana/outer.ipynb"}
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace", path],
        check=True,
        capture_output=True,
        env=environment,
    )
    cells = nbformat.read(path, 4).cells
    assert cells[1].outputs[0].text == f"{STARTED}1\n"
    assert list(client.sessions.list()) == []


@pytest.mark.kernel
def test_plain_ipython_closes_its_session_at_the_end(client: Client, writable_dir: Path) -> None:
    code = (
        "get_ipython().run_line_magic('load_ext', 'jupyter_mlsvc')\n"
        "get_ipython().run_line_magic('remote_exec', 'print(2)')\n"
        "print([each.name for each in get_ipython().run_line_magic('mlsvc', 'sessions')])\n"
    )
    script = writable_dir / "script.ipy"
    script.write_text(code)
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=nocolor", script],
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(rf"{STARTED}2\n\['kernel-[0-9a-f]{{8}}'\]\n", ran.stdout), ran.stdout
    assert list(client.sessions.list()) == []
    terminated = subprocess.Popen(
        [sys.executable, "-m", "IPython", "-i", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    wait_until(lambda: len(client.sessions.list()) == 1)
    assert terminated.stdin is not None
    terminated.stdin.close()
    terminated.wait(60)
    assert list(client.sessions.list()) == []
    if terminated.poll() is None:
        terminated.send_signal(signal.SIGKILL)


# --- which notebook --------------------------------------------------------------------------


def test_a_kernel_knows_its_notebook_by_what_jupyter_says() -> None:
    own = {"JPY_SESSION_NAME": "/home/ana/a.ipynb"}
    assert notebook_path(own) == "/home/ana/a.ipynb"
    assert notebook_path(own | {"JPY_PARENT_PID": str(os.getpid())}) == "/home/ana/a.ipynb"
    assert notebook_path({}) is None
    assert notebook_path({"JPY_SESSION_NAME": ""}) is None
    for nonsense in ("", "x", "-1", str(2**22 + 1)):
        assert notebook_path(own | {"JPY_PARENT_PID": nonsense}) == "/home/ana/a.ipynb"


def test_a_program_and_a_terminal_are_watched() -> None:
    assert is_watched()


def test_vs_code_tells_its_notebooks_by_a_variable(
    shell: InteractiveShell, connection: MlsvcConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert connection.ends_with_kernel
    shell.user_ns["__vsc_ipynb_file__"] = "/home/ana/model.ipynb"
    assert connection.default_name() == "model"
    assert not connection.ends_with_kernel


# --- notebooks of one name -------------------------------------------------------------------


@pytest.fixture
def move_to(connection: MlsvcConnection, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Be another notebook from now on."""

    def move(path: str) -> None:
        monkeypatch.setenv("JPY_SESSION_NAME", path)
        connection._sessions.clear()
        connection._current = None

    return move


@pytest.mark.kernel
def test_notebooks_of_one_name_in_different_folders_have_their_own_sessions(
    run: Run, move_to: Callable[[str], None], connection: MlsvcConnection
) -> None:
    move_to("/home/ana/team a/churn.ipynb")
    assert run("%remote_exec x = 'a'").stdout == "Started session 'churn'.\n"
    move_to("/home/ana/team b/churn.ipynb")
    assert connection.existing() is None
    assert run("%remote_exec x = 'b'").stdout == "Started session 'churn (team b)'.\n"
    move_to("/srv/team b/churn.ipynb")
    third = run("%remote_exec x = 'c'").stdout
    assert re.fullmatch(r"Started session 'churn \(team b [0-9a-f]{4}\)'\.\n", third)
    # Kernels that are restarted come back to their own, by default and by the notebook's name.
    for path, value in (
        ("/srv/team b/churn.ipynb", "c"),
        ("/home/ana/team a/churn.ipynb", "a"),
        ("/home/ana/team b/churn.ipynb", "b"),
    ):
        for option in ("", "--session churn"):
            move_to(path)
            ran = run(f"%remote_exec {option} print(x)")
            assert ran.stdout.endswith(f"{value}\n")
            assert ran.stdout.startswith("Continuing in session 'churn")
    names = {session.name for session in connection.client.sessions.list()}
    assert len(names) == 3
    move_to("/home/ana/team b/churn.ipynb")
    assert run("%mlsvc session 'churn (team b)'").value.notebook == "/home/ana/team b/churn.ipynb"


@pytest.mark.kernel
def test_a_session_that_a_program_named_like_the_notebook_is_taken(
    run: Run, move_to: Callable[[str], None], connection: MlsvcConnection
) -> None:
    move_to("/home/ana/made.ipynb")
    connection.client.sessions.create("made").execute("x = 1")
    assert run("%remote_exec print(x)").stdout == "Continuing in session 'made'.\n1\n"


# --- closing all -----------------------------------------------------------------------------


@pytest.mark.kernel
def test_all_sessions_are_closed_at_once(run: Run, connection: MlsvcConnection) -> None:
    for session in connection.client.sessions.list():
        session.close()
    assert run("%mlsvc session close --all").stdout == "No session was there to close.\n"
    run("%mlsvc session new one")
    assert run("%mlsvc session close --all").stdout == "Closed session 'one'.\n"
    for name in ("one", "two", "three"):
        run(f"%mlsvc session new {name}")
    closed = run("%mlsvc session close --all").stdout
    assert closed == "Closed 3 sessions: 'one', 'two' and 'three'.\n"
    assert list(connection.client.sessions.list()) == []
    assert connection.current is None
    assert "--all goes with" in str(run("%mlsvc session --all").error)
    assert "--all goes with" in str(run("%mlsvc session close one --all").error)
