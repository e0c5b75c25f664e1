"""Notebooks that are defined in one process and restored in another answer the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from .notebooks_to_restore import NOTEBOOKS

_WRITE = """
import json, sys, types
from pathlib import Path
import msgspec
from jupyter_mlsvc.wire.sources import show_source
from jupyter_mlsvc_server.runtime.capture import capture

expected = {}
for number, (name, (source, question)) in enumerate(json.loads(Path("notebooks.json").read_text())):
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec("", vars(main))
    ours = set(vars(main))
    show_source(f"<ipython-input-{number}>", source)
    exec(compile(source, f"<ipython-input-{number}>", "exec"), vars(main))
    (staging := Path(f"staging-{number}")).mkdir()
    report = capture(vars(main), staging, ours)
    Path(f"report-{number}.json").write_bytes(msgspec.json.encode(report))
    expected[name] = repr(eval(question, vars(main)))
print(json.dumps(expected))
"""

_READ = """
import json, sys, traceback, types
from pathlib import Path
import msgspec
from jupyter_mlsvc_server.runtime.manifest import BlobEntry, CaptureReport, Manifest
from jupyter_mlsvc_server.runtime.restore import restore

answers = {}
for number, (name, (_, question)) in enumerate(json.loads(Path("notebooks.json").read_text())):
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec("", vars(main))
    report = msgspec.json.decode(Path(f"report-{number}.json").read_bytes(), type=CaptureReport)
    staging = Path(f"staging-{number}")
    manifest = Manifest(
        runtime_type="Python",
        workspace=report.workspace,
        stream=BlobEntry(digest="stream", size=report.stream_size),
        buffers=tuple(
            BlobEntry(digest=f"buffers/{n}", size=size)
            for n, size in enumerate(report.buffer_sizes)
        ),
    )
    try:
        restored = restore(manifest, lambda digest: staging / digest, vars(main))
        lost = {row.name: row.reason for row in report.workspace.objects if not row.kept}
        answers[name] = repr(eval(question, vars(main))), lost | restored.lost
    except BaseException:
        answers[name] = traceback.format_exc(), {}
print(json.dumps(answers))
"""


def run(program: str, folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, Any]]:
    """What the notebooks answer where they were defined, and where they were restored."""
    folder = tmp_path_factory.mktemp("notebooks")
    sources = [
        (name, (dedent(source).strip(), question)) for name, (source, question) in NOTEBOOKS.items()
    ]
    (folder / "notebooks.json").write_text(json.dumps(sources))
    return run(_WRITE, folder), run(_READ, folder)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_restored_notebook_answers_the_same(
    answers: tuple[dict[str, str], dict[str, Any]], name: str
) -> None:
    there, here = answers
    assert tuple(here[name]) == (there[name], {})
