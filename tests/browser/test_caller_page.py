"""The page for callers, in a browser that knows nothing of Jupyter."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from jupyter_mlsvc import Client
from jupyter_mlsvc.errors import Forbidden
from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.conftest import AXE
from tests.browser.lab import Lab

PASSWORD = "correct horse battery"
CONTACT = "Ann of data science"
SERVICE = {
    "description": "Adds two numbers.\n<img src=x onerror=alert(1)>\u202e",
    "code": "total = a + b\n"
    "steps = {'step': ['a', 'b'], 'value': [a, b]}\n"
    "picture = \"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'>"
    "<rect width='40' height='20' fill='teal'/></svg>\"",
    "inputParameterDefinitions": [
        {"name": "a", "type": "integer"},
        {"name": "b", "type": "integer"},
    ],
    "outputParameterDefinitions": [
        {"name": "total", "type": "integer"},
        {"name": "steps", "type": "data.frame"},
        {"name": "picture", "type": "character"},
    ],
    "runtimeType": "Python",
}


class Blank(BaseHTTPRequestHandler):
    """Answers with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The origin of a page that is none of the server's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def token_of(server: ServerProcess) -> dict[str, str]:
    """The header of the publisher."""
    body = {"username": "admin", "password": PASSWORD}
    pair = requests.post(f"{server.public_url}/login", json=body, timeout=60).json()
    return {"Authorization": f"Bearer {pair['access_token']}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without Jupyter, with a service that adds up."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("mlsvc"),
        admin_password=PASSWORD,
        options=[f"--MlsvcApp.contact={CONTACT}"],
    ) as server:
        url, headers = server.public_url, token_of(server)
        for version in ("V1.0", "V2.0"):
            address = f"{url}/services/Adder/{version}"
            requests.post(address, json=SERVICE, headers=headers, timeout=60).raise_for_status()
        yield server


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser says against the page, but for answers that are no success."""
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 40" not in message.text:
            said.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def sign_in(page: Page, name: str = "admin") -> None:
    """Sign in with an account."""
    form = page.get_by_role("form", name="Sign in with an account")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Sign in").click()


def test_a_caller_tries_a_service_and_calls_it_from_a_page_elsewhere(
    page: Page, server: ServerProcess, elsewhere: str, complaints: list[str], output: Path
) -> None:
    look = Lab(page, server, output)
    url, headers = server.public_url, token_of(server)
    wanted = {"name": "ann", "services": ["Adder/V2.0"], "origins": [elsewhere]}
    made = requests.post(f"{url}/keys", json=wanted, headers=headers, timeout=60).json()
    page.goto(f"{url}/api/Adder/V2.0")
    expect(page.get_by_text(CONTACT)).to_be_visible()
    expect(page.get_by_text("Adds two numbers.")).to_have_count(0)
    assert look.axe(AXE, "body") == []
    look.shot("signed-out")
    page.get_by_label("Key or token").fill(made["key"])
    page.get_by_role("button", name="Use it").click()

    article = page.get_by_role("article")
    expect(article.get_by_text("Adds two numbers.")).to_contain_text(r"onerror=alert(1)>\u{202e}")
    article.get_by_role("textbox", name="a integer").fill("40")
    article.get_by_role("textbox", name="b integer").fill("2")
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_role("region", name="total")).to_contain_text("42")
    expect(
        article.get_by_role("region", name="steps").get_by_role("cell", name="40")
    ).to_be_visible()
    expect(article.get_by_role("img", name="Image picture")).to_be_visible()
    assert look.axe(AXE, "body") == []
    look.shot("called")

    article.get_by_label("Language of the call").select_option("javascript")
    article.get_by_role("button", name="Copy", exact=True).click()
    expect(article.get_by_text("Copied")).to_be_visible()
    call = page.evaluate("navigator.clipboard.readText()")
    assert complaints == []
    other = page.context.new_page()
    other.goto(elsewhere)
    other.on("dialog", lambda dialog: dialog.accept(made["key"]))
    with other.expect_console_message() as message:
        other.evaluate(f"(async () => {{{call}}})()")
    assert message.value.args[0].json_value()["total"] == 42

    # The key is for one version, and good until it is revoked.
    expect(article.get_by_label("Version").get_by_role("option")).to_have_text(["V2.0"])
    requests.delete(f"{url}/keys/ann", headers=headers, timeout=60).raise_for_status()
    article.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Your sign-in has ended.")).to_be_visible()
    expect(page.get_by_text("Adds two numbers.")).to_have_count(0)


def test_documents_are_read_and_tried_out_in_a_dark_page_of_a_phone(
    chromium: Browser, server: ServerProcess, output: Path
) -> None:
    context = chromium.new_context(
        viewport={"width": 360, "height": 740}, color_scheme="dark", reduced_motion="reduce"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append("Content Security Policy let it happen"))
    look = Lab(page, server, output)
    answer = page.goto(f"{server.public_url}/status")
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_text(CONTACT)).to_be_visible()
    look.shot("refused")
    sign_in(page)
    expect(page.get_by_role("region", name="/status")).to_contain_text('"components"')

    page.get_by_role("link", name="Services").click()
    page.get_by_role("link", name="Adder").click()
    article = page.get_by_role("article")
    expect(article).to_have_attribute("data-version", "V2.0")
    article.get_by_label("Version").select_option("V1.0")
    expect(page).to_have_url(f"{server.public_url}/services/Adder/V1.0")
    page.go_back()
    expect(article).to_have_attribute("data-version", "V2.0")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Enter a number.").first).to_be_visible()
    assert look.axe(AXE, "body") == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    look.shot("phone")

    page.get_by_role("link", name="Interactive document").click()
    page.get_by_role("button", name="POST /api/Adder/V2.0").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("textarea").first.fill('{"a": 40, "b": 2}')
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text('"total": 42')
    look.shot("document")
    # Swagger UI looks at the HTML of descriptions before it takes such things out.
    said = [text for text in said if "inline event handler" not in text]
    assert not [text for text in said if "Content Security Policy" in text]
    context.close()


def command(server: ServerProcess, *words: str, typed: str = "") -> str:
    """Run ``jupyter mlsvc`` beside the server, as who runs it does; give what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_mlsvc_server", *words, "--data-dir", server.data_dir],
        input=typed,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_two_people_use_one_server_and_its_owner_sees_what_they_do(
    chromium: Browser, server: ServerProcess, output: Path
) -> None:
    for name, role in (("maria", "contributor"), ("ben", "reader")):
        command(server, "user", "add", name, "--role", role, typed=f"{PASSWORD}\n")
    maria, ben = (
        Client(server.public_url, username=name, password=PASSWORD) for name in ("maria", "ben")
    )
    with maria, ben:
        maria.services.publish(
            "Twice", "V1.0", code="y = 2 * x", inputs={"x": "numeric"}, outputs={"y": "numeric"}
        )
        maria.keys.create("Twice", "app")
        assert [key.name for key in maria.keys.list()] == ["app"]
        with pytest.raises(Forbidden, match="role is reader"):
            ben.keys.list()
        with pytest.raises(Forbidden):
            ben.service("Twice").delete()

    pages = {}
    for name in ("maria", "ben"):
        page = pages[name] = chromium.new_context().new_page()
        page.goto(f"{server.public_url}/services/Twice")
        sign_in(page, name)
        page.get_by_role("textbox", name="x numeric").fill("21")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("region", name="y", exact=True)).to_contain_text("42")
        Lab(page, server, output).shot(name)
    command(server, "user", "disable", "ben")
    for page in pages.values():
        page.get_by_role("textbox", name="x numeric").fill("4")
        page.get_by_role("button", name="Run", exact=True).click()
    expect(pages["ben"].get_by_text("Your sign-in has ended.")).to_be_visible()
    expect(pages["maria"].get_by_role("region", name="y", exact=True)).to_contain_text("8")
    for page in pages.values():
        page.context.close()

    lines = [line.split()[1:] for line in command(server, "audit").splitlines()]
    assert ["done", "201", "publishWebServiceVersion", "Twice/V1.0", "maria"] in [
        line[:5] for line in lines
    ]
    assert [line[0] for line in lines if "deleteWebServiceVersion" in line and "ben" in line] == [
        "refused"
    ]
    assert [line for line in lines if line[:1] == ["done"] and {"disable", "ben"} <= {*line}]
