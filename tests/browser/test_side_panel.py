"""The side panel in a real JupyterLab, as a person uses it."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, TimeoutError, expect  # noqa: A004

from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.conftest import ADDER, AXE, ROOT, Api, caller, serve
from tests.browser.lab import Lab
from tests.waiting import wait_until

IRIS = [
    "%load_ext jupyter_mlsvc",
    """%%remote_exec --session iris
from sklearn import datasets, svm
iris = datasets.load_iris()
names = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}
clf = svm.SVC().fit(iris.data, iris.target)""",
    """%%publish Iris V1.0 -i flower_data:vector -o iris_species:vector
iris_species = [names[x] for x in clf.predict([flower_data])]""",
    "%consume Iris V1.0 flower_data=[7, 3.2, 4.7, 1.4]",
]


def service_row(panel: Locator, name: str) -> Locator:
    """Row of a service in the list."""
    return panel.locator(f"[role=treeitem][data-service='{name}']").first


def version_row(panel: Locator, name: str, version: str) -> Locator:
    """Row of a version in the list."""
    return panel.locator(f"[role=treeitem][data-service='{name}'][data-version='{version}']")


def open_version(panel: Locator, name: str, version: str) -> Locator:
    """Open a version and give what is shown of it."""
    version_row(panel, name, version).click()
    article = panel.get_by_role("article", name=f"{name} {version}")
    expect(article).to_be_visible()
    return article


def add_up(article: Locator) -> None:
    """Have the adder that is open add 40 and 2."""
    article.get_by_role("textbox", name="a integer").fill("40")
    article.get_by_role("textbox", name="b integer").fill("2")
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_role("region", name="total")).to_contain_text("42")


def sign_in(server: ServerProcess) -> str:
    """Get a token as a program does."""
    answer = requests.post(
        f"{server.public_url}/login",
        json={"username": "admin", "password": server.admin_password},
        timeout=30,
    )
    token: str = answer.json()["access_token"]
    return token


class Handler(BaseHTTPRequestHandler):
    """Serves a page."""

    text = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """Another origin, which serves ``Handler.text``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_a_page_of_another_origin_calls_with_a_key_until_it_is_revoked(
    lab: Lab, adder: str, origin: str
) -> None:
    lab.open_lab("keys")
    article = open_version(lab.show_panel(), adder, "V1.0")
    calls = article.locator("[data-section='call']")
    calls.get_by_text("Call it from a program").click()
    expect(calls.get_by_text("Nobody has a key for it")).to_be_visible()
    expect(calls.get_by_text("Only programs on this machine")).to_be_visible()
    keyboard, dialog = lab.page.keyboard, lab.page.get_by_role("dialog")
    create = calls.get_by_role("button", name="Create a key for a caller…")
    create.focus()
    keyboard.press("Enter")
    expect(dialog.get_by_label("Note")).to_be_focused()
    keyboard.type("for the page")
    dialog.get_by_label("From web pages").fill("no origin")
    keyboard.press("Enter")
    # What was wrong is said where it is mended, and nothing that was typed is lost.
    expect(dialog.get_by_role("alert")).to_contain_text("is no origin of a page")
    expect(dialog.get_by_label("Note")).to_have_value("for the page")
    lab.shot("dialog")
    assert lab.axe(AXE, ".jp-Dialog") == []
    dialog.get_by_label("From web pages").fill(origin)
    keyboard.press("Enter")
    expect(calls.get_by_role("status")).to_contain_text("Copy it now")
    calls.get_by_role("combobox").select_option(label="JavaScript (browser)")
    snippet = calls.get_by_role("region", name="Call as JavaScript (browser)").inner_text()
    (key,) = re.findall(r"mlsvckey_[\w-]+", snippet)
    expect(calls.get_by_role("listitem").filter(has_text="for the page")).to_be_visible()
    lab.shot("key", article)
    lab.theme("JupyterLab Dark")
    calls.get_by_role("button", name="Revoke").scroll_into_view_if_needed()
    lab.shot("key-dark")
    expect(calls.get_by_role("region", name="Call as JavaScript (browser)")).to_contain_text(key)
    lab.theme("JupyterLab Light")

    text = (ROOT / "server_ext/docs/how-to/call-from-a-web-page.md").read_text()
    (page_text,) = re.findall(r"```html\n(.*?)```", text, re.DOTALL)
    for before, after in (
        ("http://localhost:12800/api/churn/V1.0", f"{lab.server.public_url}/api/{adder}/V1.0"),
        ("mlsvckey_…", key),
        ("{ tenure: 12 }", "{ a: 40, b: 2 }"),
    ):
        assert before in page_text
        page_text = page_text.replace(before, after)
    Handler.text = page_text
    other = lab.page.context.new_page()
    other.goto(origin)
    other.get_by_role("button").click()
    expect(other.locator("output")).to_have_text('{"total":42}')

    # The key is in no storage: who comes back sees that there is one, and not which.
    lab.reload()
    expect(calls.get_by_role("listitem").filter(has_text="1 call")).to_be_visible()
    assert key not in calls.inner_text()
    calls.get_by_role("button", name="Revoke").click()
    lab.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(calls.get_by_role("listitem").filter(has_text="for the page")).to_have_count(0)
    other.get_by_role("button").click()
    # The last key with the origin is gone, and so the page can't even read why.
    expect(other.locator("output")).to_have_text('{"total":42}')
    answer = requests.post(
        f"{lab.server.public_url}/api/{adder}/V1.0", headers={"X-API-Key": key}, timeout=30
    )
    assert answer.status_code == 401


