"""Pages for callers who use a browser: one shell for all of them, and the files it is made of.

The shell has no data and needs no token. What it shows comes by the API, with the token of whoever
signs in there. The files are the bundle of ``labextension/src/page``, which the build leaves in
``static``. A checkout where nobody built it has none, and answers browsers as it does programs.
"""

from __future__ import annotations

import asyncio
import gzip
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from starlette.responses import Response

from jupyter_mlsvc_server.api.accept import qualities
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.routing import Match, Operation, Router, route

STATIC: Final = Path(__file__).with_name("static")
"""Where the build leaves the bundle."""

MANIFEST: Final = "manifest.json"
"""Names its files."""

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

_ENTRY: Final = "src/page/index.tsx"
_FILE: Final = "/static/{file}"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing of other origins, nothing that stands in the page; images of answers are ``data:``."""

_SHELL: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Services</title>
<link rel="icon" href="data:,">
{styles}
<script type="module" src="{root}static/{script}"></script>
</head>
<body>
<div id="page" data-root="{root}" data-status="{status}" data-open="{is_open}" \
data-contact="{contact}"></div>
<noscript>This page needs JavaScript. Programs call the services without it: \
POST /api/NAME/VERSION with a token.</noscript>
</body>
</html>
"""


class _Chunk(msgspec.Struct):
    """A file of the bundle, as the manifest has it."""

    file: str
    css: list[str] = []


class Bundle:
    """The files of the page.

    Parameters
    ----------
    folder
        Where they are.

    Raises
    ------
    OSError, msgspec.DecodeError, KeyError
        It has not been built, or not whole.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        manifest = (folder / MANIFEST).read_bytes()
        chunks = msgspec.json.decode(manifest, type=dict[str, _Chunk])
        self.script = chunks[_ENTRY].file
        self.styles = chunks[_ENTRY].css
        files = {name for chunk in chunks.values() for name in (chunk.file, *chunk.css)}
        self._paths = {name: folder / name for name in files}
        for path in self._paths.values():
            path.stat()
        self._packed: dict[str, bytes] = {}

    def has(self, name: str) -> bool:
        """Return whether a file is one of the bundle's."""
        return name in self._paths

    async def packed(self, name: str) -> bytes:
        """Return a file, compressed by gzip once and for all."""
        if name not in self._packed:
            content = await asyncio.to_thread(self._paths[name].read_bytes)
            self._packed[name] = await asyncio.to_thread(gzip.compress, content, mtime=0)
        return self._packed[name]


def installed_bundle(folder: Path = STATIC) -> Bundle | None:
    """Return the bundle that is installed; None where it was not built."""
    try:
        return Bundle(folder)
    except (OSError, msgspec.DecodeError, KeyError):
        return None


class Pages:
    """Answers browsers at the public API.

    Parameters
    ----------
    bundle
        What the page is made of.
    contact
        Whom callers may ask for access; it is shown to all.
    is_open
        Whether documents are read without a token.
    any_case_paths, base_path
        As for the API.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        contact: str = "",
        is_open: bool = False,
        any_case_paths: bool = False,
        base_path: str = "",
    ) -> None:
        self._bundle = bundle
        self._contact = contact
        self._is_open = is_open
        self._base = f"{base_path}/"
        paths = ("/", "/services", "/services/{name}", "/services/{name}/{version}")
        of_calls = ("/api/{name}/{version}", "/docs", "/docs/{name}/{version}")
        nothing: Mapping[str, Operation] = {}
        table = [route(path, **nothing) for path in (*paths, *of_calls, _FILE)]
        self._router = Router([table], any_case=any_case_paths, base_path=base_path)

    async def find(self, request: ApiRequest) -> Response | None:
        """Answer a browser that asks for a page, or a file of one; None is for the API."""
        match = self._match(request)
        if match is None:
            return None
        if match.route.path == _FILE:
            name = match.parameters["file"]
            return await self._file(request, name) if self._bundle.has(name) else None
        return self._shell(request) if _prefers_html(request) else None

    def shown(self, request: ApiRequest, response: Response) -> Response:
        """Return the answer of the API as a browser is to see it: that it is refused as a page."""
        is_refused = response.status_code == 401 and _is_read(request)
        if is_refused and _prefers_html(request):
            challenge = response.headers.get("WWW-Authenticate", "Bearer")
            response = self._shell(request, 401)
            response.headers["WWW-Authenticate"] = challenge
        match = self._match(request)
        if is_refused or (match is not None and match.route.path != _FILE):
            response.headers.add_vary_header("Accept")
        return response

    def _match(self, request: ApiRequest) -> Match | None:
        return self._router.find(request.path) if _is_read(request) else None

    def _shell(self, request: ApiRequest, status: int = 200) -> Response:
        root = self._root(request.path)
        text = _SHELL.format(
            root=root,
            status=status,
            script=html.escape(self._bundle.script),
            styles="\n".join(
                f'<link rel="stylesheet" href="{root}static/{html.escape(name)}">'
                for name in self._bundle.styles
            ),
            is_open=str(self._is_open).lower(),
            contact=html.escape(self._contact),
        )
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": _POLICY,
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        return Response(text, status, headers=headers)

    def _root(self, path: str) -> str:
        """Return the way back to the root of the API, whatever proxies leave before it."""
        inner = path[len(self._base) - 1 :] if path.startswith(self._base) else path
        return "../" * (inner.count("/") - 1) or "./"

    async def _file(self, request: ApiRequest, name: str) -> Response:
        headers = {
            "Content-Type": _TYPES[Path(name).suffix],
            # Its name has a digest of its content.
            "Cache-Control": "public, max-age=31536000, immutable",
            "ETag": f'W/"{name}"',
            "Vary": "Accept-Encoding",
        }
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = await self._bundle.packed(name)
        if qualities(request.headers.get("accept-encoding", "")).get("gzip", 0) > 0:
            headers["Content-Encoding"] = "gzip"
        else:
            content = await asyncio.to_thread(gzip.decompress, content)
        return Response(content, headers=headers)


def _is_read(request: ApiRequest) -> bool:
    """Return whether somebody reads who did not come by way of a Jupyter server."""
    return request.method in {"GET", "HEAD"} and not request.is_from_host


def _prefers_html(request: ApiRequest) -> bool:
    """Return whether HTML is asked for by its name, and JSON is not wanted as much."""
    wants = qualities(request.headers.get("accept", ""))
    wanted = wants.get("text/html", 0.0)
    return wanted > 0 and wanted > wants.get("application/json", 0.0)
