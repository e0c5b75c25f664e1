"""Serves the connections that the front passes on."""

from __future__ import annotations

import socket
from typing import Final, Self

import msgspec
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.iostream import IOStream
from tornado.web import Application

_IDLE_SECONDS: Final = 3600.0
"""The front closes idle connections long before."""

_MAX_HEADER_BYTES: Final = 2**17
"""Above what the front takes and adds, so that it alone decides what is too large."""


class Receiver(HTTPServer):
    """An HTTP server that no client reaches but through the front."""

    @classmethod
    def of(cls, application: Application, scheme: str) -> Self:
        """Make one; ``scheme`` is what clients speak with the front."""
        return cls(
            application,
            protocol=scheme,
            idle_connection_timeout=_IDLE_SECONDS,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def receive(self, connection: socket.socket, address: bytes) -> None:
        """Take a connection, and the client's address as JSON."""
        host, port = msgspec.json.decode(address, type=tuple[str, int])
        connection.setblocking(False)
        self.handle_stream(IOStream(connection), (host, port))

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Tell the client's address; tornado takes it from internet sockets only."""
        context = getattr(request_conn, "context", None)
        if context is not None and context.address:
            context.remote_ip = context.address[0]
        return super().start_request(server_conn, request_conn)
