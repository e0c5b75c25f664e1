from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_mlsvc_server.errors import DeadlinePassed
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.errors import CodeEnded, UnservableCode, UnservableSnapshot
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.processes import long_sleep, that_have
from tests.server.scoring.serving import (
    Service,
    Snapshots,
    StoredContent,
    define,
    serve_by,
)
from tests.waiting import until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("needs_r"),
]

Serve = Callable[..., Awaitable[Service]]

CARS = """
fit <- lm(mpg ~ wt, mtcars)
seen <- 0
store <- new.env(); store$seen <- 0
scaled <- function(x) x * 10
con <- file('open.txt', 'w')
read_it <- function() readLines(con)
"""


@pytest.fixture(scope="module")
def cars(snapshots: Snapshots, needs_r: None) -> StoredContent:
    return snapshots.take_r(CARS, {"data.csv": b"a,b\n1,2\n"})


@pytest.fixture
def serve_r(engine: LocalEngine) -> Serve:
    async def serve(code: str, *args: Any, **kwargs: Any) -> Service:
        return await serve_by(engine, code, *args, runtime_type="R", **kwargs)

    return serve


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# --- requests --------------------------------------------------------------------------------


async def test_a_model_of_the_snapshot_predicts(serve_r: Serve, cars: StoredContent) -> None:
    code = "mpg <- predict(fit, data.frame(wt = wt)); tenfold <- scaled(wt)"
    service = await serve_r(code, cars, "wt:numeric", "mpg:numeric tenfold:numeric")
    outputs = await service.outputs(wt=3)
    assert outputs == {"mpg": pytest.approx(21.2517, abs=1e-4), "tenfold": 30}


TYPES: dict[str, tuple[list[Any], str]] = {
    "logical": ([True, False, None], "is.logical(x) || is.null(x)"),
    "numeric": ([1, 0.1 + 0.2, -5e-324, 2**53, None], "is.double(x) || is.null(x)"),
    "integer": ([5, -(2**31) + 1, None], "is.integer(x) || is.null(x)"),
    "character": (['a"\\\né😀', "", "NA", None], "is.character(x) || is.null(x)"),
    "vector": (
        [[1, 2], [1.5, None], ["a", None], [True, None], [], [None], [1]],
        "is.atomic(x) && is.null(dim(x))",
    ),
    "matrix": (
        [[[1, 2, 3], [4, 5, 6]], [[1.5]], [["a", "b"]], [[1, None]], [[], []], []],
        "is.matrix(x)",
    ),
    "data.frame": (
        [
            {"a": [1, 2], "b": ["x", None], "c d": [True, None]},
            {"a": [1]},
            {"a": []},
            {},
            {"a": [None, None]},
        ],
        "is.data.frame(x) && (length(x) == 0 || nrow(x) == length(x[[1]]))",
    ),
}


@pytest.mark.parametrize("kind", TYPES)
async def test_every_type_goes_in_and_comes_out(serve_r: Serve, kind: str) -> None:
    values, is_so = TYPES[kind]
    service = await serve_r(
        f"y <- x; holds <- {is_so}", None, f"x:{kind}", f"y:{kind} holds:logical"
    )
    for value in values:
        assert await service.outputs(x=value) == {"y": value, "holds": True}


OUTPUTS = {
    "a scalar as a vector": ("vector", "1", [1]),
    "a missing one as a vector": ("vector", "NA", [None]),
    "a factor": ("vector", "factor(c('u', 'v'))", ["u", "v"]),
    "a date": ("character", "as.Date('2020-02-29')", "2020-02-29"),
    "a named number": ("numeric", "c(a = 1.5)", 1.5),
    "a whole double as an integer": ("integer", "7", 7),
    "a matrix as a frame": ("data.frame", "matrix(1:4, 2)", {"V1": [1, 2], "V2": [3, 4]}),
    "a list as a frame": ("data.frame", "list(a = 1, b = 'x')", {"a": [1], "b": ["x"]}),
    "a frame as a matrix": ("matrix", "data.frame(a = 1:2, b = 3:4)", [[1, 3], [2, 4]]),
    "a type of the article's": ("string", "list(a = list(1, 'x'))", {"a": [1, "x"]}),
    "nothing": ("numeric", "NULL", None),
}


@pytest.mark.parametrize("what", OUTPUTS)
async def test_outputs_fit_their_declared_types(serve_r: Serve, what: str) -> None:
    kind, expression, value = OUTPUTS[what]
    service = await serve_r(f"y <- {expression}", None, "", f"y:{kind}")
    assert await service.outputs() == {"y": value}


