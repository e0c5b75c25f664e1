"""Page object: a JupyterLab in a browser, and what a person does in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, expect

from jupyter_mlsvc_server.launch import ServerProcess

RUNS_OUT_MS = 60_000


class Lab:
    """One page of JupyterLab, signed in by the token in its address.

    Parameters
    ----------
    page
        The browser's page.
    server
        The server with the front end.
    output
        Folder for screenshots.
    """

    def __init__(self, page: Page, server: ServerProcess, output: Path) -> None:
        self.page = page
        self.server = server
        self._output = output
        page.set_default_timeout(60_000)

    # --- opening -----------------------------------------------------------------------------

    def open(self, path: str = "lab", **query: str) -> None:
        """Open a page of the Jupyter server and wait until it can be used."""
        arguments = "&".join(
            f"{name}={quote(text)}"
            for name, text in {"token": self.server.jupyter_token, **query}.items()
        )
        self.page.goto(f"{self.server.jupyter_url}/{path}?{arguments}", timeout=60_000)
        self.page.wait_for_function("window.jupyterapp?.restored", timeout=60_000)
        self.page.evaluate("window.jupyterapp.restored.then(() => undefined)")
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def open_lab(self, workspace: str, file: str | None = None) -> None:
        """Open JupyterLab with an empty workspace of that name, and a file in it."""
        tree = f"/tree/{quote(file)}" if file else ""
        self.open(f"lab/workspaces/{workspace}{tree}", reset="")
        if file is None:
            # The launcher opens after all else, and takes the focus from wherever that is.
            self.page.wait_for_function(
                "Boolean(document.activeElement?.closest('.jp-Launcher'))", timeout=60_000
            )

    def reload(self) -> None:
        """Reload the page."""
        self.page.reload()
        self.page.wait_for_function("window.jupyterapp?.restored", timeout=60_000)
        self.page.evaluate("window.jupyterapp.restored.then(() => undefined)")

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        """Execute a command, as the palette would; does not wait for what it promises."""
        return self.page.evaluate(
            "([name, args]) => { void window.jupyterapp.commands.execute(name, args); }",
            [name, arguments or {}],
        )

    def theme(self, name: str) -> None:
        """Choose a theme and wait until it is there."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        light = "false" if "Dark" in name else "true"
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", light)

    # --- notebooks ---------------------------------------------------------------------------

    def notebook(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook with these cells where the server finds it; give its path."""
        file = f"{name}.ipynb"
        notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        assert self.server.root_dir is not None
        nbformat.write(notebook, self.server.root_dir / file)
        return file

    def wait_for_kernel(self) -> None:
        """Wait until the notebook that is open has its kernel."""
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus"
            " === 'connected'",
            timeout=RUNS_OUT_MS,
        )

    def run_all(self, cells: int, timeout: float = RUNS_OUT_MS) -> None:
        """Run all cells of the notebook that is open and wait until they have run."""
        panel = self.page.locator(".jp-NotebookPanel:visible")
        expect(panel.locator(".jp-CodeCell")).to_have_count(cells)
        self.wait_for_kernel()
        self.command("notebook:run-all-cells")
        last = panel.locator(".jp-CodeCell").nth(cells - 1).locator(".jp-InputPrompt")
        expect(last).to_have_text(f"[{cells}]:", timeout=timeout)

    def output(self, cell: int) -> Locator:
        """Output of a cell, counted from 0."""
        panel = self.page.locator(".jp-NotebookPanel:visible")
        return panel.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    # --- the side panel ----------------------------------------------------------------------

    @property
    def panel(self) -> Locator:
        """The side panel."""
        return self.page.locator("#jupyter-mlsvc-services")

    def show_panel(self) -> Locator:
        """Open the side panel."""
        self.command("mlsvc:open-services")
        expect(self.panel).to_be_visible()
        return self.panel

    # --- evidence ----------------------------------------------------------------------------

    def shot(self, name: str, of: Locator | None = None) -> Path:
        """Keep a screenshot as test output."""
        self._output.mkdir(parents=True, exist_ok=True)
        file = self._output / f"{name}.png"
        (of or self.page).screenshot(path=file)
        return file

    def axe(self, script: Path, selector: str) -> list[str]:
        """What axe finds serious or critical in a part of the page."""
        # Not as an element of the page, whose policy may allow none.
        self.page.evaluate(script.read_text())
        found = self.page.evaluate(
            "async selector => (await axe.run(selector)).violations"
            ".filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => ({id: v.id, nodes: v.nodes.map(n => n.html + ' ' + n.failureSummary)}))",
            selector,
        )
        return [json.dumps(violation) for violation in found]
