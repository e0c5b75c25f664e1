"""A real JupyterLab with the built side panel, in headless Chromium."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.lab import Lab

Api = Callable[..., requests.Response]

# What is expected comes at last, however busy the machine is; this is when to give up.
EXPECT_TIMEOUT_MS = 60_000

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / ".test-output" / "browser"
BUNDLE = ROOT / "jupyter_mlsvc" / "labextension" / "package.json"
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LAB_OPTIONS = [
    "--LabApp.expose_app_in_browser=True",
    "--JupyterNotebookApp.expose_app_in_browser=True",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
]
ADDER = {
    "code": "total = a + b",
    "inputParameterDefinitions": [
        {"name": "a", "type": "integer"},
        {"name": "b", "type": "integer"},
    ],
    "outputParameterDefinitions": [{"name": "total", "type": "integer"}],
    "runtimeType": "Python",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


def launch(playwright: Playwright) -> Browser:
    """Start the browser that the system has."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("There is no Chromium: apt install chromium.")
    # Root, as in containers, has no sandbox; the pages are our own server's.
    return playwright.chromium.launch(executable_path=program, args=QUIET, chromium_sandbox=False)


# Not for the whole run: Playwright's event loop would be in the way of other tests' loops.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser that the system has."""
    expect.set_options(timeout=EXPECT_TIMEOUT_MS)
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


def serve(folder: Path, base_url: str, **kwargs: Any) -> ServerProcess:
    """A server with JupyterLab that has files of its own."""
    if not BUNDLE.is_file():
        pytest.fail("The side panel is not built: make labextension.")
    root = folder / "files"
    root.mkdir(parents=True)
    news = folder / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    return ServerProcess(
        data_dir=folder / "data",
        root_dir=root,
        admin_password="correct horse battery",
        base_url=base_url,
        front_end=True,
        options=LAB_OPTIONS,
        # People's settings and workspaces stay out of it.
        environment={
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
        },
        **kwargs,
    )


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """JupyterLab under a base URL with a blank in it."""
    with serve(tmp_path_factory.mktemp("lab"), "/user/a%20b/") as server:
        yield server


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Path:
    """Folder for what a test leaves for people to look at."""
    return OUTPUT / re.sub(r"[^\w-]+", "-", request.node.name)


@pytest.fixture
def page(chromium: Browser, output: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page; what it showed last is kept where the test failed."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    before = request.session.testsfailed
    yield page
    if request.session.testsfailed > before:
        output.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=output / "failed.png")
        (output / "console.txt").write_text("\n".join(said))
    context.close()


@pytest.fixture(scope="session")
def api(lab_server: ServerProcess) -> Api:
    """A function that calls the Jupyter-mounted API as the person at the keyboard."""
    return caller(lab_server)


def caller(server: ServerProcess) -> Api:
    """Call a server's Jupyter-mounted API with the token of its JupyterLab; refusals raise."""

    def call(method: str, path: str, **kwargs: Any) -> requests.Response:
        answer = requests.request(
            method,
            server.notebook_url + path,
            headers={"Authorization": f"token {server.jupyter_token}"},
            timeout=60,
            **kwargs,
        )
        answer.raise_for_status()
        return answer

    return call


@pytest.fixture
def adder(api: Api) -> Iterator[str]:
    """The name of a service that adds two numbers, in versions V1.0 and V2.0."""
    name = f"adder-{uuid.uuid4().hex[:6]}"
    for version in ("V1.0", "V2.0"):
        api("POST", f"/services/{name}/{version}", json=ADDER)
    yield name
    for service in api("GET", f"/services/{name}").json():
        api("DELETE", f"/services/{name}/{service['version']}")


@pytest.fixture
def session(api: Api) -> Iterator[str]:
    """The name of a running session."""
    name = f"work-{uuid.uuid4().hex[:6]}"
    created = api("POST", "/sessions", json={"name": name}).json()
    yield name
    if any(each["name"] == name for each in api("GET", "/sessions").json()):
        api("DELETE", f"/sessions/{created['sessionId']}/force")


@pytest.fixture
def lab(page: Page, lab_server: ServerProcess, output: Path, api: Api) -> Iterator[Lab]:
    """A page of JupyterLab, not opened yet; what was left on the server goes afterwards."""
    yield Lab(page, lab_server, output)
    for service in api("GET", "/services").json():
        api("DELETE", f"/services/{service['name']}/{service['version']}")
    for session in api("GET", "/sessions").json():
        api("DELETE", f"/sessions/{session['id']}/force")
    for snapshot in api("GET", "/snapshots").json():
        api("DELETE", f"/snapshots/{snapshot['id']}")
