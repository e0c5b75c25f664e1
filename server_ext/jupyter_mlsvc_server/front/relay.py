"""A client's way through the front to the server, for all but calls of services."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol, cast

import httptools
import msgspec

_FULL_PAUSE: Final = 0.005


class Client(Protocol):
    """What takes the server's answers."""

    @property
    def address(self) -> tuple[str, int]:
        """Where the client is."""

    def relayed(self, data: bytes) -> None:
        """Take a piece of an answer."""

    def relay_finished(self, *, is_kept_alive: bool) -> None:
        """Learn that an answer is over."""

    def relay_lost(self, *, has_begun: bool) -> None:
        """Learn that the server closed in the middle of an answer, or before it began."""

    def relay_closed(self, relay: Relay) -> None:
        """Learn that the server closed while nothing was asked."""


class Relay(asyncio.Protocol):
    """A connection to the server that belongs to one client's connection.

    It is a pair of sockets of which the server gets one, together with the client's address, over
    a socket that only the two have: nobody else can reach the server this way, and a request can't
    lie about where it came from.
    """

    def __init__(self, client: Client, ours: socket.socket) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        # Of its own, so that a failed write does not cost the answer that has arrived.
        self._out = ours.dup()
        self._out.setblocking(False)
        self._parser = httptools.HttpResponseParser(self)
        self._is_head = False
        self._is_open = False
        self._is_kept_alive = True
        self.has_begun = False
        """Whether the answer at hand has begun."""

    @classmethod
    async def open(cls, client: Client, relays: socket.socket) -> Relay:
        """Make a pair of sockets and pass one of them to the server."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        relay = cls(client, ours)
        try:
            with theirs:
                await _pass_on(relays, msgspec.json.encode(client.address), theirs)
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: relay, sock=ours)
        except BaseException:
            ours.close()
            relay.close()
            raise
        return relay

    def begin(self, is_head: bool) -> None:
        """Get ready for the answer to a request."""
        self._is_head = is_head
        self._is_open = True
        self.has_begun = False

    async def send(self, data: bytes) -> None:
        """Send a piece of a request; waits until the server takes it."""
        await self._loop.sock_sendall(self._out, data)

    def pause(self) -> None:
        """Take no more of the answer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close it."""
        self._is_open = False
        self._close_out()
        if self._transport is not None:
            self._transport.abort()

    def _close_out(self) -> None:
        # After whoever is sending has been stopped.
        self._loop.call_soon(self._out.close)

    # --- the server's answers ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on a piece of an answer, looking only where it ends."""
        if not self._is_open:
            return
        self.has_begun = True
        self._client.relayed(data)
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        """See how the answer ends."""
        self._is_kept_alive = self._parser.should_keep_alive()
        if self._is_head and self._parser.get_status_code() >= 200:
            # It tells the length of a body that is not sent.
            self._parser = httptools.HttpResponseParser(self)
            self._finish()

    def on_message_complete(self) -> None:
        """End the answer, unless it was only a first word."""
        if self._is_open and self._parser.get_status_code() >= 200:
            self._finish()

    def _finish(self) -> None:
        self._is_open = False
        self._client.relay_finished(is_kept_alive=self._is_kept_alive)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell a client that waits."""
        self._close_out()
        if self._is_open:
            self._is_open = False
            self._client.relay_lost(has_begun=self.has_begun)
        else:
            self._client.relay_closed(self)


async def _pass_on(link: socket.socket, data: bytes, descriptor: socket.socket) -> None:
    while True:
        try:
            socket.send_fds(link, [data], [descriptor.fileno()])
        except BlockingIOError:
            await asyncio.sleep(_FULL_PAUSE)
        else:
            return
