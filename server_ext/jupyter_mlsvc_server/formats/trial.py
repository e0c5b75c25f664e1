"""What the server and the process of a publish check know of each other beside the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.formats.protocol import Line
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec

SETTING_UP: Final = "setting up"
RUNNING: Final = "running"
"""What a trial is at; the last such line in the file of :func:`trace_path` counts."""

STREAM: Final = "stream: "
"""Before the output that takes what the code yields, in the same file."""

_MAX_LINE_LENGTH: Final = 200


def trace_path(work: Path, pid: int) -> Path:
    """Name the file with the frames of a trial that gave no report."""
    return work / f"trial-{pid}"


def sources(spec: ServiceSpec) -> dict[str, tuple[str, str]]:
    """Give part and source of what was published, by the file names in tracebacks."""
    return {spec.file_name(part): (part, source) for part, source in spec.parts.items()}


def line_of(part: str, source: str, number: int) -> Line:
    """Describe a line of a source."""
    lines = source.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return Line(part, number, text[:_MAX_LINE_LENGTH])
