"""Requests that ran together when their worker ended: any of them can have been the reason.

Each of them runs alone, so that the one that ends its worker is found, and fails no other. It can
take long where there are many: those that wait beside them go on. While anything else waits, one
worker at a time runs suspects. Otherwise all but one may. A pool with a single worker takes turns:
after each suspect come as many others as that worker runs at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from jupyter_mlsvc_server.scoring.decisions import Worker
from jupyter_mlsvc_server.scoring.request import PendingRequest


class Suspects:
    """Says which worker runs a suspect, and when.

    Attributes
    ----------
    waiting
        Those that wait to run alone; first come, first served.
    """

    __slots__ = ("_turns", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[PendingRequest] = deque()
        self._turns = 0
        """Other requests that a single worker may take before the next suspect."""

    def next_for(
        self, worker: Worker, staying: Sequence[Worker], *, others_wait: bool
    ) -> PendingRequest | None:
        """Take the suspect that a worker is to run now, if it is.

        Parameters
        ----------
        worker
            A worker that may get a request.
        staying
            All workers that get requests.
        others_wait
            Whether requests wait that are no suspects.
        """
        if worker.requests or not self.waiting:
            return None
        at_it = sum(map(_runs_suspect, staying))
        if not others_wait:
            may = at_it < max(len(staying) - 1, 1)
        else:
            may = not at_it and (len(staying) > 1 or self._turns <= 0)
        if not may:
            return None
        self._turns = worker.batch_size
        return self.waiting.popleft()

    def other_given(self) -> None:
        """Take word that a worker has got a request that is no suspect."""
        self._turns -= 1

    def lack_worker(self, staying: Sequence[Worker]) -> bool:
        """Whether suspects wait and none of the workers can take one before it has finished."""
        return bool(self.waiting) and all(
            worker.requests and not _runs_suspect(worker) for worker in staying
        )

    def is_closed(self, worker: Worker, staying: Sequence[Worker]) -> bool:
        """Whether a worker gets nothing more until a suspect can run in it.

        It is the one with the least to do, where no other one can take suspects.
        """
        if not self.lack_worker(staying):
            return False
        if len(staying) == 1:
            return self._turns <= 0
        return worker is min(staying, key=lambda one: len(one.requests))


def _runs_suspect(worker: Worker) -> bool:
    return bool(worker.requests) and worker.requests[0].is_suspect
