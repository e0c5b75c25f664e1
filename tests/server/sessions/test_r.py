from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlsvc.wire.models import (
    CreateSessionRequest,
    ExecuteRequest,
    ExecuteResponse,
    WorkspaceObject,
)
from jupyter_mlsvc.wire.names import InvalidName
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.sessions.errors import (
    AgentRefused,
    ObjectNotFound,
    RuntimeNotAvailable,
    SessionGone,
)
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from tests.waiting import until

from .conftest import Run, get_object, make_manager, request_of, set_object

R = CreateSessionRequest(name="shared", runtime_type="R")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("needs_r"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(
    tmp_path_factory: pytest.TempPathFactory, needs_r: None
) -> AsyncIterator[MlsvcSessionManager]:
    started = make_manager(tmp_path_factory.mktemp("r"), KernelFactory={"preload_at_start": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSVC_SECRET_OF_A_TEST", "hidden")
        await started.start()
        yield started
        await started.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(manager: MlsvcSessionManager, ann: Principal) -> Session:
    return await manager.create(ann, R)


def values_of(result: ExecuteResponse) -> dict[str, Any]:
    assert result.success, result.error_message
    return {each.name: each.value for each in result.output_parameters or []}


async def events_of(session: Session, execution: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) async for batch in session.events(execution) for line in batch.splitlines()
    ]


# --- executions ------------------------------------------------------------------------------


async def test_a_session_runs_r_with_inputs_and_outputs(session: Session, run: Run) -> None:
    assert session.runtime_type == "R"
    result = await run(
        "total <- sum(flower.data) + offset",
        {"flower.data": [1, 2.5], "offset": 3},
        ["total", "flower.data"],
    )
    assert values_of(result) == {"total": 6.5, "flower.data": [1, 2.5]}


async def test_values_warnings_and_messages_are_on_the_console(session: Session, run: Run) -> None:
    result = await run("1 + 1\nmessage('a message')\nwarning('a warning')\ninvisible(5)")
    assert result.console_output.startswith("[1] 2\na message\n")
    assert "a warning" in result.console_output
    assert session.console_output() == result.console_output


async def test_a_loop_is_seen_while_it_runs(session: Session) -> None:
    code = "for (i in 1:4) { cat('step', i, '\\n'); print(i); Sys.sleep(0.3) }"
    execution = await session.start_execution(request_of(code))
    first = await anext(session.events(execution))
    assert json.loads(first.splitlines()[0])["text"].startswith("step 1")
    assert session.state == "busy"
    events = await events_of(session, execution)
    text = "".join(event["text"] for event in events if event["type"] == "stream")
    assert text == "".join(f"step {i} \n[1] {i}\n" for i in range(1, 5))
    assert sum(event["type"] == "stream" for event in events) > 2


async def test_a_line_without_end_stays_without(run: Run) -> None:
    assert (await run("Sys.sleep(0.2); cat('a'); cat('b')")).console_output == "ab"


async def test_printing_as_ever_in_spite_of_that(run: Run) -> None:
    result = await run(
        "cat('a', 1, 'b\\n', sep = '-'); x <- print(2.123456, digits = 3)\n"
        "cat('to a file', file = 'told.txt'); stopifnot(identical(x, 2.123456))\n"
        "cat(nothing.of.this.name)"
    )
    missing = "object 'nothing.of.this.name' not found"
    assert result.error_message == f"Error in cat(nothing.of.this.name): {missing}"
    assert result.console_output.startswith("a-1-b\n[1] 2.12\nError in cat")
    assert result.changed_files == ["told.txt"]


@pytest.mark.parametrize(
    ("code", "message"),
    {
        "stop": ("f <- function(x) stop('no data')\nf(1)", "Error in f(1): no data"),
        "syntax": ("x <- 1\ny y", "Error: unexpected symbol (line 2)"),
        "end": ("f(", "Error: unexpected end of input (line 2)"),
        "quit": ("quit()", "Error: quit() is not for sessions; close the session to end it."),
        "question": (
            "readline('Name? ')",
            "Error: Nobody is there to answer: give the value to the code as an input.",
        ),
    }.values(),
)
async def test_an_error_reads_as_in_r(run: Run, code: str, message: str) -> None:
    result = await run(code)
    assert (result.success, result.error_message) == (False, message)
    assert (await run("1")).success


async def test_a_plot_is_rich_output(session: Session) -> None:
    execution = await session.start_execution(request_of("plot(1:3, main = 'three')"))
    events = await events_of(session, execution)
    (shown,) = [event for event in events if event["type"] == "display_data"]
    assert shown["data"]["image/png"].startswith("iVBOR")


@pytest.mark.parametrize("code", ["while (TRUE) 1", "Sys.sleep(60)", "system('sleep 60')"])
async def test_cancelling_stops_the_code_and_keeps_the_session(
    session: Session, run: Run, code: str
) -> None:
    assert (await run("kept <- 5")).success
    execution = session.begin(request_of(f"cat('started\\n')\n{code}"))
    await until(lambda: "started" in session.console_output())
    assert await session.cancel(execution.id)
    if not code.startswith("system"):  # R goes on after an interrupted command, as at its prompt
        assert (await execution.response()).error_message.startswith("KeyboardInterrupt")
    assert values_of(await run("", outputs=["kept"])) == {"kept": 5}


async def test_no_interrupt_at_a_bad_moment_ends_the_kernel(session: Session, run: Run) -> None:
    assert session.process_id is not None
    for pause in range(40):
        running = session.begin(request_of("1"))
        await asyncio.sleep(pause / 2000)
        os.killpg(session.process_id, signal.SIGINT)
        await running.response()
    assert (await run("1")).success


async def test_a_user_can_remove_and_mask_everything(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    session = await manager.create(ann, R)

    async def run(code: str, outputs: list[str]) -> dict[str, Any]:
        return values_of(await session.execute(request_of(code, {"x": [1, 2]}, outputs)))

    await run("rm(list = ls(all.names = TRUE))\nx <- 1", ["x"])
    masks = "c <- get <- list <- assign <- vapply <- paste0 <- function(...) stop('masked')"
    options = "options(warn = 2, OutDec = ',', digits = 3, scipen = -5)"
    code = f"{options}; {masks}; `$` <- function(a, b) 1; y <- 0.1 + 0.2"
    assert await run(code, ["x", "y"]) == {"x": [1, 2], "y": 0.1 + 0.2}
    assert "y" in await session.objects()
    await manager.close(ann, session.id)


async def test_a_session_that_dies_says_how(manager: MlsvcSessionManager, ann: Principal) -> None:
    session = await manager.create(ann, R)
    died = await session.execute(request_of("tools::pskill(Sys.getpid(), tools::SIGKILL)"))
    assert "its R process was killed (SIGKILL)" in died.error_message
    with pytest.raises(SessionGone):
        await session.objects()


async def test_the_servers_environment_and_address_stay_secret(run: Run) -> None:
    seen = values_of(await run("names <- names(Sys.getenv())", outputs=["names"]))["names"]
    assert not {"MLSVC_SECRET_OF_A_TEST", "JPY_PARENT_PID", "R_PROFILE_USER"} & set(seen)


# --- values ----------------------------------------------------------------------------------

_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_SCALARS = [st.booleans(), st.integers(-(2**53), 2**53), _FINITE, _TEXT]
_COLUMNS = st.one_of(*(st.lists(each, min_size=2, max_size=5) for each in _SCALARS))
_VALUES = st.recursive(
    st.one_of(st.none(), *_SCALARS, _COLUMNS, st.just([])),
    lambda inner: st.dictionaries(_TEXT.filter(bool), inner, max_size=4),
    max_leaves=8,
)


@given(values=st.lists(_VALUES, min_size=1, max_size=20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_values_come_back_as_they_went_in(run: Run, values: list[Any]) -> None:
    names = [f"v{i}" for i in range(len(values))]
    back = values_of(await run("", dict(zip(names, values, strict=True)), names))
    assert list(back.values()) == values


VALUES: dict[str, tuple[str, Any]] = {
    "missing ones": ("c(1, NA, NaN, Inf, -Inf)", [1, None, None, None, None]),
    "a scalar that is missing": ("NA_character_", None),
    "integers": ("c(.Machine$integer.max, NA, -5L)", [2**31 - 1, None, -5]),
    "a large number": ("2^53", 2**53),
    "doubles to the last digit": ("c(0.1 + 0.2, 1/3, 5e-324)", [0.1 + 0.2, 1 / 3, 5e-324]),
    "strings": (r"c('a\"\\\n\u00e9\U1F600\u0001', NA)", ['a"\\\né😀\x01', None]),
    "a string of latin 1": ("iconv('é', 'UTF-8', 'latin1')", "é"),
    "bytes that are no text": (r"'a\xff'", "a<ff>"),
    "names are dropped": ("c(a = 1, b = 2)", [1, 2]),
    "one that stays boxed": ("I(1)", [1]),
    "a factor": ("factor(c('b', NA, 'a'))", ["b", None, "a"]),
    "dates": ("as.Date(c('2020-02-29', NA))", ["2020-02-29", None]),
    "an instant": ("as.POSIXct('2020-01-02 03:04:05', tz = 'UTC')", "2020-01-02T03:04:05Z"),
    "a fraction of a second": (
        "as.POSIXct('2020-01-01 01:00:00', tz = 'Europe/Berlin') + 0.25",
        "2020-01-01T00:00:00.25Z",
    ),
    "a broken-down time": ("as.POSIXlt('1969-12-31 23:59:59', tz = 'UTC')", "1969-12-31T23:59:59Z"),
    "a duration": ("as.difftime(1.5, units = 'mins')", "PT90S"),
    "bytes": ("as.raw(1:3)", "AQID"),
    "a version": ("packageVersion('base') >= '4.0'", True),
    "nothing": ("NULL", None),
    "an empty vector": ("character()", []),
    "a matrix by rows": ("matrix(1:6, 2)", [[1, 2 + 1, 5], [2, 4, 6]]),
    "a matrix of one": ("matrix(7)", [[7]]),
    "a matrix without rows": ("matrix(numeric(), 0, 3)", []),
    "a matrix without columns": ("matrix(numeric(), 2, 0)", [[], []]),
    "an array": ("array(1:8, c(2, 2, 2))", [[[1, 5], [3, 7]], [[2, 6], [4, 8]]]),
    "a table": ("table(c('x', 'y', 'x'))", [2, 1]),
    "a data.frame": (
        "data.frame(n = 1:2, d = as.Date('2020-01-01') + 0:1, s = factor(c('u', NA)))",
        {"n": [1, 2], "d": ["2020-01-01", "2020-01-02"], "s": ["u", None]},
    ),
    "a frame of one row": ("data.frame(n = 1)", {"n": [1]}),
    "a frame without rows": ("data.frame(n = numeric())", {"n": []}),
    "an empty frame": ("data.frame()", {}),
    "a column of lists": ("data.frame(l = I(list(1, 2:3)))", {"l": [1, [2, 3]]}),
    "a list": ("list(1, 'x', NULL, list(a = TRUE))", [1, "x", None, {"a": True}]),
    "an empty list": ("list()", []),
    "a list with some names": ("list(a = 1, 2)", {"a": 1, "2": 2}),
}


async def test_outputs_are_json_by_the_table(run: Run) -> None:
    names = [f"out{i}" for i in range(len(VALUES))]
    code = "\n".join(
        f"{name} <- {expression}"
        for name, (expression, _) in zip(names, VALUES.values(), strict=True)
    )
    found = values_of(await run(code, outputs=names))
    expected = {what: value for what, (_, value) in VALUES.items()}
    assert dict(zip(VALUES, found.values(), strict=True)) == expected


INPUTS: dict[str, Any] = {
    "x + 1L == 3L": 2,
    "is.integer(x)": [1, 2],
    "is.double(x) && x[2] == 2": [1.5, 2],
    "identical(x, c('NA', NA))": ["NA", None],
    "identical(x, c(TRUE, NA))": [True, None],
    "is.list(x) && identical(x[[2]], 'a')": [1, "a", None],
    "is.null(x)": None,
    "identical(dim(x), c(2L, 3L)) && x[1, 3] == 3": [[1, 2, 3], [4, 5, 6]],
    "is.list(x) && length(x) == 2": [[1, 2], [3]],
    "x == 2^31": 2**31,
    "x == -2^31": -(2**31),
    "x == 2^70": 2**70,
    "is.data.frame(as.data.frame(x)) && nrow(as.data.frame(x)) == 2": {
        "a": [1, 2],
        "b": ["u", "v"],
    },
    "x$a$b == 1": {"a": {"b": 1}},
    "is.list(x) && length(x) == 0": [],
}


@pytest.mark.parametrize("condition", INPUTS)
async def test_inputs_are_what_r_expects(run: Run, condition: str) -> None:
    result = await run(f"holds <- {condition}", {"x": INPUTS[condition]}, ["holds"])
    assert values_of(result) == {"holds": True}


TYPED: dict[str, tuple[str, Any]] = {
    "is.data.frame(x) && identical(x$b, c('u', NA))": (
        "data.frame",
        {"a": [1, 2], "b": ["u", None]},
    ),
    "is.data.frame(x) && nrow(x) == 0": ("data.frame", {}),
    "is.matrix(x) && x[2, 1] == 3": ("matrix", [[1, 2], [3, 4]]),
    "is.numeric(x) && length(x) == 0": ("vector", []),
    "is.double(x)": ("numeric", 5),
}


@pytest.mark.parametrize("condition", TYPED)
async def test_an_input_with_a_type_is_what_a_service_gets(
    session: Session, condition: str
) -> None:
    kind, value = TYPED[condition]
    given = [WorkspaceObject(name="x", value=value, type=kind)]
    request = ExecuteRequest(
        code=f"holds <- {condition}", input_parameters=given, output_parameters=["holds"]
    )
    assert values_of(await session.execute(request)) == {"holds": True}


async def test_input_of_another_type_is_an_error(session: Session) -> None:
    given = [WorkspaceObject(name="x", value=[[1], 2], type="matrix")]
    result = await session.execute(ExecuteRequest(code="1", input_parameters=given))
    assert result.error_message.startswith("x[1] must be a row")


@pytest.mark.parametrize(
    ("expression", "got"),
    {
        "mean": "a function",
        "globalenv()": "an environment",
        "lm(mpg ~ wt, mtcars)": "an object of class 'lm'",
        "quote(x + y)": "an object of class 'call'",
        "1i": "complex numbers",
        "list(fit = list(f = mean))": "a function",
    }.items(),
)
async def test_what_json_cannot_carry_is_named_with_its_class(
    run: Run, expression: str, got: str
) -> None:
    result = await run(f"model <- {expression}", outputs=["model"])
    assert not result.success
    assert re.match(r"model(\$fit\$f)? must be something that JSON can carry", result.error_message)
    assert got in result.error_message


async def test_missing_output_and_invalid_input_are_errors(run: Run) -> None:
    assert "There is no object 'nothing'" in (await run("1", outputs=["nothing"])).error_message
    assert "NUL" in (await run("1", {"x": "a\0b"})).error_message
    for name in ("if", "1x", ".2x", "x y", "TRUE", ".Random.seed"):
        with pytest.raises(InvalidName):
            await run("1", {name: 1})


# --- workspace, files, history ---------------------------------------------------------------


async def test_objects_are_listed_read_written_and_deleted(session: Session, run: Run) -> None:
    await run("rm(list = ls()); fit <- lm(mpg ~ wt, mtcars); .hidden <- 1; f <- function(x) x")
    assert await session.objects() == ["f", "fit"]
    data = await get_object(session, "fit")
    assert data.startswith(b"RDX3")
    await set_object(session, "copy.of.fit", data)
    assert values_of(await run("same <- all.equal(fit, copy.of.fit)", outputs=["same"]))["same"]
    await session.delete_object("fit")
    assert await session.objects() == ["copy.of.fit", "f", "same"]
    with pytest.raises(ObjectNotFound):
        await session.get_object("fit")
    with pytest.raises(ObjectNotFound):
        await session.delete_object("fit")


@pytest.mark.parametrize(
    "writing",
    [
        "save(x, file = 'bytes')",
        "save(x, file = 'bytes', compress = 'xz')",
        "save(x, file = 'bytes', ascii = TRUE)",
        "y <- 1; save(y, x, file = 'bytes')",
        "saveRDS(x, 'bytes')",
        "saveRDS(x, 'bytes', compress = 'bzip2')",
        "writeBin(serialize(x, NULL), 'bytes')",
        "writeBin(serialize(x, NULL, ascii = TRUE), 'bytes')",
    ],
)
async def test_an_object_is_taken_as_r_writes_it(session: Session, run: Run, writing: str) -> None:
    await run(f"x <- data.frame(a = 1:2, b = c('x', 'é')); {writing}; rm(x)")
    file = await session.open_file("bytes")
    with file.stream:
        await set_object(session, "x", file.stream.read())
    assert values_of(await run("", outputs=["x"])) == {"x": {"a": [1, 2], "b": ["x", "é"]}}


async def test_bytes_that_are_none_of_rs_are_refused(session: Session) -> None:
    for data in (b"not R", b"", b"RDX3\nX\n", gzip.compress(b"x"), b"\x80\x05N."):
        with pytest.raises(AgentRefused, match=r"save\(\), saveRDS\(\) or serialize\(\)"):
            await set_object(session, "x", data)


async def test_what_belongs_to_the_process_is_not_given_away(session: Session, run: Run) -> None:
    await run("con <- file('con.txt', 'w')")
    with pytest.raises(AgentRefused, match="con is a connection"):
        await get_object(session, "con")
    await run("close(con); rm(con)")


async def test_files_and_history_are_as_in_any_session(
    session: Session, run: Run, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"a,b\n1,2\n")
    await session.put_file("given.csv", given)
    result = await run("d <- read.csv('given.csv'); write.csv(d, 'made.csv')", outputs=["d"])
    assert (result.changed_files, values_of(result)) == (["made.csv"], {"d": {"a": [1], "b": [2]}})
    assert {"given.csv", "made.csv"} <= set(await session.list_files())
    assert session.history()[-1] == "d <- read.csv('given.csv'); write.csv(d, 'made.csv')"


async def test_a_summary_has_types_sizes_and_short_values(session: Session, run: Run) -> None:
    await run(
        "rm(list = ls()); yes <- TRUE; n <- 3L; x <- 2.5; word <- 'a'\n"
        "day <- as.Date('2026-01-02'); v <- c(1, NA); many <- 1:1000; none <- numeric()\n"
        "m <- matrix(1:8, 4); letter <- letters; df <- data.frame(a = 1:5, b = letters[1:5])\n"
        "fit <- lm(dist ~ speed, cars); f <- function() 1"
    )
    found = await session.inventory("summary")
    rows = {row.name: (row.parameter_type, row.example) for row in found.objects}
    assert rows == {
        "yes": ("logical", True),
        "n": ("integer", 3),
        "x": ("numeric", 2.5),
        "word": ("character", "a"),
        "day": ("character", "2026-01-02"),
        "v": ("vector", [1, None]),
        "many": ("vector", None),
        "none": ("vector", []),
        "m": ("matrix", [[1, 5], [2, 6], [3, 7]]),
        "letter": ("vector", [chr(code) for code in range(ord("a"), ord("z") + 1)]),
        "df": ("data.frame", {"a": [1, 2, 3], "b": ["a", "b", "c"]}),
        "fit": (None, None),
        "f": (None, None),
    }
    assert next(row for row in found.objects if row.name == "fit").type == "lm"
    assert all(row.size for row in found.objects)


async def test_what_cannot_be_read_hides_nothing_else(session: Session, run: Run) -> None:
    await run(
        "rm(list = ls()); good <- 1\n"
        "for (nothing in formals(function(a) 1)) {}\n"
        "makeActiveBinding('bad', function() stop('not now'), globalenv())"
    )
    try:
        assert await session.objects() == ["bad", "good", "nothing"]
        found = await session.inventory("summary")
        assert {row.name: row.type for row in found.objects} == {
            "bad": "unknown",
            "good": "numeric",
            "nothing": "unknown",
        }
    finally:
        await run("rm(list = ls())")


async def test_an_inventory_for_comparison_is_refused(session: Session) -> None:
    with pytest.raises(AgentRefused, match="this session runs R"):
        await session.inventory()


# --- without R, and after a kill --------------------------------------------------------------


async def test_without_r_the_refusal_says_what_to_install(tmp_path: Path, ann: Principal) -> None:
    manager = make_manager(
        tmp_path,
        KernelFactory={"kernel_specs": {"R": "no-such-kernel"}},
    )
    await manager.start()
    try:
        with pytest.raises(RuntimeNotAvailable, match="apt install r-base-core") as refused:
            await manager.create(ann, R)
        assert "IRkernel is not installed" in str(refused.value)
        assert "It has: Python" in str(refused.value)
        assert manager.shells("R") == {
            "active": 0,
            "limit": 0,
            "can_open": False,
        }
    finally:
        await manager.stop()


SERVER = """
import asyncio, sys
from pathlib import Path
from jupyter_mlsvc.wire.models import CreateSessionRequest, ExecuteRequest
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager

async def main():
    manager = MlsvcSessionManager(data_dir=Path(sys.argv[1]), snapshots=None)
    await manager.start()
    request = CreateSessionRequest(runtime_type="R")
    session = await manager.create(Principal("ann", "ann", Role.OWNER), request)
    session.begin(ExecuteRequest(code="while (TRUE) 1"))
    print(session.process_id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_server_leaves_no_r_behind(tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    kernel = psutil.Process(int(await server.stdout.readline()))
    server.kill()
    await server.wait()
    await asyncio.to_thread(kernel.wait, 10)
