"""What a service answers to requests that fit and to those that don't."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import CodeEnded
from tests.server.scoring.serving import IRIS_CODE, Service, Snapshots, StoredContent

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]


async def test_the_articles_iris_service_takes_a_plain_list(
    serve: Serve, iris: StoredContent
) -> None:
    service = await serve(
        IRIS_CODE,
        iris,
        name="Iris",
        inputs="flower_data:vector",
        outputs="iris_species:vector",
    )
    for flower, species in [
        ([7, 3.2, 4.7, 1.4], "I. versicolor"),
        ([3, 2.6, 3, 2.5], "I. versicolor"),
        ([5.1, 3.5, 1.4, 0.2], "I. setosa"),
    ]:
        result = await service.call(flower_data=flower)
        assert result["outputParameters"] == {"iris_species": [species]}
        assert "DeprecationWarning: SVC got one-dimensional input" in result["consoleOutput"]


async def test_scikit_learn_does_not_take_a_list_for_a_frame_but_a_frame_for_one(
    serve: Serve, snapshots: Snapshots
) -> None:
    pytest.importorskip("narwhals.stable.v2", reason="this scikit-learn does not ask narwhals")
    content = snapshots.take(
        "import pandas as pd\nfrom sklearn.svm import SVC\n"
        "model = SVC().fit(pd.DataFrame({'a': [0.0, 1.0], 'b': [0.0, 1.0]}), [0, 1])"
    )
    code = """
