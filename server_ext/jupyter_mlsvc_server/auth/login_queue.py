"""The queue of those who wait for a password to be hashed: fair between addresses."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from jupyter_mlsvc_server.auth.addresses import is_shared
from jupyter_mlsvc_server.errors import Busy

_CROWD: Final = 16
"""Waiting logins of an address from which on the latest is let in first."""

T = TypeVar("T")

_SHARES: Final = 4
"""Into how many the places are split; an address gets one, a local one all but one."""


class LoginQueue:
    """Lets a few in at a time: one of each address in turn, and those that are known before them.

    Parameters
    ----------
    slots
        How many may be in at a time.
    places
        How many may wait.
    """

    def __init__(self, *, slots: int, places: int) -> None:
        self._free = slots
        self._places = places
        self._present: dict[str, int] = {}
        """How many of each address wait, are delayed or are in."""
        self._known: deque[asyncio.Future[None]] = deque()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def enter(self, network: str, *, is_known: bool = False) -> None:
        """Take a place; :meth:`leave` gives it back.

        Raises
        ------
        Busy
            All places are taken, or all that the address may have.
        """
        own = self._present.get(network, 0)
        share = max(1, self._places // _SHARES)
        share = max(1, self._places - share) if is_shared(network) else share
        # Who was here before may be crowded out by others of their kind only.
        most, of_all = (2 * share, 2 * self._places) if is_known else (share, self._places)
        if own >= most:
            raise Busy(
                f"{own} logins from your address wait already; {most} may. Try again in a moment.",
                retry_after=1,
            )
        if sum(self._present.values()) >= of_all:
            raise Busy(
                f"{of_all} logins wait already (AccountManager.waiting_logins). Try again in a "
                "moment.",
                retry_after=1,
            )
        self._present[network] = own + 1

    def leave(self, network: str) -> None:
        """Give a place back."""
        self._present[network] -= 1
        if not self._present[network]:
            del self._present[network]

    async def run(
        self, network: str, work: Callable[[], Awaitable[T]], *, is_known: bool = False
    ) -> T:
        """Do work once it is one's turn; nothing is begun for who is cancelled before.

        Work that was begun goes on to its end, and keeps its slot so long.
        """
        await self._turn(network, is_known=is_known)
        task = asyncio.ensure_future(work())
        task.add_done_callback(self._end)
        return await asyncio.shield(task)

    async def _turn(self, network: str, *, is_known: bool) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = asyncio.get_running_loop().create_future()
        queue = self._known if is_known else self._waiting.setdefault(network, deque())
        queue.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                # It was let in at the same moment.
                self._free += 1
                self._let_in()
            raise

    def _end(self, task: asyncio.Future[T]) -> None:
        self._free += 1
        if not task.cancelled():
            # Who waited for it may be gone.
            task.exception()
        self._let_in()

    def _let_in(self) -> None:
        while self._free and (waiting := self._next()) is not None:
            if not waiting.done():
                self._free -= 1
                waiting.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        if self._known:
            return self._known.popleft()
        if not self._waiting:
            return None
        network, queue = self._waiting.popitem(last=False)
        # In a flood those who have just come still wait for their answer.
        waiting = queue.pop() if len(queue) > _CROWD else queue.popleft()
        if queue:
            self._waiting[network] = queue
        return waiting
