"""Configuration of a server that tells how long the longest turn of its event loop was.

A callback that comes up in each turn looks at the processor time of the loop's thread, so that
other programs on the machine count for nothing. Upon a signal the longest turn since the last one
is written to a file.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from jupyter_mlsvc_server.api.http_server import HttpServer

FILE = "BENCHMARK_TURNS"
"""Variable of the environment with the path of the file."""
TELL = signal.SIGUSR2

_open = HttpServer.open


def _watch(loop: asyncio.AbstractEventLoop, path: Path) -> None:
    last, longest = time.thread_time(), 0.0

    def look() -> None:
        nonlocal last, longest
        now = time.thread_time()
        last, longest = now, max(longest, now - last)
        loop.call_soon(look)

    def tell() -> None:
        nonlocal longest
        new = path.with_suffix(".new")
        new.write_text(str(longest))
        new.replace(path)
        longest = 0.0

    loop.call_soon(look)
    loop.add_signal_handler(TELL, tell)


async def _open_and_watch(self: HttpServer, *arguments: Any, **named: Any) -> None:
    await _open(self, *arguments, **named)
    if HttpServer.open is _open_and_watch:
        HttpServer.open = _open  # type: ignore[method-assign]  # once for all sockets
        _watch(asyncio.get_running_loop(), Path(os.environ[FILE]))


if FILE in os.environ:  # not where it is only imported
    HttpServer.open = _open_and_watch  # type: ignore[method-assign]
