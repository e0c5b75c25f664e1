"""The panel in a real kernel on a real server, by the messages that a page exchanges with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door
from tests.magics.notebook import Notebook
from tests.widgets.front_end import FrontEnd

pytestmark = pytest.mark.kernel

PANEL = "import jupyter_mlsvc\np = jupyter_mlsvc.panel()\np"
THREADS = "import threading; print([t.name for t in threading.enumerate()])"
WIDGETS = "from ipywidgets.widgets.widget import _instances; print(len(_instances))"

Publish = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def notebook(user_server: ServerProcess) -> Iterator[Notebook]:
    notebook = Notebook(user_server, "panel.ipynb")
    yield notebook
    notebook.close()


@pytest.fixture(scope="module")
def door(user_server: ServerProcess) -> Door:
    connection = json.loads(user_server.connection_file.read_text())
    return Door(user_server.public_url, connection["token"])


@pytest.fixture
def publish(door: Door) -> Iterator[Publish]:
    """Publish a service by the public API, as another program of the person; it goes afterwards."""
    made: list[str] = []

    def publish(name: str, version: str, code: str) -> None:
        body = {
            "code": code,
            "runtimeType": "Python",
            "inputParameterDefinitions": [{"name": "a", "type": "vector"}],
            "outputParameterDefinitions": [{"name": "b", "type": "numeric"}],
        }
        door.post(f"/services/{name}/{version}", json=body).raise_for_status()
        made.append(f"/services/{name}/{version}")

    yield publish
    for path in made:
        door.delete(path)


@pytest.fixture
def page(notebook: Notebook) -> Iterator[FrontEnd]:
    """A page with a panel in a cell."""
    page = FrontEnd(notebook)
    page.run(PANEL)
    page.show()
    page.wait_until(lambda: "Services" in str(page.models))
    yield page
    page.run("p.close()")
    page.run("for session in p.state.sessions: p.state.close_session(session)\np.state.close()")
    assert page.errors == []


def test_without_widgets_the_panel_is_readable(page: FrontEnd, publish: Publish) -> None:
    publish("Plain", "V1", "b = sum(a)")
    page.run("p.state.load()\np")
    assert re.search(r"^Plain +V1 ", page.last_display["text/plain"], re.MULTILINE)
    assert "No sessions." in page.last_display["text/html"]


def test_what_others_publish_and_delete_appears_and_goes(
    page: FrontEnd, publish: Publish, door: Door
) -> None:
    publish("Appears", "V1", "b = sum(a)")
    page.wait_until(lambda: "Appears  V1" in page.options(0))
    door.delete("/services/Appears/V1")
    page.wait_until(lambda: "Appears  V1" not in page.options(0))


def test_it_is_live_while_a_cell_runs(page: FrontEnd, publish: Publish, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    cell = page.notebook.start(
        f"import os, time\nwhile not os.path.exists({str(seen)!r}): time.sleep(0.05)"
    )
    publish("Meanwhile", "V1", "b = sum(a)")
    page.wait_until(lambda: "Meanwhile  V1" in page.options(0))
    seen.touch()
    page.notebook.reply(cell)


def test_a_search_narrows_the_list(page: FrontEnd, publish: Publish) -> None:
    publish("First", "V1", "b = sum(a)")
    publish("Second", "V1", "b = sum(a)")
    page.wait_until(lambda: {"First  V1", "Second  V1"} <= set(page.options(0)))
    page.set(page.find("Text"), value="second")
    page.wait_until(lambda: page.options(0) == ["Second  V1"])
    page.set(page.find("Text"), value="nothing")
    page.wait_until(lambda: "No service fits the search." in page.texts())


def test_a_form_stays_open_while_the_list_changes(page: FrontEnd, publish: Publish) -> None:
    publish("Open", "V1", "b = sum(a)")
    page.wait_until(lambda: "Open  V1" in page.options(0))
    page.set(page.find("Text"), value="open")
    page.wait_until(lambda: page.options(0) == ["Open  V1"])
    page.click("Try it")
    form = page.find("Any")
    page.set(form, inputs={"a": [1, 2]})
    publish("Open", "V2", "b = sum(a)")
    page.wait_until(lambda: page.options(0) == ["Open  V2", "Open  V1"])
    assert page.models[form]["inputs"] == {"a": [1, 2]}


def test_deleting_asks_first_and_says_what_calls_there_were(
    page: FrontEnd, publish: Publish, door: Door
) -> None:
    publish("Deleted", "V1", "b = sum(a)")
    publish("Deleted", "V2", "b = sum(a)")
    door.post("/api/Deleted/V2", json={"a": [1]}).raise_for_status()
    page.set(page.find("Text"), value="deleted")
    page.wait_until(lambda: page.options(0) == ["Deleted  V2", "Deleted  V1"])
    page.set(page.select(0), index=0)
    page.click("Delete…")
    page.wait_until(lambda: "Delete Deleted V2 for good? It was called once" in page.texts())
    page.click("Keep")
    page.wait_until(lambda: not page.is_shown(page.find("Button", description="Delete")))
    assert door.get("/services/Deleted/V2").status_code == 200
    page.click("Delete…")
    page.click("Delete")
    page.wait_until(lambda: page.options(0) == ["Deleted  V1"])
    page.wait_until(lambda: "Deleted Deleted V2." in page.texts())
    assert door.get("/services/Deleted/V2").status_code == 404


def test_a_session_is_interrupted_kept_and_closed(page: FrontEnd) -> None:
    page.run(
        "%load_ext jupyter_mlsvc\n%mlsvc session new working\n"
        "working = p.state.connect().session('working')\n"
        "import threading\n"
        "done = threading.Thread(target=lambda: working.execute("
        "'import time; time.sleep(60)', check=False))\ndone.start()"
    )
    page.wait_until(lambda: page.options(1) == ["working  (busy)"])
    page.click("Interrupt")
    page.wait_until(lambda: page.options(1) == ["working  (idle)"])
    page.wait_until(lambda: "Interrupted session" in page.texts())
    page.click("Take a snapshot")
    page.wait_until(lambda: "Took a snapshot of session" in page.texts())
    page.click("Close…")
    page.wait_until(lambda: "Its variables go with it." in page.texts())
    page.click("Close")
    page.wait_until(lambda: page.options(1) == [])
    page.wait_until(lambda: "You have no session" in page.texts())
    page.wait_until(lambda: "Closed session" in page.texts())
    page.run("done.join()\nfor each in p.state.connect().snapshots.list(): each.delete()")


def test_a_panel_without_a_view_stops_asking_and_goes_on_with_one(page: FrontEnd) -> None:
    root = page.show()
    page.wait_until(lambda: "mlsvc-panel" in page.run(THREADS))
    page.set(root, _view_count=0)
    page.wait_until(lambda: "mlsvc-panel'" not in page.run(THREADS))
    page.set(root, _view_count=1)
    page.wait_until(lambda: "mlsvc-panel" in page.run(THREADS))


def test_closing_frees_widgets_and_threads(notebook: Notebook) -> None:
    page = FrontEnd(notebook)
    before = page.run(WIDGETS)
    page.run(PANEL)
    page.show()
    assert page.run(WIDGETS) != before
    page.run("p.close()\np.close()")
    assert page.models == {}
    assert page.run(WIDGETS) == before
    page.wait_until(lambda: "mlsvc" not in page.run(THREADS))
    assert page.errors == []


def test_a_server_that_is_away_is_one_line_in_the_panel(notebook: Notebook) -> None:
    page = FrontEnd(notebook)
    page.run(
        "from jupyter_mlsvc import Client\n"
        "away = jupyter_mlsvc.panel(Client('http://127.0.0.1:9', 'token'))\naway"
    )
    assert page.last_display["text/plain"].startswith(
        "ML services: The server at http://127.0.0.1:9 cannot be reached: connection refused."
    )
    assert "cannot be reached: connection refused" in page.texts()
    page.run("away.close()")
    assert page.errors == []


def test_a_kernel_that_shuts_down_while_a_panel_is_live_says_nothing(
    user_server: ServerProcess,
) -> None:
    notebook = Notebook(user_server, "shutdown.ipynb")
    page = FrontEnd(notebook)
    page.run(PANEL)
    page.show()
    cell = notebook.start("exit()")
    page.wait_until(lambda: notebook.reply(cell)["status"] == "ok")
    assert page.errors == []
    notebook.close()
