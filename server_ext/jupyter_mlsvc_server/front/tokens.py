"""Whose token it is, remembered for as long as the server allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.front.messages import Trusted

_REMEMBERED: Final = 10_000
_LONGEST: Final = 2**13
"""Bytes of a header that is remembered; there may be any number of spaces before a token."""


class TokenCache:
    """Tells who may call services.

    Parameters
    ----------
    verify
        Asks the server whose token it is.
    """

    def __init__(self, verify: Callable[[str], Awaitable[Trusted]]) -> None:
        self._verify = verify
        self._until: dict[bytes, float] = {}
        self._asking: dict[bytes, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._forgotten = 0

    def admits(self, authorization: bytes) -> bool:
        """Whether the value of an Authorization header is known to let one call services."""
        until = self._until.get(authorization)
        return until is not None and self._loop.time() < until

    async def admit(self, authorization: bytes, token: str) -> None:
        """Find out whether a token lets one call services, asking once however many wait.

        Raises
        ------
        Unauthorized
            It is not valid.
        Forbidden
            Its owner may not.
        LinkEnded
            The server is gone.
        """
        task = self._asking.get(authorization)
        if task is None:
            task = self._loop.create_task(self._ask(authorization, token))
            self._asking[authorization] = task
            task.add_done_callback(self._asked_for(authorization))
        await asyncio.shield(task)

    def forget(self) -> None:
        """Ask for each token again."""
        self._forgotten += 1
        self._until.clear()
        # Whoever asks from now on must not be told what was true before.
        self._asking.clear()

    async def _ask(self, authorization: bytes, token: str) -> None:
        forgotten = self._forgotten
        trusted = await self._verify(token)
        require(trusted.principal, Action.CONSUME, None, "consume services")
        is_short = len(authorization) <= _LONGEST
        if is_short and trusted.seconds > 0 and forgotten == self._forgotten:
            if len(self._until) >= _REMEMBERED:
                self._until.clear()
            self._until[authorization] = self._loop.time() + trusted.seconds

    def _asked_for(self, authorization: bytes) -> Callable[[asyncio.Task[None]], None]:
        def forget(task: asyncio.Task[None]) -> None:
            if self._asking.get(authorization) is task:
                del self._asking[authorization]
            if not task.cancelled():
                task.exception()  # whoever asked may have left

        return forget
