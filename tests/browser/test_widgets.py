"""The panel and the form in a cell, in a real JupyterLab, as a person uses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from jupyter_mlsvc import Client
from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.conftest import AXE
from tests.browser.lab import Lab
from tests.browser.test_side_panel import IRIS

PUBLISH = [
    *IRIS[:2],
    """%%publish Flowers V1.0 -i flower_data:vector -o iris_species:vector
iris_species = [names[x] for x in clf.predict([flower_data])]""",
    "%%publish Flowers V2.0 -i table:data.frame,scale:numeric,strict:logical -o sums:data.frame "
    """--files plot.png
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
sums = table * scale + 0 * strict
sums.plot()
plt.savefig("plot.png", dpi=40)""",
]


@pytest.fixture(autouse=True)
def nothing_left(lab_server: ServerProcess) -> Iterator[None]:
    """Other tests share the server."""
    yield
    with Client(lab_server.notebook_url, lab_server.jupyter_token) as client:
        for service in client.services.list():
            if service.name in {"Flowers", "Petals"}:
                service.delete()
        for session in client.sessions.list():
            session.close()
        for snapshot in client.snapshots.list():
            snapshot.delete()


def test_a_panel_in_a_cell_calls_deletes_and_closes(lab: Lab) -> None:
    cells = [*PUBLISH, "import jupyter_mlsvc\np = jupyter_mlsvc.panel()\np"]
    lab.open_lab("widget-panel", lab.notebook("widget-panel", cells))
    lab.page.set_viewport_size({"width": 1280, "height": 1500})
    lab.run_all(len(cells))
    panel = lab.output(4)
    expect(panel.get_by_role("tab")).to_have_text(["Services (1)", "Sessions (1)"])
    lab.shot("services", panel)
    panel.get_by_role("button", name="Flowers").click()
    panel.get_by_label("table data.frame").fill("a\tb\n1\t2\n3\t4")
    panel.get_by_label("scale numeric").fill("2")
    panel.get_by_role("button", name="Run").click()
    expect(panel.get_by_role("img", name="Image plot.png")).to_be_visible()
    lab.shot("table-and-image", panel)

    panel.get_by_label("scale numeric").fill("much")
    panel.get_by_role("button", name="Run").click()
    expect(panel.get_by_label("scale numeric")).to_be_focused()
    lab.shot("mistake", panel)
    assert lab.axe(AXE, ".jp-MlsvcWidget") == []

    panel.get_by_role("button", name="Delete…").click()
    expect(panel.get_by_text("Delete Flowers V2.0? 1 call since")).to_be_visible()
    lab.shot("confirm", panel)
    panel.get_by_role("button", name="Delete", exact=True).click()
    expect(panel.get_by_role("status").get_by_text("Deleted Flowers V2.0.")).to_be_visible()
    expect(panel.get_by_role("button", name="Flowers V1.0")).to_be_focused()

    panel.get_by_role("tab", name="Sessions").click()
    panel.get_by_role("button", name="Take a snapshot").click()
    expect(panel.get_by_text("Took a snapshot of session “iris”")).to_be_visible()
    lab.theme("JupyterLab Dark")
    lab.shot("dark", panel)
    assert lab.axe(AXE, ".jp-MlsvcWidget") == []
    lab.theme("JupyterLab Light")
    panel.get_by_role("button", name="Close…").click()
    panel.get_by_role("button", name="Close", exact=True).click()
    expect(panel.get_by_text("No sessions")).to_be_visible()


def test_a_form_of_a_service_is_shown_and_used(lab: Lab) -> None:
    cells = [
        *(cell.replace("Flowers", "Petals") for cell in PUBLISH[:3]),
        "import jupyter_mlsvc\nsvc = %mlsvc service Petals V1.0\n"
        "form = jupyter_mlsvc.form(svc, flower_data=[7, 3.2, 4.7, 1.4])\nform",
        "last = 2",
        "%%publish Petals V2.0 -i last:integer -o words:character\nimport time\n"
        "for _ in range(last):\n    yield 'rose '\n    time.sleep(0.05)",
        "jupyter_mlsvc.form('Petals', last=5000)",
    ]
    lab.open_lab("widget-form", lab.notebook("widget-form", cells))
    lab.run_all(len(cells))
    form = lab.output(3)
    typed = form.get_by_label("flower_data vector")
    expect(typed).to_have_value("7, 3.2, 4.7, 1.4")
    lab.shot("form", form)
    form.get_by_role("button", name="Run").click()
    expect(form.get_by_text("I. versicolor")).to_be_visible()
    lab.shot("called", form)

    endless = lab.output(6)
    endless.get_by_role("button", name="Run").click()
    expect(endless.get_by_text("rose rose")).to_be_visible()
    lab.shot("stream", endless)
    endless.get_by_role("button", name="Stop").click()
    expect(endless.get_by_text("Stopped")).to_be_visible()
    lab.shot("stopped", endless)
