"""The dialog that makes a service of a notebook's cell."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import requests
from playwright.sync_api import Locator, expect

from tests.browser.conftest import AXE, Api
from tests.browser.lab import Lab

PROGRAMS = {
    "curl": ["bash", "-c"],
    "Python": [sys.executable, "-c"],
    "jupyter_mlsvc": [sys.executable, "-c"],
    "JavaScript (Node)": ["node", "--input-type=module", "--eval"],
}
LOANS = """import pandas as pd
from sklearn.linear_model import LogisticRegression
loans = pd.DataFrame({"age": [25, 57, 49, 31], "income": [1.5, 4.2, 3.3, 2.1]})
pipe = LogisticRegression().fit(loans, [0, 1, 1, 0])
applicant = loans.head(2)"""
MIXED = """import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
loans = pd.DataFrame({
    "age": [25, 57, 49, 31],
    "income": [1500.5, None, 3300, 2100],
    "region": ["Nord", "Süd", None, "Nord"],
    "since": pd.to_datetime(["2020-01-31", "2021-02-28", None, "2022-03-31"]),
})
numbers = make_pipeline(SimpleImputer(), StandardScaler())
prepare = ColumnTransformer([
    ("numbers", numbers, ["age", "income"]),
    ("texts", OneHotEncoder(handle_unknown="ignore"), ["region"]),
])
pipe = make_pipeline(prepare, LogisticRegression()).fit(loans, [0, 1, 1, 0])
applicant = loans.head(2)"""
CELLS = [
    "# The magics are there without more ado.",
    """%%remote_exec --session flowers
from sklearn import datasets, svm
iris = datasets.load_iris()
names = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}
clf = svm.SVC().fit(iris.data, iris.target)""",
    "flower_data = [7, 3.2, 4.7, 1.4]",
    """%%remote_exec -i flower_data
