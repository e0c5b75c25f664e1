"""``%remote_exec`` in a real shell against a real server."""

from __future__ import annotations

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.errors import MlsvcError, RemoteExecutionError
from jupyter_mlsvc.magics.connection import MlsvcConnection

from .conftest import Run

pytestmark = pytest.mark.kernel


def test_the_session_is_started_on_first_use_and_kept(run: Run) -> None:
    assert run("%%remote_exec\nx = 41\nprint('set')").stdout == "Started session 'default'.\nset\n"
    assert run("%%remote_exec\nprint(x + 1)").stdout == "42\n"


def test_a_new_kernel_continues_in_the_session(run: Run, connection: MlsvcConnection) -> None:
    run("%remote_exec x = 1")
    connection._sessions.clear()
    connection._current = None
    assert run("%remote_exec print(x)").stdout == "Continuing in session 'default'.\n1\n"


def test_sessions_have_variables_of_their_own(run: Run) -> None:
    run("%remote_exec --session one x = 1")
    run("%remote_exec --session two x = 2")
    assert run("%remote_exec --session one print(x)").stdout == "1\n"
    assert run("%remote_exec print(x)").stdout == "1\n"


def test_stdout_and_stderr_come_where_they_belong(run: Run) -> None:
    ran = run("%%remote_exec\nimport sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert ran.stdout.splitlines()[-1] == "out"
    assert ran.stderr == "err\n"


def test_the_value_of_the_last_expression_is_the_result(run: Run) -> None:
    assert repr(run("%%remote_exec\n6 * 7").value) == "42"
    assert run("%%remote_exec\nx = 1").value is None
    assert run("%%remote_exec\n6 * 7;").value is None


def test_a_rich_value_keeps_its_looks(run: Run, on_server: InteractiveShell) -> None:
    value = run("%%remote_exec\nimport pandas\npandas.DataFrame({'a': [1]})").value
    assert on_server.display_formatter is not None
    shown, _ = on_server.display_formatter.format(value)
    assert "<table" in shown["text/html"]
    assert "a" in shown["text/plain"]


def test_rich_display_is_shown_here(run: Run) -> None:
    ran = run("%%remote_exec\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))")
    assert ran.displays[0]["text/html"] == "<b>x</b>"


def test_plots_are_shown_here(run: Run) -> None:
    ran = run("%%remote_exec\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert ran.displays[0]["image/png"].startswith("iVBOR")


def test_objects_go_and_come_back(run: Run, on_server: InteractiveShell) -> None:
    on_server.user_ns["a"] = np.arange(3)
    on_server.user_ns["b"] = {1: {"x"}, (2, 3): None}
    run("%%remote_exec -i a,b -o doubled,b2\ndoubled = a * 2\nb2 = b")
    assert on_server.user_ns["doubled"].tolist() == [0, 2, 4]
    assert on_server.user_ns["b2"] == {1: {"x"}, (2, 3): None}


def test_functions_of_the_notebook_go_too(run: Run, on_server: InteractiveShell) -> None:
    on_server.run_cell("rate = 2\ndef double(x): return x * rate")
    ran = run("%%remote_exec -i double,rate\nprint(double(21))\nrate = 3\nprint(double(21))")
    assert ran.stdout.splitlines()[-2:] == ["42", "63"]


def test_variables_of_a_function_that_uses_the_magic_are_found(run: Run) -> None:
    ran = run(
        "def score(row):\n"
        "    get_ipython().run_line_magic('remote_exec', '-i row -o out out = sum(row)')\n"
        "    return out\n"
        "score([1, 2, 3])"
    )
    assert ran.value == 6


def test_nothing_is_sent_when_a_variable_is_missing(run: Run, connection: MlsvcConnection) -> None:
    assert "There is no variable 'b' here to send" in str(
        run("a = 1\n%remote_exec -i a,b x = 1").error
    )
    assert list(connection.client.sessions.list()) == []


def test_an_output_that_is_not_set_is_named(run: Run) -> None:
    error = run("%remote_exec -o y x = 1").error
    assert str(error) == "The code ran, but there is no 'y' in session 'default' to bring back."


def test_an_object_that_cannot_be_sent_is_named(run: Run) -> None:
    error = run("import threading; lock = threading.Lock()\n%remote_exec -i lock x = 1").error
    assert isinstance(error, MlsvcError)
    assert str(error).startswith(
        "'lock' (lock) can't be sent to the server: TypeError: cannot pickle"
    )


def test_an_error_is_raised_here_with_the_remote_traceback(run: Run) -> None:
    run("%remote_exec x = 1")
    ran = run("%%remote_exec -o y\ndef f(a):\n    return a / 0\n\nf(x)\ny = 1")
    assert isinstance(ran.error, RemoteExecutionError)
    lines = ran.stdout.splitlines()
    assert lines[0] == "ZeroDivisionError in session 'default': division by zero"
    assert "ZeroDivisionError" in lines[3]
    assert "f(x)" in ran.stdout  # the line of the cell
    assert "in \x1b[36mf" in ran.stdout  # colours as IPython has them
    assert "jupyter_mlsvc" not in ran.stdout
    assert "zmq" not in ran.stdout


def test_a_missing_name_that_is_here_comes_with_a_hint(run: Run) -> None:
    ran = run("flower = [1]\n%remote_exec print(flower)")
    assert ran.stdout.splitlines()[1:3] == [
        "NameError in session 'default': name 'flower' is not defined",
        "Hint: 'flower' is a variable of this notebook; send it with -i flower.",
    ]


def test_a_syntax_error_has_its_line(run: Run) -> None:
    run("%remote_exec x = 1")
    first = run("%%remote_exec\nx = 1\nif x > 0\n    x = 2").stdout.splitlines()[0]
    assert first == "SyntaxError in session 'default': expected ':' (line 2)"


def test_braces_and_dollars_are_left_alone(run: Run) -> None:
    run("name = 'local'\n%remote_exec x = {'name': '$name {name}'}")
    assert run("%remote_exec print(x['name'])").stdout == "$name {name}\n"


def test_an_error_leaves_the_session_usable(run: Run) -> None:
    run("%remote_exec x = 1")
    run("%remote_exec 1 / 0")
    assert run("%remote_exec print(x)").stdout == "1\n"


def test_a_session_that_was_closed_elsewhere_is_said_and_then_started_again(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%remote_exec x = 1")
    connection.client.sessions.get("default").close()
    assert str(run("%remote_exec x").error).startswith("Session 'default' has ended on the server")
    assert run("%remote_exec print(2)").stdout == "Started session 'default'.\n2\n"


def test_a_session_whose_process_dies_is_an_error_and_no_hang(run: Run) -> None:
    run("%remote_exec x = 1")
    assert isinstance(run("%%remote_exec\nimport os\nos._exit(3)").error, RemoteExecutionError)
    assert isinstance(run("%remote_exec print(1)").error, MlsvcError)
    assert run("%remote_exec print(2)").stdout.endswith("2\n")


def test_attach_shows_what_another_notebook_has_a_session_run(
    run: Run, connection: MlsvcConnection
) -> None:
    run("%remote_exec import matplotlib.pyplot as plt")
    session = connection.current
    assert session is not None
    session.start_execution("plt.plot([1, 2])\nplt.show()\nprint('drawn')\n6 * 7")
    for _ in range(2):
        ran = run("%mlsvc attach")
        assert ran.displays[0]["image/png"].startswith("iVBOR")
        assert "drawn\n" in ran.stdout
        assert repr(ran.value) == "42"
    # What has ended is shown once more, from its beginning on.
    assert ran.stdout.startswith("Session 'default' ran this until")
    failed = session.start_execution("1 / 0")
    error = run(f"%mlsvc attach default --execution {failed}").error
    assert isinstance(error, RemoteExecutionError)
    assert "has no execution 'x'" in str(run("%mlsvc attach --execution x").error)