@pytest.mark.parametrize(
    ("kind", "expression", "message"),
    [
        ("numeric", "'x'", "Output y must be a number (numeric), got the string 'x'."),
        ("numeric", "c(1, 2)", "Output y must be a number (numeric), got an array."),
        ("matrix", "1:3", "Output y must be two-dimensional (matrix), got an array."),
        ("vector", "fit", "got an object of class 'lm'."),
        ("numeric", "mean", "got a function."),
        ("numeric", "stop('no')", "Error: no"),
    ],
)
async def test_output_of_another_type_is_an_error(
    serve_r: Serve, cars: StoredContent, kind: str, expression: str, message: str
) -> None:
    result = await (await serve_r(f"y <- {expression}", cars, "", f"y:{kind}")).call()
    assert not result["success"]
    assert result["errorMessage"].endswith(message)
    assert message in result["consoleOutput"]
    assert result["outputParameters"] == {}


async def test_unset_output_is_an_error(serve_r: Serve) -> None:
    result = await (await serve_r("z <- 1", None, "", "y:numeric")).call()
    assert result["errorMessage"] == "The code did not set the output 'y' (numeric)."


async def test_a_request_that_does_not_fit_never_gets_to_r(serve_r: Serve) -> None:
    service = await serve_r("y <- x", None, "x:numeric v:vector", "y:numeric")
    assert "'x' (numeric) is missing" in await service.problem_of(b'{"v": []}')
    assert "x must be a number (numeric), got the string" in await service.problem_of(b'{"x": "1"}')
    assert "v[0] must be a number" in await service.problem_of(b'{"x": 1, "v": [{}]}')
    assert "There is no input 'z'" in await service.problem_of(b'{"x": 1, "v": [], "z": 1}')
    assert "not JSON" in await service.problem_of(b'{"x": ')
    assert "NUL" in await service.problem_of(b'{"x": 1, "v": ["\\u0000"]}')


async def test_errors_warnings_and_messages_read_as_in_r(serve_r: Serve) -> None:
    code = """
print(1:3)
f <- function(x) { warning('a warning'); message('a message'); cat('text\\n'); stop('no ', x) }
g <- function() f('data')
1 + 1
invisible(5)
system('echo from a command')
g()
cat('never')
"""
    result = await (await serve_r(code, outputs="")).call()
    assert result["errorMessage"] == 'Error in f("data"): no data'
    assert result["consoleOutput"] == (
        '[1] 1 2 3\n[1] 2\nfrom a command\nWarning in f("data") : a warning\na message\ntext\n'
        'Error in f("data"): no data\nCalls: g -> f\n'
    )


async def test_leaving_is_an_error_of_the_code(serve_r: Serve) -> None:
    result = await (await serve_r("quit(status = 1)", outputs="")).call()
    assert result["errorMessage"] == (
        "Error: quit() is not for services: let the code come to its end."
    )


async def test_init_code_runs_first_in_each_request(serve_r: Serve) -> None:
    init = "library(tools)\noffset <- 5\nhelper <- function(x) x + offset"
    code = "offset <- offset + 1; y <- helper(1); z <- file_ext('a.csv')"
    service = await serve_r(code, init_code=init, outputs="y:numeric z:character")
    for _ in range(2):
        assert await service.outputs() == {"y": 7, "z": "csv"}


