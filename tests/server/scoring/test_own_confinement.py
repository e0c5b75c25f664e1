"""Versions that ask for more confinement than the server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.confinement import Confinement
from jupyter_mlsvc_server.formats.confine import can_close_network, landlock_abi
from jupyter_mlsvc_server.scoring.errors import UnservableCode
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, Snapshots, define, no_definition, serve_by

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(landlock_abi() < 3 or not can_close_network(), reason="needs Linux 6.2"),
]
Serve = Callable[..., Awaitable[Service]]

TRIES = """
import os, tempfile
def result_of(path):
    try:
        with open(path, 'w') as file:
            return file.write('written')
    except PermissionError:
        return 'refused'
tried = {name: result_of(path) for name, path in {
    'here': 'new.txt', 'over': 'kept.txt', 'home': os.path.expanduser('~/new'),
    'opened': os.path.join(opened, 'new'), 'null': os.devnull,
    'temporary': os.path.join(tempfile.gettempdir(), 'new'),
}.items()}
y = [tried, open('kept.txt').read()]
"""


async def test_read_only_code_writes_temporary_files_alone(
    serve: Serve, snapshots: Snapshots, tmp_path: Path
) -> None:
    content = snapshots.take("", files={"kept.txt": b"as it was"})
    inputs = "opened:character"
    service = await serve(TRIES, content, inputs=inputs, read_only=True, setup_code="import math")
    refused = dict.fromkeys(("here", "over", "home", "opened"), "refused")
    for _ in range(2):
        result = await service.call(opened=str(tmp_path))
        expected = [refused | {"null": 7, "temporary": 7}, "as it was"]
        assert result["outputParameters"] == {"y": expected}
        assert result["changedFiles"] == []
    open_to_all = await serve(TRIES, content, inputs=inputs, revision="r2")
    assert set((await open_to_all.outputs(opened=str(tmp_path)))["y"][0].values()) == {7}


async def test_read_only_code_writes_the_files_that_it_answers(serve: Serve) -> None:
    service = await serve(
        "open('plot.txt', 'a').write('!')\ny = 1",
        setup_code="open('plot.txt', 'w').write('first')",
        output_files=("plot.txt",),
        read_only=True,
    )
    for _ in range(2):
        assert (await service.call())["outputFiles"] == {"plot.txt": "Zmlyc3Qh"}


@pytest.mark.parametrize("isolation", ["worker", "call", "none"])
async def test_code_without_network_has_unix_sockets_alone(serve: Serve, isolation: str) -> None:
    code = (
        "import socket, ctypes\n"
        "socket.socketpair()[0].close()\n"
        "refused = []\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_VSOCK):\n"
        "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
        "        try: socket.socket(family, kind).close()\n"
        "        except PermissionError: refused.append(int(family))\n"
        "        except OSError: pass\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "y = [len(refused), libc.syscall(425, 1, None), ctypes.get_errno()]"
    )
    service = await serve(code, isolation=isolation, network=False)
    assert await service.outputs() == {"y": [12, -1, 13]}


@pytest.mark.kernel
async def test_code_in_r_is_confined_alike(
    engine: LocalEngine, needs_r: None, tmp_path: Path
) -> None:
    code = (
        "tried <- function(code) tryCatch({code; 'done'}, error = function(e) 'refused',"
        " warning = function(w) 'refused')\n"
        "y <- c(tried(writeLines('a', 'new.txt')), tried(writeLines('a', tempfile())),"
        " tried(writeLines('a', file.path(opened, 'new'))), tried(serverSocket(0)))"
    )
    members: dict[str, Any] = {"runtime_type": "R", "isolation": "call"}
    inputs = "opened:character"
    service = await serve_by(engine, code, inputs=inputs, **members, network=False, read_only=True)
    expected = ["refused", "done", "refused", "refused"]
    assert await service.outputs(opened=str(tmp_path)) == {"y": expected}
    service = await serve_by(engine, code, inputs=inputs, **members, revision="r2")
    assert await service.outputs(opened=str(tmp_path)) == {"y": ["done"] * 4}


async def test_what_the_server_can_not_do_is_refused(tmp_path: Path) -> None:
    engine = LocalEngine(
        data_dir=tmp_path,
        definitions=no_definition,
        confinement=Confinement(data_dir=tmp_path, level="none"),
        preload=[],
    )
    await engine.start()
    try:
        asks: list[dict[str, Any]] = [{"network": False}, {"read_only": True}]
        for asked in asks:
            with pytest.raises(UnservableCode, match=r"Confinement\.level is none"):
                await engine.check(define("y = 1", **asked))
        await engine.check(define("y = 1"))
    finally:
        await engine.stop()
