"""The publish check runs the code once, as a worker would, and tells what came of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc_server.formats.protocol import OWN_FOLDER, TEMPORARY_FOLDER
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.trial import TrialOutcome
from tests.processes import long_sleep, that_have
from tests.server.scoring.serving import Snapshots, StoredContent, define
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_r = pytest.mark.skipif(shutil.which("R") is None, reason="R is not installed here")


async def outcome(
    engine: LocalEngine, *args: Any, call: dict[str, Any] | None = None, **kwargs: Any
) -> TrialOutcome:
    body = None if call is None else msgspec.json.encode(call)
    return await engine.check(define(*args, **kwargs), body)


async def problem(engine: LocalEngine, *args: Any, **kwargs: Any) -> str:
    return (await outcome(engine, *args, **kwargs)).problem


CRASH = "import ctypes\nctypes.string_at(0)"
RAISING = {
    "a missing name": (
        "y = 1\nz = pipe",
        "NameError: name 'pipe' is not defined, in line 2: z = pipe",
    ),
    "sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3, in line 2: sys.exit(3)"),
    "an interrupt": (
        "raise KeyboardInterrupt",
        "KeyboardInterrupt, in line 1: raise KeyboardInterrupt",
    ),
    "in a function": (
        "def f():\n    return 1 / 0\nf()",
        "ZeroDivisionError: division by zero, in line 2: return 1 / 0",
    ),
    "os._exit": (
        "import os\nos._exit(3)",
        "The code ended the process that it ran in (exit code 3), in line 2: os._exit(3)",
    ),
    "a crash": (
        CRASH,
        "The code ended the process that it ran in (signal 11, SIGSEGV), "
        "in line 2: ctypes.string_at(0)",
    ),
    "no output": ("x = 1", "The code did not set the output 'y' (any)."),
}  # fmt: skip


@pytest.mark.parametrize(("code", "told"), RAISING.values(), ids=RAISING)
async def test_trial_reports_the_line_of_failing_code(
    engine: LocalEngine, code: str, told: str
) -> None:
    assert await problem(engine, code, call={}) == told


@pytest.mark.parametrize(("code", "told"), [*RAISING.values()][:-1], ids=[*RAISING][:-1])
async def test_trial_reports_failing_init_code_without_a_call(
    engine: LocalEngine, code: str, told: str
) -> None:
    started, _, line = told.rpartition(", in line ")
    expected = f"{started}, in line {line.replace(':', ' of initCode:', 1)}"
    expected = expected.replace("The code ended", "initCode ended")
    assert await problem(engine, "y = 1", init_code=code) == expected


async def test_code_runs_only_where_a_call_is_asked_for(
    engine: LocalEngine, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    mark.touch()
    code = f"open({str(mark)!r}, 'a').write('x'); y = 1"
    assert await outcome(engine, code) == TrialOutcome()
    assert mark.read_text() == ""
    assert (await outcome(engine, code, call={})).problem == ""
    assert mark.read_text() == "x"
    await outcome(engine, "y = 1", init_code=code)
    assert mark.read_text() == "xx"


async def test_init_code_that_needs_an_input_is_tried_in_a_call_only(engine: LocalEngine) -> None:
    given: dict[str, Any] = {"init_code": "z = x + 1", "inputs": "x:numeric"}
    assert await problem(engine, "y = z", **given) == ""
    assert await problem(engine, "y = z", **given, call={"x": 1}) == ""
    assert "NameError" in await problem(engine, "y = z", init_code="z = q")


async def test_inputs_are_decoded_and_outputs_encoded_as_by_a_worker(
    engine: LocalEngine, iris: StoredContent
) -> None:
    code = "print('hello'); y = [names[i] for i in clf.predict(x)]"
    found = await outcome(
        engine, code, iris, inputs="x:matrix", outputs="y:vector", call={"x": [[7, 3.2, 4.7, 1.4]]}
    )
    answer = msgspec.json.decode(found.answer)
    assert found.problem == ""
    assert answer["success"] is True
    assert answer["outputParameters"] == {"y": ["I. versicolor"]}
    assert answer["consoleOutput"] == "hello\n"


async def test_trial_reports_an_example_or_output_of_another_type(engine: LocalEngine) -> None:
    assert "Input x must be a number" in await problem(
        engine, "y = x", inputs="x:numeric", call={"x": "a"}
    )
    assert "Output y must be a number" in await problem(
        engine, "y = 'a'", outputs="y:numeric", call={}
    )


TYPES = {
    "1": "numeric", "1.5": "numeric", "True": "logical", "'a'": "character", "[1, 'a']": "vector",
    "[[1, 2], [3, 4]]": "matrix", "__import__('numpy').arange(3)": "vector",
    "__import__('pandas').DataFrame({'a': [1]})": "data.frame",
    "{'a': 1}": None, "[{'a': 1}]": None, "None": None,
}  # fmt: skip


@pytest.mark.parametrize("value", TYPES)
async def test_types_of_outputs_come_from_the_answer(engine: LocalEngine, value: str) -> None:
    found = await outcome(engine, f"y = {value}\nz = 1", outputs="y: z:numeric", call={})
    assert found.types == ({} if TYPES[value] is None else {"y": TYPES[value]})


@pytest.mark.asyncio(loop_scope="function")
async def test_code_that_does_not_end_is_stopped_with_its_line_and_all_it_started(
    make_engine: Callable[..., Any],
) -> None:
    engine = await make_engine(deadline_seconds=3.0)
    seconds = long_sleep()
    code = (
        f"import subprocess, time\nchild = subprocess.Popen(['sleep', '{seconds}'])\n"
        "while True:\n    time.sleep(60)"
    )
    message = await problem(engine, code, call={})
    assert message == "The code ran for more than 3 s and was stopped, in line 4: time.sleep(60)"
    message = await problem(engine, "y = 1", init_code="while True: pass")
    assert message == (
        "initCode ran for more than 3 s and was stopped, in line 1 of initCode: while True: pass"
    )
    await until(lambda: not that_have(seconds))


async def test_a_trial_leaves_nothing_behind(engine: LocalEngine, tmp_path: Path) -> None:
    definition = define("open('file', 'w').write('x')\ny = 1", revision="clean")
    await engine.check(definition, b"{}")
    template = engine._checked["clean"][1]
    lasting = {template._work / name for name in (OWN_FOLDER, TEMPORARY_FOLDER)}
    # It ends by itself when it has told what it found, and its template then tidies up.
    async with asyncio.timeout(60):
        owners = template.process._owners
        while template in owners.values() or {*template._work.iterdir()} != lasting:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.asyncio(loop_scope="function")
async def test_printed_output_is_cut(make_engine: Callable[..., Any]) -> None:
    engine = await make_engine(console_limit=100)
    found = await outcome(engine, "print('x' * 10_000); y = 1", call={})
    assert len(msgspec.json.decode(found.answer)["consoleOutput"]) < 200


@needs_r
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("y <- 1\n\nz <- nothing", "Error: object 'nothing' not found, in line 3: z <- nothing"),
        ("f <- function() {\n  stop('no')\n}\nf()", "Error in f(): no, in line 4: f()"),
        ("x <- 1", "The code did not set the output 'y' (any)."),
    ],
)
async def test_trial_reports_the_line_of_failing_r_code(
    engine: LocalEngine, code: str, told: str
) -> None:
    assert await problem(engine, code, runtime_type="R", call={}) == told


@needs_r
async def test_init_code_in_r_is_tried(engine: LocalEngine) -> None:
    assert await problem(engine, "y <- 1", runtime_type="R", init_code="a <- 1\nstop('no')") == (
        "Error: no, in line 2 of initCode: stop('no')"
    )
    assert await problem(
        engine, "y <- z", runtime_type="R", init_code="z <- x", inputs="x:numeric"
    ) == ""  # fmt: skip


@needs_r
@pytest.mark.parametrize(
    ("value", "kind"),
    [("1L", "numeric"), ("'a'", "character"), ("TRUE", "logical"), ("c(1, 2)", "vector"),
     ("data.frame(a = 1:2)", "data.frame"), ("list(a = 1)", None)],
)  # fmt: skip
async def test_types_of_outputs_in_r(engine: LocalEngine, value: str, kind: str | None) -> None:
    found = await outcome(engine, f"y <- {value}", outputs="y:", runtime_type="R", call={})
    assert found.problem == ""
    assert found.types == ({} if kind is None else {"y": kind})


SETTINGS = """
import numpy, pandas, sklearn, os
sklearn.set_config(transform_output='pandas')
pandas.set_option('compute.use_bottleneck', False)
numpy.seterr(invalid='raise')
def helper(): return os.getenv('HELPER_KEY')
"""
RESET = """
sklearn.set_config(transform_output='default')
pandas.reset_option('compute.use_bottleneck')
numpy.seterr(invalid='warn')
"""


async def test_settings_of_the_session_are_named(engine: LocalEngine, snapshots: Snapshots) -> None:
    try:
        content = snapshots.take(SETTINGS)
    finally:
        exec(f"import numpy, pandas, sklearn\n{RESET}")
    found = await outcome(engine, "y = 1", content, call={})
    told = "\n".join(found.notes)
    for words in ("scikit-learn set to transform_output = 'pandas'", "calls run with 'default'"):
        assert words in told
    assert "pandas set to compute.use_bottleneck = False" in told
    assert "numpy set to seterr invalid = 'raise'" in told
    assert "HELPER_KEY" in told
    code = "import sklearn\nsklearn.set_config(transform_output='pandas')\ny = 1"
    found = await outcome(engine, code, content, call={})
    assert "scikit-learn" not in "\n".join(found.notes)


@pytest.mark.parametrize(
    "code",
    [
        "y = os.environ['MY_KEY']", "y = os.environ.get('MY_KEY')", "y = os.getenv('MY_KEY', '')",
        "def f(): return os.environ.get('MY_KEY')\ny = f()",
        "from os import environ as e, getenv\ny = getenv('MY_KEY')",
    ],
)  # fmt: skip
async def test_variables_that_the_code_reads_are_named(engine: LocalEngine, code: str) -> None:
    found = await outcome(engine, f"import os\n{code}", call={})
    assert [note.split(",")[0] for note in found.notes] == [
        "The code reads the environment variable MY_KEY"
    ]


async def test_nothing_is_noted_where_there_is_nothing(
    engine: LocalEngine, iris: StoredContent
) -> None:
    code = "import os\ny = os.environ.get('PATH')"
    assert (await outcome(engine, code, iris, call={})).notes == ()


@needs_r
async def test_variables_that_code_in_r_reads_are_named(engine: LocalEngine) -> None:
    found = await outcome(engine, "y <- Sys.getenv('MY_KEY')", runtime_type="R", call={})
    assert "MY_KEY" in found.notes[0]
