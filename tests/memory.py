"""What a process takes of memory while something happens."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self


class Memory:
    """Watches what a process takes of memory for itself, files apart."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = self.most = self._now()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.01):
            self.most = max(self.most, self._now())

    def _now(self) -> int:
        (line,) = [
            line for line in self._status.read_text().splitlines() if line.startswith("RssAnon")
        ]
        return int(line.split()[1]) * 1024
