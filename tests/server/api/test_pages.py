"""Pages for browsers: who gets one, what is in it, and what programs get as before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from starlette.responses import Response

from jupyter_mlsvc_server.api.pages import Bundle, Pages, installed_bundle
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, document, route
from tests.serving import served, tokens_of

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SCRIPT = b"console.log('hello')"


async def who(request: ApiRequest, **names: str) -> Response:
    return json_response([request.principal.name, *names.values()])


TABLE: Routes = [
    route("/services", get=document(who)),
    route("/services/{name}", get=document(who)),
    route("/api/{name}/{version}", post=who),
    route("/things", get=who),
    route("/things/{name}", get=document(who)),
]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "index-a1.js").write_bytes(SCRIPT)
    (tmp_path / "index-b2.css").write_text("a { color: red }")
    (tmp_path / "secret.txt").write_text("not of the bundle")
    entry = {"file": "index-a1.js", "css": ["index-b2.css"], "isEntry": True}
    (tmp_path / "manifest.json").write_text(json.dumps({"src/page/index.tsx": entry}))
    return Bundle(tmp_path)


@pytest.fixture
async def url(bundle: Bundle) -> AsyncIterator[str]:
    pages = Pages(bundle, contact='Ann <"a@b">', base_path="/hub/mlsvc")
    async with served(TABLE, tokens=tokens_of("ann"), pages=pages) as port:
        yield f"http://127.0.0.1:{port}"


async def get(url: str, accept: str = BROWSER, **headers: str) -> requests.Response:
    return await asyncio.to_thread(
        requests.get, url, headers={"Accept": accept, **headers}, timeout=60
    )


@pytest.mark.parametrize(
    "path",
    ["/", "/services", "/services/", "/services/A", "/services/A/V1", "/api/A/V1", "/docs"],
)
async def test_a_browser_gets_a_page_and_a_program_what_it_always_got(url: str, path: str) -> None:
    page = await get(url + path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Vary"] == "Accept"
    for accept in ("*/*", "application/json", "application/json, text/html", "text/html;q=0"):
        answer = await get(url + path, accept)
        assert answer.status_code == 401
        assert answer.json()["exceptionType"] == "UnauthorizedException"
        assert answer.headers["Vary"] == "Accept"


async def test_a_page_finds_its_files_wherever_it_is(url: str) -> None:
    paths = ("/", "/services", "/services/", "/api/A%2FB/V1/", "/hub/mlsvc/services/A/V1")
    for path in paths:
        text = (await get(url + path)).text
        source = text.partition('src="')[2].partition('"')[0]
        script = await get(urljoin(url + path, source))
        assert script.content == SCRIPT, path
        assert urljoin(url + path, source).removeprefix(url) in {
            "/static/index-a1.js",
            "/hub/mlsvc/static/index-a1.js",
        }


async def test_a_page_runs_nothing_but_its_files_and_is_in_no_frame(url: str) -> None:
    page = await get(url)
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<style" not in page.text
    assert page.text.count("<script") == page.text.count('<script type="module" src=') == 1


async def test_a_page_says_whom_to_ask_and_nothing_of_its_address(url: str) -> None:
    text = (await get(f"{url}/services/%3Cscript%3E'%22%3E")).text
    assert 'data-contact="Ann &lt;&quot;a@b&quot;&gt;"' in text
    assert "%3C" not in text
    assert "<script>" not in text


@pytest.mark.parametrize("path", ["/things", "/things/A", "/nowhere"])
async def test_a_browser_that_is_refused_gets_a_page_to_sign_in(url: str, path: str) -> None:
    page = await get(url + path)
    assert page.status_code == 401
    assert page.headers["WWW-Authenticate"] == "Bearer"
    assert 'data-status="401"' in page.text
    answer = await get(url + path, Authorization="Bearer of-ann")
    assert answer.headers["Content-Type"] == "application/json"


async def test_only_those_who_read_get_pages(url: str) -> None:
    answer = await asyncio.to_thread(
        requests.post, f"{url}/api/A/V1", headers={"Accept": BROWSER}, timeout=60
    )
    assert answer.json()["exceptionType"] == "UnauthorizedException"
    head = await asyncio.to_thread(requests.head, url, headers={"Accept": BROWSER}, timeout=60)
    assert head.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_a_file_is_kept_for_ever_and_asked_for_by_its_digest(url: str) -> None:
    address = f"{url}/static/index-a1.js"
    script = await get(address)
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "immutable" in script.headers["Cache-Control"]
    assert script.headers["Content-Encoding"] == "gzip"
    again = await get(address, **{"If-None-Match": script.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = await get(address, **{"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == SCRIPT


@pytest.mark.parametrize("name", ["secret.txt", "manifest.json", "..%2Fpages.py", "", "a/b"])
async def test_nothing_is_served_but_files_of_the_bundle(url: str, name: str) -> None:
    assert (await get(f"{url}/static/{name}", "*/*")).status_code == 401


async def test_documents_are_open_to_all_where_that_is_set(bundle: Bundle) -> None:
    pages = Pages(bundle, is_open=True)
    async with served(TABLE, tokens=tokens_of("ann"), pages=pages, docs_public=True) as port:
        url = f"http://127.0.0.1:{port}"
        assert 'data-open="true"' in (await get(url)).text
        assert (await get(f"{url}/things/A", "*/*")).json() == ["", "A"]
        named = await get(f"{url}/things/A", "*/*", Authorization="Bearer of-ann")
        assert named.json() == ["ann", "A"]
        assert (await get(f"{url}/things", "*/*")).status_code == 401
        call = await asyncio.to_thread(requests.post, f"{url}/api/A/V1", timeout=60)
        assert call.status_code == 401


def test_there_are_no_pages_where_they_were_not_built_whole(tmp_path: Path, bundle: Bundle) -> None:
    assert installed_bundle(tmp_path / "nothing") is None
    assert installed_bundle(tmp_path) is not None
    (tmp_path / "index-b2.css").unlink()
    assert installed_bundle(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert installed_bundle(tmp_path) is None
