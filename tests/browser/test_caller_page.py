"""The page for callers, in a browser that knows nothing of Jupyter."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from jupyter_mlsvc import Client
from jupyter_mlsvc.errors import Forbidden
from jupyter_mlsvc_server.launch import ServerProcess
from tests.browser.conftest import AXE
from tests.browser.lab import Lab

PASSWORD = "correct horse battery"
CONTACT = "Ann of data science"
LACKS = "Input flats lacks the column 'area' (did you mean it by 'aera'?)."
SERVICE = {
    "description": "Estimates rents.\n<img src=x onerror=alert(1)>\u202e",
    "code": "rents = flats[['city']].assign(rent=10 * flats.area.fillna(50))\n"
    "picture = \"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'>"
    "<rect width='40' height='20' fill='teal'/></svg>\"",
    "inputParameterDefinitions": [
        {
            "name": "flats",
            "type": "data.frame",
            "columns": [
                {"name": "city", "type": "str", "description": "Where it is"},
                {"name": "area", "type": "float64", "nullable": True, "minimum": 0},
                {"name": "built", "type": "datetime64[us]"},
            ],
        }
    ],
    "outputParameterDefinitions": [
        {"name": "rents", "type": "data.frame"},
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
    """A server without Jupyter, with a service that estimates rents."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("mlsvc"),
        admin_password=PASSWORD,
        options=[f"--MlsvcApp.contact={CONTACT}"],
    ) as server:
        url, headers = server.public_url, token_of(server)
        for version in ("V1.0", "V2.0"):
            address = f"{url}/services/Rents/{version}"
            requests.post(address, json=SERVICE, headers=headers, timeout=60).raise_for_status()
        yield server


def sign_in(page: Page, name: str = "admin") -> None:
    """Sign in with an account."""
    form = page.get_by_role("form", name="Sign in with an account")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Sign in").click()


def run(call: str, program: str, key: str) -> str:
    """Run a call as it was copied; give what it said."""
    return subprocess.run(
        [program, "-c", call],
        env={**os.environ, "MLSVC_TOKEN": key},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def read_on_a_phone(page: Page, look: Lab, url: str) -> None:
    """Read about the service, and see what the form says while it is empty."""
    article = page.get_by_role("article")
    expect(article.get_by_text("Estimates rents.")).to_contain_text(r"onerror=alert(1)>\u{202e}")
    inputs = article.get_by_role("table", name="Inputs")
    expect(inputs.get_by_role("row").filter(has_text="city")).to_contain_text("Where it is")
    article.get_by_label("Version").select_option("V1.0")
    expect(page).to_have_url(f"{url}/services/Rents/V1.0")
    page.go_back()
    expect(article).to_have_attribute("data-version", "V2.0")
    article.get_by_role("button", name="Run", exact=True).click()
    expect(article.get_by_text("Fill in a row").first).to_be_visible()
    assert look.axe(AXE, "body") == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    look.shot("phone")


def fill_in_and_call(page: Page, look: Lab) -> None:
    """Call the service by the form."""
    article = page.get_by_role("article")
    for column, value in (("city str", "Köln"), ("area float64", "40.5"), ("built", "1998-04-25")):
        article.get_by_role("textbox", name=column).fill(value)
    article.get_by_role("button", name="Run", exact=True).click()
    rents = article.get_by_role("region", name="rents")
    expect(rents.get_by_role("cell", name="405")).to_be_visible()
    expect(article.get_by_role("img", name="Image picture")).to_be_visible()
    assert look.axe(AXE, "body") == []
    look.shot("called")


def run_what_is_copied(page: Page, key: str, elsewhere: str) -> None:
    """Copy the call into programs, where it runs with the key, and says what is wrong with it."""
    article = page.get_by_role("article")
    calls = {}
    for language, name in (("curl", "curl"), ("python", "Python"), ("javascript", "JavaScript")):
        article.get_by_label("Language of the call").select_option(language)
        expect(article.get_by_role("region", name=f"Call as {name}")).to_contain_text("Köln")
        article.get_by_role("button", name="Copy", exact=True).click()
        expect(article.get_by_text("Copied")).to_be_visible()
        calls[language] = page.evaluate("navigator.clipboard.readText()")
    assert '"rent":[405.0]' in run(calls["curl"], "bash", key)
    assert "'rent': [405.0]" in run(calls["python"], sys.executable, key)
    wrong = calls["python"].replace("area", "aera")
    assert run(wrong, sys.executable, key) == f"{LACKS}\n"
    other = page.context.new_page()
    other.goto(elsewhere)
    other.on("dialog", lambda dialog: dialog.accept(key))
    with other.expect_console_message() as message:
        other.evaluate(f"(async () => {{{calls['javascript']}}})()")
    assert message.value.args[0].json_value()["rents"] == {"city": ["Köln"], "rent": [405]}


def ask_the_document(page: Page, look: Lab) -> None:
    """Try the service out in the interactive document, which has the scheme of the browser."""
    page.get_by_role("link", name="Interactive document").click()
    page.get_by_role("button", name="POST /api/Rents/V2.0").first.click()
    page.get_by_role("button", name="Try it out").click()
    body = '{"flats": {"city": ["Köln"], "aera": [9], "built": [null]}}'
    page.locator("textarea").first.fill(body)
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text(LACKS)
    shown = page.locator(".swagger-ui").first
    light = shown.evaluate("shown => getComputedStyle(shown).color")
    page.emulate_media(color_scheme="dark")
    expect(shown).not_to_have_css("color", light)
    look.shot("document")


def test_a_caller_with_an_address_and_a_key_finds_out_all_the_rest(
    chromium: Browser, server: ServerProcess, elsewhere: str, output: Path
) -> None:
    url, headers = server.public_url, token_of(server)
    wanted = {"name": "ben", "services": ["Rents"], "origins": [elsewhere]}
    key = requests.post(f"{url}/keys", json=wanted, headers=headers, timeout=60).json()["key"]
    context = chromium.new_context(
        viewport={"width": 360, "height": 740}, color_scheme="dark", reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda _: said.append("error: Content Security Policy let it happen"))
    look = Lab(page, server, output)
    # Without the key it is said whom to ask for one, and nothing else.
    answer = page.goto(f"{url}/status")
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_text(CONTACT)).to_be_visible()
    page.goto(f"{url}/api/Rents/V2.0")
    expect(page.get_by_text(CONTACT)).to_be_visible()
    expect(page.get_by_text("Estimates rents.")).to_have_count(0)
    assert look.axe(AXE, "body") == []
    look.shot("signed-out")
    page.get_by_label("Key or token").fill(key)
    page.get_by_role("button", name="Use it").click()
    read_on_a_phone(page, look, url)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")
    fill_in_and_call(page, look)
    run_what_is_copied(page, key, elsewhere)
    ask_the_document(page, look)
    # Swagger UI looks at the HTML of descriptions before it takes such things out.
    said = [text for text in said if "inline event handler" not in text]
    assert not [text for text in said if text[:5] == "error" and "status of 40" not in text]
    # The key is good until it is revoked.
    requests.delete(f"{url}/keys/ben", headers=headers, timeout=60).raise_for_status()
    page.get_by_role("link", name="Services").click()
    expect(page.get_by_text("Your sign-in has ended.")).to_be_visible()
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