from narwhals.stable.v2 import dependencies
is_quick = hasattr(dependencies.is_into_dataframe, '__wrapped__')
label = int(model.predict([frame.iloc[0].tolist()] if plain else frame)[0])
"""
    service = await serve(
        code,
        content,
        inputs="frame:data.frame plain:logical",
        outputs="label:integer is_quick:logical",
    )
    right, wrong = {"a": [1.0], "b": [1.0]}, {"b": [1.0], "a": [1.0]}
    as_rows = await service.call(frame=right, plain=True)
    assert as_rows["outputParameters"] == {"label": 1, "is_quick": True}
    assert "does not have valid feature names" in as_rows["consoleOutput"]
    as_frame = await service.call(frame=right, plain=False)
    assert as_frame["outputParameters"]["label"] == 1
    assert as_frame["consoleOutput"] == ""
    refused = await service.call(frame=wrong, plain=False)
    assert "feature names" in refused["errorMessage"].lower()


async def test_requests_that_come_together_are_read_each_for_itself(serve: Serve) -> None:
    service = await serve("y = x.sum()", inputs="x:vector", outputs="y:numeric")
    long = list(range(5_000))
    bodies = [
        b'{"x": [1, 2]}',
        b'{"x": 1}',
        b'{"x": %a}' % long,
        b"{",
        b'{"x": [3.5]}',
    ]
    outcomes = await asyncio.gather(*map(service.raw, bodies))
    assert [outcome.status for outcome in outcomes] == [200, 400, 200, 400, 200]
    assert b'"y":3}' in outcomes[0].body
    assert b'"y":%d}' % sum(long) in outcomes[2].body
    assert b'"y":3.5}' in outcomes[4].body


async def test_an_answer_has_the_six_members_in_order(serve: Serve) -> None:
    service = await serve("y = x + 1", inputs="x:numeric", outputs="y:numeric")
    answer = await service.raw(b'{"x": 9}')
    assert answer.body == (
        b'{"success":true,"errorMessage":"","outputParameters":{"y":10.0},'
        b'"outputFiles":{},"consoleOutput":"","changedFiles":[]}'
    )


async def test_many_requests_at_once_have_an_outcome_each_in_their_order(serve: Serve) -> None:
    code = "import os\nif x == 3:\n    os._exit(1)\ny = 1 / x"
    service = await serve(code, inputs="x:numeric", outputs="y:numeric")
    bodies = [b'{"x": %d}' % x for x in (4, 0, 3, 2)]
    outcomes = await service.engine.consume_many(service.key, [*bodies, b"no JSON"], 20)
    fine, failed, killed, later, invalid = outcomes
    assert isinstance(killed, CodeEnded)
    answers = [one for one in (fine, failed, later, invalid) if isinstance(one, ScoringAnswer)]
    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    assert [answer.success for answer in answers] == [True, False, True, False]
    assert b'"y":0.25' in answers[0].body
    assert b'"y":0.5' in answers[2].body
    assert await service.engine.consume_many(service.key, [], 1) == []


@pytest.mark.parametrize(
    ("type_name", "value", "seen"),
    [
        ("logical", True, "bool True"),
        ("numeric", 1.5, "float 1.5"),
        ("integer", 3.0, "int 3"),
        ("character", "ä", "str 'ä'"),
        ("vector", [1, 2.5], "ndarray array([1. , 2.5])"),
        ("matrix", [[1, 2]], "ndarray array([[1, 2]])"),
        ("data.frame", {"a": [1]}, "DataFrame    a\n0  1"),
        ("string", {"a": [1]}, "dict {'a': [1]}"),
        ("vector", None, "NoneType None"),
    ],
)
async def test_code_sees_inputs_as_their_declared_types(
    serve: Serve, type_name: str, value: Any, seen: str
) -> None:
    service = await serve("y = f'{type(x).__name__} {x!r}'", inputs=f"x:{type_name}")
    assert await service.outputs(x=value) == {"y": seen}


@pytest.mark.parametrize(
    ("code", "type_name", "value"),
    [
        ("import numpy; y = numpy.float64(1.5)", "numeric", 1.5),
        ("y = {3, 1}", "vector", [1, 3]),
        ("y = float('nan')", "numeric", None),
        ("import numpy; y = numpy.eye(2)", "matrix", [[1, 0], [0, 1]]),
        (
            "import pandas; y = pandas.DataFrame({'a': [1, None], 'b': ['x', None]})",
            "data.frame",
            {"a": [1.0, None], "b": ["x", None]},
        ),
        ("import datetime; y = datetime.date(2020, 1, 2)", "character", "2020-01-02"),
        ("y = 2 ** 80", "integer", 2**80),
        ("y = '\\ud800'", "character", "\ud800"),
        ("y = b'abc'", "character", "YWJj"),
    ],
)
async def test_outputs_are_json_of_their_declared_types(
    serve: Serve, code: str, type_name: str, value: Any
) -> None:
    import json

    service = await serve(code, outputs=f"y:{type_name}")
    answer = await service.raw(b"{}")
    assert json.loads(bytes(answer.body))["outputParameters"] == {"y": value}


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b"null"])
async def test_a_service_without_inputs_takes_an_empty_body(serve: Serve, body: bytes) -> None:
    service = await serve("y = 1")
    assert (await service.raw(body)).success


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "Input 'n' (integer) is missing. Input 'v' (vector) is missing."),
        (b"", "Input 'n' (integer) is missing. Input 'v' (vector) is missing."),
        (
            b'{"n": 1.5, "v": [1, [2]]}',
            "Input n must be a whole number (integer), got the number 1.5. "
            "Input v[1] must be a number, a string, true, false or null, got an array.",
        ),
        (
            b'{"n": 1, "v": [], "w": 0}',
            "There is no input 'w'; the service takes n (integer), v (vector).",
        ),
        (
            b'{"n": "7", "w": 0}',
            "Input n must be a whole number (integer), got the string '7'. Input 'v' (vector) is "
            "missing. There is no input 'w'; the service takes n (integer), v (vector).",
        ),
        (
            b"[1]",
            'The body must be an object with the inputs as members, such as {"n": \xe2\x80\xa6, '
            '"v": \xe2\x80\xa6}, got an array.'.encode("latin-1").decode(),
        ),
        (
            b"{1: 1}",
            "The body is not JSON that can be read: JSON is malformed: object keys must be strings "
            "(byte 1).",
        ),
        (
            b'{"n": 1e400, "v": [1]}',
            "A number in the body is beyond 1.8e308 and can't be read.",
        ),
        (
            b'{"n": 1, "v": [-1e400]}',
            "A number in the body is beyond 1.8e308 and can't be read.",
        ),
        (
            b'{"n": ' + b"9" * 5_000 + b', "v": [1]}',
            "A number in the body is beyond 1.8e308 and can't be read.",
        ),
        (
            b"\xff",
            "The body is not JSON that can be read: it is not in UTF-8 (byte 0 is 0xFF), perhaps "
            "in Latin-1 or Windows-1252; send UTF-8.",
        ),
    ],
)
async def test_invalid_request_lists_every_problem(serve: Serve, body: bytes, message: str) -> None:
    service = await serve("y = 1", inputs="n:integer v:vector")
    assert await service.problem_of(body) == message


async def test_a_deeply_nested_body_is_refused_and_the_worker_goes_on(serve: Serve) -> None:
    service = await serve("y = 1", inputs="x:any")
    assert "not JSON that can be read" in await service.problem_of(b'{"x":' + b"[" * 100_000)
    assert await service.outputs(x=1) == {"y": 1}


# --- code that fails -------------------------------------------------------------------------


async def test_code_that_raises_shows_its_own_traceback_and_none_of_ours(serve: Serve) -> None:
    service = await serve("print('before')\ndef inner(v):\n    return 1 / v\ny = inner(0)")
    assert await service.call() == {
        "success": False,
        "errorMessage": "ZeroDivisionError: division by zero",
        "outputParameters": {},
        "outputFiles": {},
        "consoleOutput": (
            "before\n"
            "Traceback (most recent call last):\n"
            '  File "<Test/V1.0>", line 4, in <module>\n'
            "    y = inner(0)\n"
            "        ^^^^^^^^\n"
            '  File "<Test/V1.0>", line 3, in inner\n'
            "    return 1 / v\n"
            "           ~~^~~\n"
            "ZeroDivisionError: division by zero\n"
        ),
        "changedFiles": [],
    }


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("y = p", "NameError: name 'p' is not defined"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        (
            "def f(): f()\nf()",
            "RecursionError: maximum recursion depth exceeded",
        ),
        ("raise MemoryError", "MemoryError"),
        ("exec('a b')", "SyntaxError: invalid syntax"),
        ("class Mine(Exception): pass\nraise Mine('told')", "Mine: told"),
        ("e = ValueError('told'); e.add_note('a note'); raise e", "ValueError: told"),
        ("input()", "EOFError: EOF when reading a line"),
        ("pass", "The code did not set the output 'y' (any)."),
        (
            "y = object()",
            "Output y must be something that JSON can carry (a number, string, list, dict, date, "
            "bytes, array, Series or DataFrame), got an object of type object.",
        ),
    ],
)
async def test_what_goes_wrong_in_the_code_is_a_result_without_success(
    serve: Serve, code: str, message: str
) -> None:
    service = await serve(code)
    result = await service.call()
    assert not result["success"]
    assert result["errorMessage"] == message
    assert result["outputParameters"] == {}
    assert "jupyter_mlsvc" not in result["consoleOutput"]


async def test_an_integer_that_nobody_can_spell_is_a_failure_with_its_place(serve: Serve) -> None:
    service = await serve("y = [1, 10 ** 5000]", outputs="y:vector")
    result = await service.call()
    assert not result["success"]
    assert result["errorMessage"].startswith("Output y[1] must be an integer of at most 4,300 digi")
    assert result["outputParameters"] == {}


async def test_an_output_of_the_wrong_type_is_named(serve: Serve) -> None:
    service = await serve("y = 'many'", outputs="y:numeric")
    result = await service.call()
    assert result["errorMessage"] == "Output y must be a number (numeric), got the string 'many'."


async def test_init_code_runs_before_the_code_of_each_request(serve: Serve) -> None:
    service = await serve("y = base + 1", init_code="base = 41")
    assert await service.outputs() == {"y": 42}
    service = await serve("y = 1", init_code="1 / 0")
    assert '"<Test/V1.0 initCode>", line 1' in (await service.call())["consoleOutput"]


# --- the console -----------------------------------------------------------------------------


async def test_the_console_keeps_the_order_of_stdout_and_stderr(serve: Serve) -> None:
    service = await serve(
        "import sys, warnings\n"
        "print('one'); print('two', file=sys.stderr); sys.stdout.buffer.write(b'three\\n')\n"
        "warnings.warn('four'); sys.stdout.close(); print('five'); y = 1"
    )
    for _ in range(2):  # a warning shows each time
        console = (await service.call())["consoleOutput"]
        assert console.startswith("one\ntwo\nthree\n<Test/V1.0>:3: UserWarning: four\n")
        assert console.endswith("five\n")


async def test_the_console_has_what_subprocesses_print(serve: Serve) -> None:
    service = await serve("import os; print('first'); os.system('echo second'); y = 1")
    for _ in range(2):
        assert (await service.call())["consoleOutput"] == "first\nsecond\n"


async def test_a_flood_of_output_is_cut_with_a_note(serve: Serve) -> None:
    service = await serve("for _ in range(3000): print('x' * 1023)\ny = 1")
    console = (await service.call())["consoleOutput"]
    assert len(console) < 2**20 + 100
    assert console.endswith("\n[The output was cut after 1048576 characters.]\n")
    service = await serve("import os\nfor _ in range(3000): os.write(1, b'x' * 1024)\ny = 1")
    assert (await service.call())["consoleOutput"].endswith("1048576 characters.]\n")


# --- files -----------------------------------------------------------------------------------


async def test_declared_files_come_back_and_changed_ones_are_named(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take("", files={"data/table.csv": b"1,2", "kept.txt": b"old"})
    service = await serve(
        "y = open('data/table.csv').read()\n"
        "open('plot.png', 'wb').write(b'image')\n"
        "open('kept.txt', 'a').write(' and new')\n",
        content,
        output_files=("plot.png", "kept.txt", "never.txt"),
    )
    for _ in range(2):
        result = await service.call()
        assert result["outputParameters"] == {"y": "1,2"}
        assert result["changedFiles"] == ["kept.txt", "plot.png"]
        files = result["outputFiles"]
        assert base64.b64decode(files["plot.png"]) == b"image"
        assert base64.b64decode(files["kept.txt"]) == b"old and new"
        assert files["never.txt"] is None


async def test_a_file_that_the_code_left_open_is_whole(serve: Serve) -> None:
    code = "y = 1; file = open('note.txt', 'w'); file.write('whole')"
    result = await (await serve(code, output_files=("note.txt",))).call()
    assert base64.b64decode(result["outputFiles"]["note.txt"]) == b"whole"


async def test_a_declared_file_of_the_snapshot_that_was_not_written_is_null(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take("", files={"report.txt": b"old"})
    service = await serve("y = 1", content, output_files=("report.txt",))
    assert (await service.call())["outputFiles"] == {"report.txt": None}


async def test_modules_of_the_working_directory_import(serve: Serve, snapshots: Snapshots) -> None:
    content = snapshots.take("", files={"helper.py": b"def double(v): return 2 * v\n"})
    service = await serve("from helper import double; y = double(x)", content, inputs="x:integer")
    assert await service.outputs(x=21) == {"y": 42}


# --- sizes -----------------------------------------------------------------------------------


async def test_bodies_of_megabytes_go_both_ways(serve: Serve) -> None:
    service = await serve("y = x[::-1]", inputs="x:vector", outputs="y:vector")
    numbers = list(range(750_000))
    body = msgspec.json.encode({"x": numbers})
    assert len(body) > 5_000_000
    answers = await asyncio.gather(*(service.raw(body) for _ in range(3)))
    for answer in answers:
        assert msgspec.json.decode(bytes(answer.body))["outputParameters"]["y"] == numbers[::-1]
