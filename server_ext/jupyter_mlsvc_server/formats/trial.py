"""What the server and the process of a publish check know of each other beside the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.formats.protocol import Line, Service

SETTING_UP: Final = "setting up"
RUNNING: Final = "running"
"""What a trial is at; the last such line in the file of :func:`trace_path` counts."""

_LONGEST_LINE: Final = 200


def trace_path(work: Path, pid: int) -> Path:
    """Name the file with the frames of a trial that gave no report."""
    return work / f"trial-{pid}"


def sources(service: Service) -> dict[str, tuple[str, str]]:
    """Give part and source of what was published, by the file names in tracebacks."""
    return {
        f"<{service.label}>": ("code", service.code),
        f"<{service.label} initCode>": ("initCode", service.init_code),
        f"<{service.label} setupCode>": ("setupCode", service.setup_code),
    }


def line_of(part: str, source: str, number: int) -> Line:
    """Describe a line of a source."""
    lines = source.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return Line(part, number, text[:_LONGEST_LINE])