async def test_settings_among_the_files_are_none_of_the_process(
    serve_r: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take_r("x <- 1", {".Renviron": b"GREETING=hello\n"})
    service = await serve_r("y <- Sys.getenv('GREETING', 'none')", content, outputs="y:character")
    assert await service.outputs() == {"y": "none"}


async def test_files_are_read_written_and_given(serve_r: Serve, cars: StoredContent) -> None:
    code = (
        "d <- read.csv('data.csv'); plot(1); y <- ncol(d)\n"
        "write.csv(d, 'out.csv', row.names = FALSE)"
    )
    service = await serve_r(code, cars, outputs="y:integer", output_files=("out.csv", "other.csv"))
    result = await service.call()
    assert result["outputParameters"] == {"y": 2}
    assert result["changedFiles"] == ["out.csv"]
    assert base64.b64decode(result["outputFiles"]["out.csv"]) == b'"a","b"\n1,2\n'
    assert result["outputFiles"]["other.csv"] is None


# --- each request is the first ----------------------------------------------------------------

LEAKS = """
found <- c(
  seen = seen, store = store$seen, option = getOption('leaked', 0),
  attached = 'package:splines' %in% search(), loaded = isNamespaceLoaded('stats4'),
  variable = nzchar(Sys.getenv('LEAKED')), file = file.exists('leak.txt'),
  temporary = length(list.files(tempdir(), 'leak')), folder = basename(getwd()) == 'sub',
  generic = exists('leaked'), base = !identical(base::sum(1), 1)
)
seen <- 1; store$seen <- 1; options(leaked = 1); library(splines)
invisible(loadNamespace(paste0('stats', 4))); Sys.setenv(LEAKED = 'x')
cat('', file = 'leak.txt'); cat('', file = file.path(tempdir(), 'leak'))
dir.create('sub'); setwd('sub'); leaked <- 1; unlockBinding('sum', baseenv())
assign('sum', function(...) 2, baseenv())
system('(sleep 0.3; echo late) &')
y <- as.list(found)
"""


async def test_nothing_of_a_request_is_there_for_the_next(
    serve_r: Serve, cars: StoredContent
) -> None:
    service = await serve_r(LEAKS, cars, outputs="y:any")
    for _ in range(3):
        result = await service.call()
        assert result["outputParameters"]["y"] == dict.fromkeys(result["outputParameters"]["y"], 0)
        assert result["consoleOutput"] == ""
        await asyncio.sleep(0.4)


async def test_random_numbers_differ_unless_they_are_seeded(serve_r: Serve) -> None:
    service = await serve_r(
        "y <- runif(1); set.seed(1); z <- runif(1)", outputs="y:numeric z:numeric"
    )
    answers = [await service.outputs() for _ in range(3)]
    assert len({each["y"] for each in answers}) == 3
    assert {each["z"] for each in answers} == {0.2655086631421}


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    {
        "symbol": ("x <- 1\n  y y", "line 2: unexpected symbol\n    y y\n      ^"),
        "end": ("f(1,\n", "line 1: unexpected end of input\n    f(1,\n        ^"),
        "string": ("x <- 'abc", "line 1: unexpected INCOMPLETE_STRING"),
    }.values(),
)
async def test_code_that_is_no_r_is_refused_with_its_place(
    engine: LocalEngine, code: str, message: str
) -> None:
    with pytest.raises(UnservableCode) as refused:
        await engine.check(define(code, runtime_type="R", revision="no R"))
    assert str(refused.value).startswith(f"code has a syntax error in {message}")
    with pytest.raises(UnservableCode, match="initCode has a syntax error in line"):
        await engine.check(define("y <- 1", init_code=code, runtime_type="R"))


@pytest.mark.parametrize("code", ["y <- readLines(con)", "y <- read_it()", "lapply(1, read_it)"])
async def test_code_that_needs_what_was_left_out_is_refused(
    engine: LocalEngine, cars: StoredContent, code: str
) -> None:
    with pytest.raises(
        UnservableCode, match=r"does not hold:\n- con \(file\): con is a connection"
    ):
        await engine.check(define(code, cars, runtime_type="R", revision="left out"))
    for harmless in (
        "con <- 1; y <- con",
        "y <- list(con = 1)$con",
        "f <- function(con) con; f(1)",
    ):
        await engine.check(define(harmless, cars, runtime_type="R", revision="harmless"))


async def test_a_snapshot_that_is_no_workspace_is_refused(
    engine: LocalEngine, snapshots: Snapshots, cars: StoredContent
) -> None:
    import msgspec

    (snapshots.folder / "broken").write_bytes(b"not R")
    broken = msgspec.structs.replace(
        cars.manifest, stream=snapshots._keep(snapshots.folder / "broken")
    )
    content = StoredContent(broken, cars.blobs)
    with pytest.raises(UnservableSnapshot, match="could not be restored"):
        await engine.check(define("y <- 1", content, runtime_type="R"))


@pytest.mark.asyncio(loop_scope="function")
async def test_without_r_the_refusal_says_what_to_install(
    make_engine: Callable[..., Awaitable[LocalEngine]],
) -> None:
    engine = await make_engine(r_command="no-such-r")
    with pytest.raises(UnservableCode, match="apt install r-base-core r-cran-irkernel"):
        await engine.check(define("y <- 1", runtime_type="R"))


# --- crashes, limits, ends --------------------------------------------------------------------


