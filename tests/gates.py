"""Code of sessions and services that goes on when a test says so."""

from __future__ import annotations

from pathlib import Path


def once_there_is(path: Path | str) -> str:
    """Write Python code that waits until a file is there; one of a session by its name."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"
