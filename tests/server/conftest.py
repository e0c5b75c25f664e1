"""Workspaces that cross from one real process to another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

_WRITE = """
import json, sys
from pathlib import Path
import msgspec
from jupyter_mlsvc_server.kernel.capture import capture
sys.path.insert(0, ".")
import __main__
names = vars(__main__)
ours = set(names) | {"ours", "names"}
exec(compile(Path("write.py").read_text(), "write.py", "exec"), names)
search_path = [path for path in sys.path if path not in globals().get("ELSEWHERE", [])]
(staging := Path("staging")).mkdir()
report = capture(names, staging, ours | {"staging", "search_path", "ELSEWHERE"}, search_path)
print(json.dumps(msgspec.to_builtins(report)))
"""

_READ = """
import json, sys
from pathlib import Path
import msgspec
from jupyter_mlsvc_server.formats.manifest import BlobEntry, CaptureReport, Manifest
from jupyter_mlsvc_server.formats.restore import restore
sys.path.insert(0, ".")
import __main__
report = msgspec.json.decode(Path("report.json").read_bytes(), type=CaptureReport)
manifest = Manifest(
    runtime_type="Python",
    workspace=report.workspace,
    stream=BlobEntry(digest="stream", size=report.stream_size),
    buffers=tuple(
        BlobEntry(digest=f"buffers/{n}", size=size) for n, size in enumerate(report.buffer_sizes)
    ),
)
restored = restore(manifest, lambda digest: Path("staging") / digest, vars(__main__))
exec(compile(Path("read.py").read_text(), "read.py", "exec"), vars(__main__))
"""


@dataclass(frozen=True)
class Written:
    """A captured workspace that can be read in a new process."""

    folder: Path
    report: dict[str, Any]

    def row(self, name: str) -> dict[str, Any]:
        (row,) = [row for row in self.report["workspace"]["objects"] if row["name"] == name]
        return dict(row)

    def names(self, *, kept: bool) -> set[str]:
        rows = self.report["workspace"]["objects"]
        return {row["name"] for row in rows if row["kept"] is kept}

    def read(self, source: str) -> str:
        """Restore into ``__main__``, run code that sees ``restored``, and give its output."""
        (self.folder / "report.json").write_text(json.dumps(self.report))
        (self.folder / "read.py").write_text(dedent(source))
        return _run(_READ, self.folder)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Written]:
    """Run code as a notebook would in a process of its own and capture what it leaves."""

    def run(source: str) -> Written:
        (tmp_path / "write.py").write_text(dedent(source))
        output = _run(_WRITE, tmp_path)
        return Written(tmp_path, json.loads(output.splitlines()[-1]))

    return run


def _run(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