async def test_a_crash_costs_one_request(serve_r: Serve, engine: LocalEngine) -> None:
    code = "if (die) tools::pskill(Sys.getpid(), 11); y <- 1"
    service = await serve_r(code, None, "die:logical", "y:numeric")
    answers = await asyncio.gather(
        *(service.call(die=die) for die in (False, True, False)), return_exceptions=True
    )
    assert isinstance(answers[1], CodeEnded)
    assert [answer["success"] for answer in (answers[0], answers[2])] == [True, True]  # type: ignore[index]


@pytest.mark.asyncio(loop_scope="function")
async def test_a_deadline_ends_all_that_the_request_started(
    make_engine: Callable[..., Awaitable[LocalEngine]],
) -> None:
    engine = await make_engine(deadline_seconds=4.0, workers_max=1)
    seconds = long_sleep()
    service = await serve_by(
        engine,
        f"if (hang) {{ system('sleep {seconds} &'); while (TRUE) 1 }}; y <- 1",
        None,
        "hang:logical",
        "y:numeric",
        runtime_type="R",
    )
    with pytest.raises(DeadlinePassed):
        await service.call(hang=True)
    assert await service.outputs(hang=False) == {"y": 1}
    await until(lambda: not that_have(seconds))


@pytest.mark.asyncio(loop_scope="function")
async def test_a_request_that_takes_too_much_memory_fails_alone(
    make_engine: Callable[..., Awaitable[LocalEngine]],
) -> None:
    engine = await make_engine(memory_limit=300_000_000, workers_max=1)
    service = await serve_by(
        engine, "y <- length(numeric(n))", None, "n:numeric", "y:numeric", runtime_type="R"
    )
    result = await service.call(n=1e9)
    assert "cannot allocate vector of size" in result["errorMessage"]
    assert await service.outputs(n=1000) == {"y": 1000}


@pytest.mark.asyncio(loop_scope="function")
async def test_no_process_in_r_outlives_its_engine(
    make_engine: Callable[..., Awaitable[LocalEngine]], tmp_path: Any
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_by(engine, "y <- 1", None, "", "y:numeric", runtime_type="R")
    assert await service.outputs() == {"y": 1}
    assert (await engine.statistics())["r_workers"] == 1
    # With the fork that waits for a request.
    await until(lambda: len(that_have(str(tmp_path))) == 2)
    await engine.stop()
    await until(lambda: not that_have(str(tmp_path)))


@pytest.mark.parametrize("victim", ["worker", "template", "R"])
@pytest.mark.asyncio(loop_scope="function")
async def test_no_process_in_r_outlives_what_is_killed(
    make_engine: Callable[..., Awaitable[LocalEngine]], tmp_path: Any, victim: str
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_by(engine, "while (TRUE) 1", None, "", "y:numeric", runtime_type="R")
    running = asyncio.ensure_future(service.call())
    # The one that runs the request, and the one that forked it.
    await until(lambda: len(that_have(str(tmp_path))) == 2)
    await asyncio.sleep(0.3)
    before = that_have(str(tmp_path))
    base = min(before, key=lambda process: process.create_time())
    worker = base.parent()
    assert worker is not None
    template = worker.parent()
    assert template is not None
    os.kill({"worker": worker, "template": template, "R": base}[victim].pid, signal.SIGKILL)
    await until(lambda: not any(is_alive(each) for each in before))
    if victim != "template":  # of which this engine has no other definition
        # It runs once more, by another process.
        await until(lambda: len(that_have(str(tmp_path))) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.asyncio(loop_scope="function")
async def test_r_that_somebody_ends_at_its_start_is_started_again(
    make_engine: Callable[..., Awaitable[LocalEngine]], tmp_path: Path
) -> None:
    program, starts = tmp_path / "R", tmp_path / "starts"
    # The first one tries the service in the template; the third one is a worker's.
    program.write_text(
        f"#!/bin/sh\nprintf . >> {starts}\ncase $(wc -c < {starts}) in 1|3) kill -9 $$;; esac\n"
        f'exec {shutil.which("R")} "$@"\n'
    )
    program.chmod(0o700)
    engine = await make_engine(workers_max=1, r_command=str(program))

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define("y <- 1", None, "", "y:numeric", runtime_type="R", name=name)

    engine.definitions = definitions
    assert await Service(engine, define("", name="Hunted").key).outputs() == {"y": 1}
    assert len(starts.read_text()) == 5


async def test_a_revision_replaces_another_one(engine: LocalEngine, serve_r: Serve) -> None:
    service = await serve_r("y <- 1", outputs="y:numeric", revision="r1")
    assert await service.outputs() == {"y": 1}
    await serve_r("y <- 2", outputs="y:numeric", revision="r2")
    assert await service.outputs() == {"y": 2}
