"""The dialog that makes a service of a notebook's cell."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Api
from tests.browser.lab import Lab

CELLS = [
    "%load_ext jupyter_mlsvc",
    """%%remote_exec --session flowers
from sklearn import datasets, svm
iris = datasets.load_iris()
names = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}
clf = svm.SVC().fit(iris.data, iris.target)""",
    "flower_data = [7, 3.2, 4.7, 1.4]",
    """%%remote_exec -i flower_data
species = names[clf.predict([flower_data])[0]]""",
]


def test_a_cell_becomes_a_service_with_what_was_found_out_by_itself(lab: Lab, api: Api) -> None:
    file = lab.notebook("flowers", CELLS)
    lab.open_lab("flowers", file)
    lab.run_all(len(CELLS))
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-CodeCell").nth(3).locator(".jp-InputPrompt").click()
    notebook.get_by_role("button", name="Publish the code of the active").click()
    dialog = lab.page.get_by_role("dialog")
    # Read by the cell and sent with it: the input. Written by it: the output.
    expect(dialog.get_by_label("Name of input 1")).to_have_value("flower_data")
    expect(dialog.get_by_label("Type of input 1")).to_have_value("vector")
    expect(dialog.get_by_label("Name of output 1")).to_have_value("species")
    expect(dialog.get_by_label("Type of output 1")).to_have_value("character")
    expect(dialog.get_by_label("Other names that the code reads")).to_contain_text("clf")
    lab.shot("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("Flower-dialog")
    dialog.get_by_role("textbox", name="Version", exact=True).fill("V1.0")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    expect(dialog).to_have_count(0, timeout=30_000)
    expect(lab.page.get_by_text("Flower-dialog V1.0 is published at")).to_be_visible()
    call = notebook.locator(".jp-CodeCell").nth(4)
    expect(call).to_contain_text("%consume Flower-dialog V1.0 flower_data=[7, 3.2, 4.7, 1.4]")
    call.locator(".jp-InputPrompt").click()
    lab.command("notebook:run-cell")
    expect(lab.output(4)).to_contain_text("I. versicolor")
    (service,) = api("GET", "/services/Flower-dialog/V1.0").json()
    assert service["code"].strip() == "species = names[clf.predict([flower_data])[0]]"
    lab.shot("published")


def test_what_the_server_refuses_stands_in_the_dialog_with_what_was_typed(
    lab: Lab, adder: str
) -> None:
    file = lab.notebook("refused", ["total = 1 + 1"])
    lab.open_lab("refused", file)
    lab.run_all(1)
    lab.page.locator(".jp-NotebookPanel:visible .jp-CodeCell .jp-InputPrompt").click()
    lab.command("mlsvc:publish-cell")
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill(adder)
    dialog.get_by_role("textbox", name="Version", exact=True).fill("V1.0")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text(adder)
    expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_have_value(adder)
    lab.shot("refused")
    dialog.get_by_role("textbox", name="Version", exact=True).fill("V3.0")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    expect(dialog).to_have_count(0, timeout=30_000)
