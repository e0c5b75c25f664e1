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

pytestmark = pytest.mark.process

ORDERS = 4
"""In so many orders the names of a notebook stand; the first one is that of its definitions."""

_WRITE = """
import json, random, sys, types
from pathlib import Path
import msgspec
from jupyter_mlsvc.wire.sources import show_source
from jupyter_mlsvc_server.kernel.capture import capture

expected = {}
for number, (name, (source, question)) in enumerate(json.loads(Path("notebooks.json").read_text())):
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec("", vars(main))
    ours = set(vars(main))
    show_source(f"<ipython-input-{number}>", source)
    exec(compile(source, f"<ipython-input-{number}>", "exec"), vars(main))
    for order in range(ORDERS):
        names = [each for each in vars(main) if each not in ours]
        if order:
            random.Random(f"{name} {order}").shuffle(names)
        for each in names:
            vars(main)[each] = vars(main).pop(each)
        (staging := Path(f"staging-{number}-{order}")).mkdir()
        report = capture(vars(main), staging, ours)
        Path(f"report-{number}-{order}.json").write_bytes(msgspec.json.encode(report))
    expected[name] = repr(eval(question, vars(main)))
print(json.dumps(expected))
"""

_READ = """
import json, os, sys, traceback, types
from pathlib import Path
import msgspec
from jupyter_mlsvc_server.formats.manifest import BlobEntry, CaptureReport, Manifest
from jupyter_mlsvc_server.formats.restore import restore
import numpy, pandas, sklearn.pipeline

def answer(where, question):
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec("", vars(main))
    report = msgspec.json.decode(Path(f"report-{where}.json").read_bytes(), type=CaptureReport)
    staging = Path(f"staging-{where}")
    manifest = Manifest(
        runtime_type="Python",
        workspace=report.workspace,
        stream=BlobEntry(digest="stream", size=report.stream_size),
        buffers=tuple(
            BlobEntry(digest=f"buffers/{n}", size=size)
            for n, size in enumerate(report.buffer_sizes)
        ),
    )
    lost = {row.name: row.reason for row in report.workspace.objects if not row.kept}
    try:
        lost |= restore(manifest, lambda digest: staging / digest, vars(main)).lost
        return repr(eval(question, vars(main))), lost
    except BaseException:
        return traceback.format_exc(), lost

answers = {}
for number, (name, (_, question)) in enumerate(json.loads(Path("notebooks.json").read_text())):
    for order in range(ORDERS):
        # A process for each: classes are made once in one.
        where = f"{number}-{order}"
        if not os.fork():
            Path(f"answer-{where}.json").write_text(json.dumps(answer(where, question)))
            os._exit(0)
        os.wait()
        found = json.loads(Path(f"answer-{where}.json").read_text())
        answers.setdefault(name, []).append(found)
print(json.dumps(answers))
"""


def run(program: str, folder: Path) -> Any:
    command = [sys.executable, "-c", program.replace("ORDERS", str(ORDERS))]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
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
def test_restored_notebook_answers_the_same_in_any_order(
    answers: tuple[dict[str, str], dict[str, Any]], name: str
) -> None:
    there, here = answers
    assert here[name] == [[there[name], {}]] * ORDERS