def test_a_version_is_deleted_and_the_other_stays(lab: Lab, adder: str, api: Api) -> None:
    api("POST", f"/api/{adder}/V2.0", json={"a": 1, "b": 2})
    lab.open_lab("delete")
    panel = lab.show_panel()
    article = open_version(panel, adder, "V2.0")
    article.get_by_role("button", name=f"Delete {adder} V2.0").click()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Delete {adder} V2.0?")
    expect(dialog).to_contain_text("1 call")
    lab.shot("confirmation")
    dialog.get_by_role("button", name="Delete").click()
    expect(version_row(panel, adder, "V1.0")).to_be_visible()
    expect(version_row(panel, adder, "V2.0")).to_have_count(0)
    assert [row["version"] for row in api("GET", f"/services/{adder}").json()] == ["V1.0"]


def test_a_version_is_deleted_by_keyboard_alone(lab: Lab, adder: str, api: Api) -> None:
    lab.open_lab("keyboard")
    panel = lab.show_panel()
    expect(version_row(panel, adder, "V1.0")).to_be_visible()
    keyboard = lab.page.keyboard
    panel.get_by_role("searchbox").focus()
    keyboard.type(adder)
    expect(panel.get_by_role("searchbox")).to_have_value(adder)
    expect(panel.get_by_role("treeitem")).to_have_count(3)
    keyboard.press("Tab")
    expect(panel.get_by_role("combobox", name="Published by")).to_be_focused()
    keyboard.press("Tab")
    expect(panel.get_by_role("combobox", name="Sort")).to_be_focused()
    keyboard.press("Tab")
    expect(service_row(panel, adder)).to_be_focused()
    keyboard.press("ArrowDown")
    expect(version_row(panel, adder, "V2.0")).to_be_focused()
    keyboard.press("ArrowDown")
    expect(version_row(panel, adder, "V1.0")).to_be_focused()
    keyboard.press("Delete")
    expect(lab.page.get_by_role("dialog")).to_contain_text(f"Delete {adder} V1.0?")
    expect(lab.page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    keyboard.press("Tab")
    expect(lab.page.get_by_role("dialog").get_by_role("button", name="Delete")).to_be_focused()
    keyboard.press("Enter")
    expect(version_row(panel, adder, "V1.0")).to_have_count(0)
    expect(version_row(panel, adder, "V2.0")).to_be_focused()
    assert [row["version"] for row in api("GET", f"/services/{adder}").json()] == ["V2.0"]


def test_a_description_is_edited_in_its_place(lab: Lab, adder: str, api: Api) -> None:
    lab.open_lab("describe")
    article = open_version(lab.show_panel(), adder, "V1.0")
    article.get_by_role("button", name="Edit the description").click()
    article.get_by_role("textbox", name="Description").fill("Adds two whole numbers")
    article.get_by_role("button", name="Save").click()
    expect(article.get_by_role("paragraph").get_by_text("Adds two whole numbers")).to_be_visible()
    (row,) = api("GET", f"/services/{adder}/V1.0").json()
    assert row["description"] == "Adds two whole numbers"


def test_invalid_input_and_failing_code_show_what_is_wrong(lab: Lab, adder: str, api: Api) -> None:
    lab.open_lab("wrong")
    article = open_version(lab.show_panel(), adder, "V1.0")
    article.get_by_role("textbox", name="a integer").fill("two")
    article.get_by_role("textbox", name="b integer").fill("2")
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_role("textbox", name="a integer")).to_have_attribute(
        "aria-invalid", "true"
    )
    lab.shot("wrong")
    article.get_by_role("textbox", name="a integer").fill("40")
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_role("region", name="total")).to_contain_text("42")

    api("PATCH", f"/services/{adder}/V1.0", json={"code": "total = a / (b - b)"})
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_role("alert")).to_contain_text("ZeroDivisionError: division by zero")
    api("POST", f"/api/{adder}/V1.0/batch", json=[{"a": 1, "b": 1}] * 3)
    batches = article.locator("[data-section='batches']")
    batches.get_by_text("Batches").click()
    expect(batches.get_by_text("3 of 3 records, 3 failed")).to_be_visible()
    batches.get_by_role("button", name="Complete").click()
    expect(batches.get_by_role("row").nth(1)).to_contain_text("ZeroDivisionError")
    calls = article.locator("[data-section='recent']")
    calls.get_by_text("Newest calls").click()
    calls.get_by_role("button", expanded=False).first.click()
    expect(calls.get_by_role("region", name="Printed")).to_contain_text("in <module>")
    lab.shot("calls")
    assert lab.axe(AXE, "#jupyter-mlsvc-services") == []


