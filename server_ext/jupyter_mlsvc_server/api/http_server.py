"""Serves the application on sockets."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


class HttpServer:
    """Serves on any number of sockets, as uvicorn does.

    Parameters
    ----------
    app
        Answers requests.
    log
        For the operator.
    """

    def __init__(self, *, app: ASGIApp, log: Any, **_: Any) -> None:
        self._app = app
        self._log = log
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def open(
        self, listening: socket.socket, *, tls: ssl.SSLContext | None = None, backlog: int = 2048
    ) -> None:
        """Serve on a socket that is bound."""
        config = Config(
            self._app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
        )
        config.load()
        make = functools.partial(
            HttpToolsProtocol, config=config, server_state=self._state, app_state={}
        )
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        self._servers.append(
            await loop.create_server(make, sock=listening, ssl=tls, backlog=backlog)
        )

    async def close(self) -> None:
        """Stop listening and end all connections; may be called twice."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
