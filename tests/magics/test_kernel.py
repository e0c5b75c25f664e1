"""The magics in a kernel that Jupyter started, as in a notebook: nothing is set up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.magics.notebook import Notebook
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def notebook(user_server: ServerProcess) -> Iterator[Notebook]:
    notebook = Notebook(user_server, "test.ipynb")
    notebook.run("%load_ext jupyter_mlsvc\n%mlsvc session new test")
    yield notebook
    notebook.run("sessions = %mlsvc sessions\nfor session in sessions: session.close()")
    notebook.close()


def test_a_notebook_needs_no_set_up(notebook: Notebook) -> None:
    assert notebook.text("%remote_exec print('over there')") == "over there\n"


def test_the_tokens_of_the_notebook_stay_out_of_the_session(notebook: Notebook) -> None:
    code = "%%remote_exec\nimport os\nprint([name for name in os.environ if 'MLSVC_TOKEN' in name])"
    assert notebook.text(code) == "[]\n"


def test_output_comes_while_the_code_runs(notebook: Notebook, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    messages = notebook.messages(
        notebook.start(
            "%%remote_exec\nimport os, time\nprint('a')\n"
            f"while not os.path.exists({str(seen)!r}): time.sleep(0.05)\nprint('b')"
        )
    )
    _, first, _ = next(messages)
    assert first["text"].strip() == "a"
    seen.touch()
    assert first["text"] + "".join(content["text"] for _, content, _ in messages) == "a\nb\n"


def test_a_silent_cell_shows_for_how_long_it_has_been_running_until_it_ends(
    notebook: Notebook,
) -> None:
    notebook.run("%config MlsvcConnection.progress_after = 1")
    output = notebook.run("%remote_exec import time; time.sleep(3.5)")
    notebook.run("%config MlsvcConnection.progress_after = 3")
    (shown,) = (content["data"] for kind, content, _ in output if kind == "display_data")
    assert shown["text/plain"].startswith("Running in session 'test'")
    view = shown["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert re.search("00:0[1-9]", str(output))
    assert [content["comm_id"] for kind, content, _ in output if kind == "comm_close"] == [view]


def test_output_of_several_kinds_keeps_its_order(notebook: Notebook) -> None:
    output = notebook.run(
        "%%remote_exec\n"
        "import sys\n"
        "from IPython.display import HTML, display\n"
        "print('one')\n"
        "print('two', file=sys.stderr)\n"
        "display(HTML('<i>three</i>'))\n"
        "print('four')\n"
        "5"
    )
    seen = [
        content.get("text") or content["data"].get("text/html") or content["data"]["text/plain"]
        for _, content, _ in output
    ]
    assert seen == ["one\n", "two\n", "<i>three</i>", "four\n", "5"]
    assert [kind for kind, _, _ in output] == [
        "stream",
        "stream",
        "display_data",
        "stream",
        "execute_result",
    ]


def test_a_display_is_updated_in_its_place(notebook: Notebook) -> None:
    output = notebook.run(
        "%%remote_exec\n"
        "from IPython.display import display\n"
        "shown = display('before', display_id=True)\n"
        "shown.update('after')"
    )
    (first_kind, first, _), (second_kind, second, _) = output
    assert (first_kind, second_kind) == ("display_data", "update_display_data")
    assert first["transient"]["display_id"] == second["transient"]["display_id"]
    assert second["data"]["text/plain"] == "'after'"


def test_output_is_cleared(notebook: Notebook) -> None:
    output = notebook.run(
        "%%remote_exec\nfrom IPython.display import clear_output\nprint('a')\n"
        "clear_output(wait=True)\nprint('b')"
    )
    assert [kind for kind, _, _ in output] == ["stream", "clear_output", "stream"]
    assert output[1][1] == {"wait": True}


def test_a_plot_is_shown_in_the_cell(notebook: Notebook) -> None:
    # Where the import takes long, that it does is shown as well.
    notebook.run("%config MlsvcConnection.progress_after = 0")
    output = notebook.run(
        "%%remote_exec\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    )
    notebook.run("%config MlsvcConnection.progress_after = 3")
    assert [kind for kind, _, _ in output] == ["display_data"]
    assert output[0][1]["data"]["image/png"].startswith("iVBOR")


def test_an_error_begins_with_one_readable_line(notebook: Notebook) -> None:
    ((kind, content, _),) = notebook.run("%%remote_exec\ndef f():\n    1 / 0\n\n\nf()")
    assert kind == "error"
    assert content["ename"] == "RemoteExecutionError"
    assert content["traceback"][0] == "ZeroDivisionError in session 'test': division by zero"
    assert "ZeroDivisionError" in content["traceback"][-2]
    assert not any("jupyter_mlsvc" in line for line in content["traceback"])
    assert notebook.last_reply["status"] == "error"


def test_a_mistake_of_use_is_one_line(notebook: Notebook) -> None:
    text = notebook.text("%%remote_exec --sesion x\n1")
    assert text.splitlines()[0] == "UsageError: unknown option --sesion."


def test_interrupting_the_cell_interrupts_the_code_and_leaves_the_session_usable(
    notebook: Notebook,
) -> None:
    cell = notebook.start(
        "%%remote_exec\nimport time\nfor i in range(6000):\n    print(i)\n    time.sleep(0.01)"
    )
    messages = notebook.messages(cell)
    first = next(messages)
    notebook.interrupt()
    rest = [first, *messages]
    reply = notebook.reply(cell)
    assert reply["ename"] == "RemoteInterrupted"
    assert [content["traceback"] for kind, content, _ in rest if kind == "error"] == [
        ["RemoteInterrupted: interrupted; session 'test' is still usable."]
    ]
    printed = "".join(content["text"] for kind, content, _ in rest if kind == "stream").split()
    reached = int(notebook.text("%remote_exec print(i)"))
    assert reached < 5999
    # Nothing that was printed before the code stopped is lost, and nothing is shown twice.
    assert printed[-1] in {str(reached), str(reached - 1)}
    assert printed == [str(number) for number in range(int(printed[0]), int(printed[-1]) + 1)]


def test_interrupting_attach_leaves_the_code_running(notebook: Notebook) -> None:
    notebook.run(
        "%remote_exec import time\nsession = %mlsvc session\n"
        "session.start_execution('for i in range(6000): print(i); time.sleep(0.01)')"
    )
    cell = notebook.start("%mlsvc attach")
    messages = notebook.messages(cell)
    for kind, content, _ in messages:
        if kind == "stream" and "\n3" in content["text"]:
            break
    notebook.interrupt()
    list(messages)
    assert notebook.reply(cell)["ename"] == "Detached"
    assert notebook.text("print(session.executions()[-1].state)") == "running\n"
    notebook.run("session.cancel()")


def test_interrupting_while_another_cell_waits_stops_the_run(notebook: Notebook) -> None:
    first = notebook.start("%%remote_exec\nimport time\nprint('on')\ntime.sleep(60)")
    second = notebook.start("print('not reached')")
    next(notebook.messages(first))
    notebook.interrupt()
    assert notebook.reply(first)["ename"] == "RemoteInterrupted"
    assert notebook.reply(second)["status"] == "aborted"


def test_names_of_the_server_are_completed(notebook: Notebook) -> None:
    notebook.run("%publish Completed V1 -i first_input:numeric -o y:numeric y = first_input")
    line = "%consume Completed V1 fir"

    def completed() -> bool:
        reply = notebook.client.complete(line, reply=True, timeout=60)["content"]
        return bool(reply["matches"] == ["first_input="])

    wait_until(completed)  # the first key press may come before the names do
    notebook.run("%mlsvc delete Completed V1")


def test_a_service_is_shown_as_a_table(notebook: Notebook) -> None:
    notebook.run("%publish Shown V1 -i a:numeric -o b:numeric b = a")
    output = notebook.run("%mlsvc service Shown V1")
    assert "<table" in output[-1][1]["data"]["text/html"]
    assert output[-1][1]["data"]["text/plain"].startswith("Service Shown V1")
    notebook.run("%mlsvc delete Shown V1")


def test_the_session_is_named_after_the_notebook(user_server: ServerProcess) -> None:
    notebook = Notebook(user_server, "Iris model.ipynb")
    text = notebook.text("%load_ext jupyter_mlsvc\n%remote_exec print(1)")
    notebook.run("%mlsvc session close")
    notebook.close()
    assert text == "Started session 'Iris model'.\n1\n"