def test_an_empty_panel_leads_to_a_first_service_and_to_the_tutorials(lab: Lab, api: Api) -> None:
    lab.open_lab("empty")
    panel = lab.show_panel()
    expect(panel.get_by_text("No services yet")).to_be_visible()
    assert lab.axe(AXE, "#jupyter-mlsvc-services") == []
    lab.shot("empty")
    panel.get_by_role("button", name="Insert into notebook").click()
    lab.run_all(2)
    expect(lab.output(1)).to_contain_text("42")
    expect(version_row(panel, "Double", "V1.0")).to_be_visible()
    api("DELETE", "/services/Double/V1.0")
    panel.get_by_role("button", name="The same by REST").click()
    expect(lab.page.get_by_role("heading", name="The same by REST")).to_be_visible()
    assert lab.server.root_dir is not None
    assert (lab.server.root_dir / "mlsvc-tutorials" / "02-iris-rest.ipynb").is_file()


def test_tabs_and_the_last_inputs_are_there_after_a_reload(lab: Lab, adder: str, api: Api) -> None:
    lab.open_lab("memory")
    panel = lab.show_panel()
    version_row(panel, adder, "V2.0").dblclick()
    tab = lab.page.locator(f".jp-MlsvcMain article[data-service='{adder}']")
    add_up(tab)
    assert lab.axe(AXE, ".jp-MlsvcMain") == []
    lab.shot("tab")
    article = open_version(panel, adder, "V1.0")
    add_up(article)
    article.get_by_role("combobox", name="Time that is shown").select_option("Last day")
    calls = article.get_by_role("img", name="1 call in the last day")
    expect(calls).to_be_visible()
    # The layout is saved a while after it changed.
    folder = lab.server.data_dir.parent / "workspaces"
    wanted = (f'"jupyter-mlsvc:{adder}/V2.0"', f'"{adder}/V1.0"', '"day"')

    def is_saved() -> bool:
        saved = "".join(file.read_text() for file in folder.glob("memory*"))
        # Of both forms.
        return saved.count('"40"') == 2 and all(text in saved for text in wanted)

    wait_until(is_saved)
    lab.reload()
    expect(tab.get_by_role("textbox", name="a integer")).to_have_value("40")
    article = lab.panel.get_by_role("article", name=f"{adder} V1.0")
    expect(article.get_by_role("textbox", name="a integer")).to_have_value("40")
    expect(calls).to_be_visible()
    lab.shot("a day")
    api("PATCH", f"/services/{adder}/V2.0", json={"code": "total = b + a"})
    tab.get_by_role("button", name="Compare with V1.0").click()
    changed = lab.page.locator(".jp-MlsvcMain").get_by_role("region", name="Code")
    expect(changed).to_contain_text("- total = a + b")
    expect(changed).to_contain_text("+ total = b + a")
    assert lab.axe(AXE, ".jp-MlsvcMain:not(.lm-mod-hidden)") == []
    lab.shot("compared")