species = names[clf.predict([flower_data])[0]]""",
]


def publish_cell(lab: Lab, cell: int) -> Locator:
    """Press the arrow with a cell chosen; gives the dialog, once it knows about the cell."""
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-CodeCell").nth(cell).locator(".jp-InputPrompt").click()
    notebook.get_by_role("button", name="Publish the code of the active").click()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_be_focused()
    return dialog


def name_it(dialog: Locator, name: str, version: str | None = None) -> None:
    dialog.get_by_role("textbox", name="Name", exact=True).fill(name)
    if version is not None:
        dialog.get_by_role("textbox", name="Version", exact=True).fill(version)


def press(dialog: Locator, button: str) -> None:
    dialog.get_by_role("button", name=button, exact=True).click()


def describe_it(lab: Lab, dialog: Locator) -> None:
    """Say what an input is, and choose made-up values for callers to see."""
    dialog.get_by_text("What callers see of applicant").click()
    expect(dialog.get_by_label("Type of since")).to_have_value(re.compile("^datetime64"))
    expect(dialog.get_by_label("Whether income may be missing")).to_have_value("yes")
    dialog.get_by_label("Description of income").fill("Euros a year")
    expect(dialog).to_contain_text("Callers do not see these values")
    lab.shot("described", dialog)
    dialog.get_by_role("radio", name="A synthetic example").check()
    expect(dialog).to_contain_text("Callers see:")
    lab.shot("synthetic", dialog)
    assert not lab.axe(AXE, ".jp-MlsvcPublish")


def try_by_columns(lab: Lab) -> None:
    """Fill in a form by columns, one row and several."""
    panel = lab.show_panel()
    panel.locator("[role=treeitem][data-service=Loans-first][data-version]").click()
    form = panel.locator("form.jp-Mlsvc-form")
    expect(form).to_contain_text("Euros a year")
    form.get_by_label("age").fill("40")
    form.get_by_label("region").fill("Süd")
    lab.shot("fields")
    form.get_by_role("button", name="Run").click()
    expect(form).to_contain_text("Done in")
    lab.shot("ran")
    call_from_programs(lab)
    form.get_by_role("button", name="Add a row").click()
    expect(form.get_by_label("income of row 2")).to_have_value("")
    form.get_by_label("age of row 2").fill("old")
    lab.shot("grid")
    form.get_by_role("button", name="Run").click()
    expect(form).to_contain_text("age: “old” is not a number.")
    assert not lab.axe(AXE, "form.jp-Mlsvc-form")


def call_from_programs(lab: Lab) -> None:
    """Copy the call of the form in each language, and run it."""
    token = requests.post(
        f"{lab.server.public_url}/login",
        json={"username": "admin", "password": lab.server.admin_password},
        timeout=60,
    ).json()["access_token"]
    calls = lab.panel.locator("[data-section='call']")
    calls.get_by_text("Call it from a program").click()
    for language, program in PROGRAMS.items():
        calls.get_by_role("combobox", name="Language of the call").select_option(label=language)
        calls.get_by_role("button", name="Copy").click()
        told = f"Copied a call of Loans-first V1.0 as {language}."
        expect(lab.page.get_by_text(told)).to_be_visible()
        text = lab.page.evaluate("navigator.clipboard.readText()")
        assert lab.server.public_url in text
        done = subprocess.run(
            [*program, text],
            env={**os.environ, "MLSVC_TOKEN": token},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "risk" in done.stdout


def test_a_data_scientist_publishes_in_three_ways_and_calls_in_six(lab: Lab, api: Api) -> None:
    predict = "risk = pipe.predict(applicant)"
    cells = [
        MIXED,
        f"%%publish Loans-magic -i applicant -o risk\n{predict}",
        f"import jupyter_mlsvc\njupyter_mlsvc.publish({predict!r}, 'Loans-code', 'V1.0')",
        "with jupyter_mlsvc.Client() as client:\n"
        "    print(client.service('Loans-magic')(applicant=applicant).risk)\n"
        "    print(client.service('Loans-code')(applicant=applicant).risk)",
        predict,
    ]
    lab.open_lab("first", lab.notebook("first", cells))
    lab.run_all(len(cells), timeout=120_000)
    expect(lab.output(3)).to_have_text("[0, 1]\n[0, 1]")
    dialog = publish_cell(lab, 4)
    expect(dialog.get_by_label("Name of input 1")).to_have_value("applicant")
    expect(dialog.get_by_label("Type of input 1")).to_have_value("data.frame")
    expect(dialog).to_contain_text("Sent along from this notebook:")
    expect(dialog).not_to_contain_text("session")
    lab.shot("first-dialog")
    describe_it(lab, dialog)
    name_it(dialog, "Loans-first")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("Loans-first V1.0 is published.", timeout=120_000)
    expect(dialog).to_contain_text("Tried with applicant (2 rows): risk = [0, 1]")
    lab.shot("first-published")
    press(dialog, "Done")
    expect(dialog).to_have_count(0)
    lab.command("notebook:run-cell")
    expect(lab.output(5)).to_contain_text("risk")
    assert api("GET", "/sessions").json() == []
    # A name that is taken: the next version is a button away.
    dialog = publish_cell(lab, 4)
    name_it(dialog, "Loans-first", "V1.0")
    expect(dialog.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    lab.shot("taken")
    press(dialog, "Use V1.1")
    expect(dialog.get_by_role("textbox", name="Version", exact=True)).to_have_value("V1.1")
    expect(dialog.get_by_role("button", name="Publish", exact=True)).to_be_enabled()
    press(dialog, "Cancel")
    # What is known of the columns makes the form of the version.
    (service,) = api("GET", "/services/Loans-first/V1.0").json()
    (applicant,) = service["inputParameterDefinitions"]
    assert applicant["example"]["region"] == ["text", "text"]
    assert "examples" not in service
    try_by_columns(lab)


def test_a_retrained_model_is_said_to_differ_and_is_sent(lab: Lab, api: Api) -> None:
    cells = [
        LOANS,
        "%mlsvc session new retrained\n%mlsvc put pipe",
        "pipe = LogisticRegression().fit(loans, [1, 0, 0, 1])",
        "risk = pipe.predict(applicant)",
    ]
    lab.open_lab("retrained", lab.notebook("retrained", cells))
    lab.run_all(len(cells))
    dialog = publish_cell(lab, 3)
    expect(dialog).to_contain_text("pipe differs from the session")
    lab.shot("differs")
    name_it(dialog, "Loans-again", "V2.0")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("it differed", timeout=60_000)
    lab.shot("differed")
    press(dialog, "Done")
    lab.command("notebook:run-cell")
    expect(lab.output(4)).to_contain_text("1, 0", timeout=30_000)


def test_a_function_becomes_a_service(lab: Lab) -> None:
    cells = [
        'def score(age: float, region: str = "north") -> str:\n'
        '    """Tell how a person of an age in a region is judged."""\n'
        '    return f"{region}-{age * 2}"'
    ]
    lab.open_lab("function", lab.notebook("function", cells))
    lab.run_all(len(cells))
    dialog = publish_cell(lab, 0)
    expect(dialog).to_contain_text("calls the function score")
    expect(dialog.get_by_label("Name of input 1")).to_have_value("age")
    expect(dialog.get_by_label("Name of input 2")).to_have_value("region")
    lab.shot("function")
    name_it(dialog, "Score-it")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("Score-it V1.0 is published.", timeout=60_000)
    press(dialog, "Done")


def test_a_fitted_model_becomes_a_realtime_service(lab: Lab) -> None:
    cells = [LOANS, "model = LogisticRegression().fit(loans, [0, 1, 1, 0])"]
    lab.open_lab("model", lab.notebook("model", cells))
    lab.run_all(len(cells))
    dialog = publish_cell(lab, 1)
    expect(dialog.get_by_role("radio", name="The fitted model model")).to_be_checked()
    lab.shot("model")
    name_it(dialog, "Loans-model")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("Loans-model V1.0 is published.", timeout=60_000)
    press(dialog, "Done")


def test_several_cells_become_one_service_with_the_isolation_that_was_chosen(
    lab: Lab, api: Api
) -> None:
    cells = [LOANS, "calm = applicant.fillna(0)", "risk = pipe.predict(calm)", "# beside it"]
    lab.open_lab("several", lab.notebook("several", cells))
    lab.run_all(len(cells))
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    prompts = notebook.locator(".jp-CodeCell .jp-InputPrompt")
    prompts.nth(1).click()
    prompts.nth(2).click(modifiers=["Shift"])
    notebook.get_by_role("button", name="Publish the code of the active").click()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Name of input 1")).to_have_value("applicant")
    dialog.get_by_text("Code", exact=True).click()
    dialog.get_by_label("Isolation of calls").select_option("call")
    dialog.get_by_label("Calls change things elsewhere").check()
    dialog.get_by_text("Confinement", exact=True).click()
    dialog.get_by_label("Keep the code from writing files").check()
    lab.shot("several")
    name_it(dialog, "Loans-several")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("Loans-several V1.0 is published.", timeout=60_000)
    press(dialog, "Done")
    (service,) = api("GET", "/services/Loans-several/V1.0").json()
    assert (service["isolation"], service["effects"]) == ("call", True)
    assert (service["network"], service["readOnly"]) == (True, True)
    assert "calm = applicant.fillna(0)" in service["code"]
    assert "risk = pipe.predict(calm)" in service["code"]
    assert "beside it" not in service["code"]
    # What the check found is on the page of the version.
    panel = lab.show_panel()
    panel.locator("[role=treeitem][data-service=Loans-several][data-version]").click()
    check = panel.locator("[data-section=check]")
    check.get_by_text("Publish check").click()
    expect(check).to_contain_text("Tried with a call.")
    expect(check).to_contain_text("risk = [0,1]")
    lab.shot("check")


def test_what_will_fail_is_refused_until_somebody_insists(lab: Lab) -> None:
    cells = ["y = factor * 2", "# nothing"]
    lab.open_lab("fails", lab.notebook("fails", cells))
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    expect(notebook.locator(".jp-CodeCell")).to_have_count(2)
    lab.wait_for_kernel()
    dialog = publish_cell(lab, 0)
    expect(dialog).to_contain_text("Run the cells above first")
    lab.shot("before")
    press(dialog, "Remove input factor")
    name_it(dialog, "Will-fail", "V1.0")
    press(dialog, "Publish")
    expect(dialog.get_by_role("alert")).to_contain_text("factor", timeout=30_000)
    lab.shot("refused")
    press(dialog, "Publish anyway")
    expect(dialog).to_contain_text("Will-fail V1.0 is published.", timeout=60_000)
    lab.shot("forced")
    press(dialog, "Done")
    # What never answered may be replaced by its publisher.
    dialog = publish_cell(lab, 0)
    name_it(dialog, "Will-fail", "V1.0")
    replace = dialog.get_by_label("Replace it")
    expect(replace).to_be_visible()
    expect(dialog.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    replace.check()
    expect(dialog.get_by_role("button", name="Publish", exact=True)).to_be_enabled()
    lab.shot("replaced")
    press(dialog, "Cancel")
    dialog = publish_cell(lab, 2)
    expect(dialog).to_contain_text("A service needs an input or an output")
    expect(dialog.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    press(dialog, "Cancel")


def test_a_cell_becomes_a_service_with_what_was_found_out_by_itself(lab: Lab, api: Api) -> None:
    file = lab.notebook("flowers", CELLS)
    lab.open_lab("flowers", file)
    lab.run_all(len(CELLS))
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    dialog = publish_cell(lab, 3)
    # Read by the cell and sent with it: the input. Written by it: the output.
    expect(dialog.get_by_label("Name of input 1")).to_have_value("flower_data")
    expect(dialog.get_by_label("Type of input 1")).to_have_value("vector")
    expect(dialog.get_by_label("Name of output 1")).to_have_value("species")
    expect(dialog.get_by_label("Type of output 1")).to_have_value("character")
    expect(dialog.get_by_label("Other names that the code reads")).to_contain_text("clf")
    lab.shot("dialog")
    name_it(dialog, "Flower-dialog", "V1.0")
    press(dialog, "Publish")
    expect(dialog).to_contain_text("Flower-dialog V1.0 is published.", timeout=60_000)
    press(dialog, "Done")
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
    dialog = publish_cell(lab, 0)
    name_it(dialog, adder, "V1.0")
    # Before the name was looked at.
    press(dialog, "Publish")
    expect(dialog).to_contain_text(f"{adder} V1.0 exists already")
    expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_have_value(adder)
    lab.shot("refused")
    dialog.get_by_role("textbox", name="Version", exact=True).fill("V3.0")
    press(dialog, "Publish")
    expect(dialog).to_contain_text(f"{adder} V3.0 is published.", timeout=60_000)
    press(dialog, "Done")
    expect(dialog).to_have_count(0, timeout=30_000)
