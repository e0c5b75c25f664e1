"""Takes the pictures of the documentation from a live server: ``make pictures``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect, sync_playwright

from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.conftest import ROOT, launch, serve
from tests.browser.lab import Lab

IMAGES: Final = ROOT / "notebooks" / "images"
CELLS: Final = [
    "from sklearn import datasets, svm\n\n"
    "flowers, species = datasets.load_iris(return_X_y=True, as_frame=True)\n"
    'names = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}\n'
    "clf = svm.SVC().fit(flowers, species)",
    "iris_species = [names[x] for x in clf.predict(flowers)]",
]


def server_in(folder: Path) -> ServerProcess:
    """Make the server of somebody whose name may be shown."""
    server = serve(folder, "/")
    server.options = [*server.options, "--MlsvcApp.jupyter_user=maria"]
    return server


def take_dialog(lab: Lab) -> None:
    """Publish the second cell by the dialog."""
    lab.open_lab("pictures", lab.notebook("iris", CELLS))
    lab.command("application:close-all-sidebars")
    lab.run_all(len(CELLS))
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt").click()
    notebook.get_by_role("button", name="Publish the code of the active").click()
    dialog = lab.page.get_by_role("dialog")
    name = dialog.get_by_role("textbox", name="Name", exact=True)
    expect(name).to_be_focused()
    name.fill("Iris")
    description = "Tells the species of an iris by its sepals and petals"
    dialog.get_by_role("textbox", name="Description", exact=True).fill(description)
    dialog.get_by_text("What callers see of flowers").click()
    dialog.get_by_role("radio", name="The values of this notebook").check()
    expect(dialog).to_contain_text("Callers see:")
    dialog.get_by_text("What callers see of flowers").click()
    dialog.locator(".jp-Dialog-content").screenshot(path=IMAGES / "publish-dialog.png")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    expect(dialog).to_contain_text("Iris V1.0 is published.", timeout=120_000)
    dialog.get_by_role("button", name="Done", exact=True).click()
    lab.command("notebook:run-cell")
    expect(lab.output(2)).to_contain_text("iris_species")


def take_panel(lab: Lab) -> None:
    """Try the service beside the notebook."""
    panel = lab.show_panel()
    panel.locator("[role=treeitem][data-service=Iris][data-version]").click()
    form = panel.locator("form.jp-Mlsvc-form")
    form.get_by_role("button", name="Fill in the example").click()
    form.get_by_role("button", name="Run").click()
    expect(form).to_contain_text("Done in")
    toasts = lab.page.locator(".Toastify__toast")
    toasts.evaluate_all("all => all.forEach(each => each.remove())")
    lab.page.screenshot(path=IMAGES / "side-panel.png")


def take_page(page: Page, server: ServerProcess) -> None:
    """Call the service as a caller elsewhere."""
    page.goto(f"{server.public_url}/services/Iris")
    form = page.get_by_role("form", name="Sign in with an account")
    form.get_by_label("Name").fill("admin")
    form.get_by_label("Password").fill(server.admin_password or "")
    form.get_by_role("button", name="Sign in").click()
    article = page.get_by_role("article")
    article.get_by_role("button", name="Fill in the example").click()
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article).to_contain_text("Done in")
    page.screenshot(path=IMAGES / "caller-page.png")


def main() -> None:
    """Take all of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        launch(playwright) as browser,
        server_in(Path(folder)) as server,
    ):
        expect.set_options(timeout=60_000)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        lab = Lab(page, server, Path(folder))
        take_dialog(lab)
        take_panel(lab)
        take_page(browser.new_page(viewport={"width": 960, "height": 900}), server)


if __name__ == "__main__":
    main()