def test_a_running_session_is_watched_and_interrupted(lab: Lab, session: str, api: Api) -> None:
    lab.open_lab("sessions")
    panel = lab.show_panel()
    panel.get_by_role("tab", name="Sessions").click()
    row = panel.get_by_role("option", name=session)
    expect(row).to_contain_text("idle")
    (found,) = (each for each in api("GET", "/sessions").json() if each["name"] == session)
    code = "import time\nfor number in range(600):\n    print('step', number)\n    time.sleep(0.1)"
    api("POST", f"/sessions/{found['id']}/executions", json={"code": code})
    expect(row).to_contain_text("busy")
    row.click()
    shown = panel.get_by_role("region", name=session)
    expect(shown.get_by_label("Console", exact=True)).to_contain_text("step 3")
    lab.shot("running")
    shown.get_by_role("button", name="Interrupt").click()
    expect(shown).to_contain_text("idle")
    expect(shown.get_by_label("Console", exact=True)).to_contain_text("KeyboardInterrupt")


def test_a_snapshot_is_taken_looked_into_and_deleted(lab: Lab, api: Api) -> None:
    # A name that turns what follows round, and would be markup where it were not taken as text.
    name = f"\u202e<img src=x onerror=window.hacked=1>{uuid.uuid4().hex[:6]}"
    seen = name.replace("\u202e", r"\u{202e}")
    created = api("POST", "/sessions", json={"name": name}).json()
    code = "x = 1; f = open('a.txt', 'w')"
    api("POST", f"/sessions/{created['sessionId']}/execute", json={"code": code})
    lab.open_lab("snapshots")
    panel = lab.show_panel()
    panel.get_by_role("tab", name="Sessions").click()
    panel.get_by_role("option", name=seen).click()
    shown = panel.get_by_role("region", name=seen)
    shown.get_by_role("button", name="Take a snapshot").click()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Take a snapshot of {seen}")
    expect(dialog.get_by_role("textbox")).to_have_value(name)
    dialog.get_by_role("button", name="Take").click()
    expect(lab.page.get_by_text(f"Snapshot {seen} is taken")).to_be_visible()
    panel.get_by_role("tab", name="Snapshots").click()
    panel.get_by_role("option", name=seen).click()
    inside = panel.get_by_role("region", name=seen)
    expect(inside.get_by_role("table", name="Objects")).to_contain_text("x")
    expect(inside).to_contain_text("f is an open file, which belongs to this process")
    expect(inside.get_by_role("table", name="Files")).to_contain_text("a.txt")
    lab.shot("snapshot")
    inside.get_by_role("button", name="Delete the snapshot").click()
    expect(dialog).to_contain_text(f"Delete snapshot {seen}?")
    dialog.get_by_role("button", name="Delete").click()
    expect(panel.get_by_role("option", name=seen)).to_have_count(0)
    # The panel takes it off the list before the server has answered.
    wait_until(lambda: name not in {each["name"] for each in api("GET", "/snapshots").json()})
    assert lab.page.evaluate("window.hacked") is None
    assert "\u202e" not in lab.page.inner_text("body")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_serious_in_a_theme(
    lab: Lab, adder: str, session: str, theme: str
) -> None:
    lab.open_lab("axe")
    lab.theme(theme)
    panel = lab.show_panel()
    expect(version_row(panel, adder, "V1.0")).to_be_visible()
    found = lab.axe(AXE, "#jupyter-mlsvc-services")
    lab.shot("list")
    open_version(panel, adder, "V1.0").get_by_text("Call it from a program").click()
    found += lab.axe(AXE, "#jupyter-mlsvc-services")
    lab.shot("open")
    panel.get_by_role("tab", name="Sessions").click()
    panel.get_by_role("option", name=session).click()
    expect(panel.get_by_role("region", name=session)).to_be_visible()
    found += lab.axe(AXE, "#jupyter-mlsvc-services")
    lab.theme("JupyterLab Light")
    assert found == []


def test_five_hundred_services_are_listed_and_searched_without_lag(
    lab: Lab, api: Api, adder: str
) -> None:
    lab.open_lab("many")
    panel = lab.show_panel()
    expect(version_row(panel, adder, "V1.0")).to_be_visible()
    # What has not changed is not sent again.
    with lab.page.expect_response(lambda answer: "/mlsvc/services?" in answer.url) as again:
        lab.command("mlsvc:refresh-services")
    assert again.value.status == 304
    (row,) = api("GET", f"/services/{adder}/V1.0").json()
    many = [row | {"name": f"service-{number:03}"} for number in range(500)]
    lab.page.route("**/mlsvc/services?*", lambda route: route.fulfill(json=many))
    lab.command("mlsvc:refresh-services")
    expect(panel.get_by_text("501 services").or_(panel.get_by_text("500 services"))).to_be_visible()
    # Only what can be seen is drawn.
    assert panel.get_by_role("treeitem").count() < 100
    panel.get_by_role("searchbox").fill("service-499")
    expect(panel.get_by_role("treeitem")).to_have_count(2)


def test_side_panel_shows_that_the_server_is_away_and_finds_it_again(lab: Lab, adder: str) -> None:
    lab.open_lab("away")
    panel = lab.show_panel()
    expect(version_row(panel, adder, "V1.0")).to_be_visible()
    lab.page.route("**/mlsvc/**", lambda route: route.abort())
    lab.command("mlsvc:refresh-services")
    expect(panel.get_by_role("alert").first).to_be_visible()
    lab.shot("away")
    lab.page.unroute("**/mlsvc/**")
    with suppress(TimeoutError):  # the panel may have looked again by itself
        panel.get_by_role("alert").get_by_role("button").first.click(timeout=10_000)
    expect(panel.get_by_role("alert")).to_have_count(0)
    expect(version_row(panel, adder, "V1.0")).to_be_visible()


def test_open_version_at_the_root_shows_that_the_server_ended_and_is_back(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, output: Path
) -> None:
    with serve(tmp_path_factory.mktemp("root"), "/") as server:
        name = f"adder-{uuid.uuid4().hex[:6]}"
        caller(server)("POST", f"/services/{name}/V1.0", json=ADDER)
        page = chromium.new_page()
        lab = Lab(page, server, output)
        lab.open_lab("root")
        panel = lab.show_panel()
        add_up(open_version(panel, name, "V1.0"))
        server.kill()
        expect(panel.get_by_role("alert")).to_contain_text("The server does not answer")
        server.start()
        # The panel asks again at the latest when somebody comes back to the page.
        for is_hidden in (True, False):
            page.evaluate(
                "value => { Object.defineProperty(document, 'hidden', {value, configurable: true});"
                " document.dispatchEvent(new Event('visibilitychange')); }",
                is_hidden,
            )
        expect(panel.get_by_role("alert")).to_have_count(0)
        expect(panel.get_by_role("article", name=f"{name} V1.0")).to_be_visible()
        page.close()


def test_notebook_7_has_the_panel_too(lab: Lab, adder: str) -> None:
    file = lab.notebook("seven", ["1 + 1"])
    lab.open(f"notebooks/{file}")
    lab.command(
        "application:toggle-panel",
        {"side": "left", "title": "ML Services", "id": "jupyter-mlsvc-services"},
    )
    lab.command("mlsvc:open-services")
    article = open_version(lab.panel, adder, "V1.0")
    add_up(article)
    lab.shot("seven")
