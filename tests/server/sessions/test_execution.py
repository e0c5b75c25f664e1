from __future__ import annotations

import asyncio
import json
import os
import textwrap
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import cloudpickle
import pytest
from jupyter_client.session import Session as Messages
from tornado.httpclient import AsyncHTTPClient

from jupyter_mlsvc.wire.models import CreateSessionRequest, ExecuteRequest, WorkspaceObject
from jupyter_mlsvc.wire.names import InvalidName
from jupyter_mlsvc_server.api.sessions import SessionRoutes
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.sessions.channel import KernelChannel
from jupyter_mlsvc_server.sessions.errors import (
    AgentRefused,
    ExecutionNotFound,
    ObjectNotFound,
    SessionEnded,
    SessionGone,
)
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from tests.serving import served, tokens_of
from tests.waiting import until

from .conftest import Run, get_object, request_of, set_object

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]


async def events_of(lines: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    whole = b"".join([piece async for piece in lines])
    return [json.loads(line) for line in whole.splitlines()]


UNTIL_SEEN = (
    "import os, time\nwhile not os.path.exists('seen'): time.sleep(0.01)\nos.remove('seen')"
)
"""Code that waits for :func:`see`."""


def see(session: Session) -> None:
    """Let code go on that waits to be seen."""
    (session.directory / "seen").touch()


# --- inputs, outputs, console ----------------------------------------------------------------


MICRO, MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"


async def test_names_are_those_of_python(session: Session) -> None:
    given = [WorkspaceObject(name=MICRO, value=[3.0], type="vector")]
    code = f"kind = type({MICRO}).__name__; {MICRO} = kind"
    request = ExecuteRequest(code=code, input_parameters=given, output_parameters=[MICRO])
    result = await session.execute(request)
    assert {each.name: each.value for each in result.output_parameters} == {MU: "ndarray"}
    await set_object(session, MICRO, cloudpickle.dumps(5))
    assert cloudpickle.loads(await get_object(session, MICRO)) == 5
    assert MU in await session.objects()
    await session.delete_object(MICRO)
    assert MU not in await session.objects()


async def test_one_input_in_two_spellings_is_given_twice(session: Session) -> None:
    with pytest.raises(InvalidName, match="twice"):
        await session.execute(request_of("1", {MICRO: 1, MU: 2}))


@pytest.mark.parametrize(
    "value",
    [2**70, [-(2**64), 1e308, 5e-324, -0.0], "\u2028\x00\x7f", {}],
)
async def test_a_value_comes_back_as_it_was_given(session: Session, value: object) -> None:
    result = await session.execute(request_of("back = given", {"given": value}, ["back"]))
    (back,) = result.output_parameters
    assert repr(back.value) == repr(value)


async def test_what_a_kernel_writes_beside_json_is_read() -> None:
    client: Any = SimpleNamespace(session=Messages())
    channel = KernelChannel(client, largest_output=1)
    content = channel._content(b'{"a": 1e400, "b": NaN, "c": "\\ud800"}')
    assert repr(content) == "{'a': inf, 'b': nan, 'c': '\\ud800'}"


async def test_a_message_of_a_kernel_is_taken_apart() -> None:
    client: Any = SimpleNamespace(session=KERNEL)
    channel = KernelChannel(client, largest_output=1)
    message = channel._message(stream_message())
    assert (message.kind, message.parent) == ("stream", "of-the-request")
    assert channel._content(message.content) == {"name": "stdout", "text": "é"}


async def test_a_message_that_is_signed_by_somebody_else_is_refused() -> None:
    client: Any = SimpleNamespace(session=Messages(key=b"another"))
    with pytest.raises(ValueError, match="signature"):
        KernelChannel(client, largest_output=1)._message(stream_message())


KERNEL = Messages(key=b"of the kernel")


def stream_message() -> list[bytes]:
    """Write what a kernel sends for a line of output."""
    content = {"name": "stdout", "text": "é"}
    message = KERNEL.msg("stream", content, parent={"msg_id": "of-the-request"})
    return [b"topic", *KERNEL.serialize(message)]


async def test_an_input_with_a_type_is_what_a_service_gets(session: Session) -> None:
    given = [
        WorkspaceObject(name="frame", value={"a": [1, 2]}, type="data.frame"),
        WorkspaceObject(name="row", value=[1, 2.5], type="vector"),
        WorkspaceObject(name="plain", value=[1, 2.5]),
    ]
    code = "kinds = [type(each).__name__ for each in (frame, row, plain)]"
    request = ExecuteRequest(code=code, input_parameters=given, output_parameters=["kinds"])
    result = await session.execute(request)
    assert [each.value for each in result.output_parameters] == [["DataFrame", "ndarray", "list"]]
    wrong = [WorkspaceObject(name="row", value=1, type="vector")]
    result = await session.execute(ExecuteRequest(code=code, input_parameters=wrong))
    assert result.error_message == "row must be an array (vector), got the number 1."


async def test_inputs_are_set_and_outputs_are_read(run: Run) -> None:
    result = await run("total = sum(xs) + offset", {"xs": [1, 2.5], "offset": 3}, ["total", "xs"])
    assert result.success
    assert [(each.name, each.value) for each in result.output_parameters] == [
        ("total", 6.5),
        ("xs", [1, 2.5]),
    ]


async def test_objects_stay_from_one_execution_to_the_next(run: Run) -> None:
    await run("kept = 41")
    assert (await run("kept += 1", outputs=["kept"])).output_parameters[0].value == 42


async def test_arrays_and_frames_come_back_as_json(run: Run) -> None:
    code = (
        "import numpy as np, pandas as pd\n"
        "m = np.eye(2)\nframe = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"
    )
    result = await run(code, outputs=["m", "frame"])
    assert [each.value for each in result.output_parameters] == [
        [[1.0, 0.0], [0.0, 1.0]],
        {"a": [1, 2], "b": ["x", "y"]},
    ]


async def test_the_console_has_both_streams_and_results_in_their_order(run: Run) -> None:
    code = "import sys\nprint('one')\nprint('two', file=sys.stderr)\ndisplay('three')\n4"
    assert (await run(code)).console_output == "one\ntwo\n'three'\n4\n"


async def test_code_that_awaits_has_its_outputs_read_after_it(run: Run) -> None:
    code = "import asyncio\nlate = 1\nawait asyncio.sleep(0.2)\nlate = 2"
    assert (await run(code, outputs=["late"])).output_parameters[0].value == 2


async def test_an_output_that_is_missing_is_named(run: Run) -> None:
    result = await run("present = 1", outputs=["present", "absent"])
    assert not result.success
    assert "'absent'" in result.error_message
    assert result.output_parameters == []


async def test_an_output_that_json_cannot_carry_is_named_with_its_type(run: Run) -> None:
    result = await run("def f(): pass", outputs=["f"])
    assert not result.success
    assert result.error_message.startswith("f must be")
    assert "function" in result.error_message


@pytest.mark.parametrize("name", ["not a name", "class", "__import__", ""])
async def test_a_parameter_that_is_no_identifier_is_refused(session: Session, name: str) -> None:
    with pytest.raises(InvalidName):
        session.begin(request_of("1", {name: 1}))
    with pytest.raises(InvalidName):
        session.begin(request_of("1", outputs=[name]))


async def test_values_are_never_pasted_into_code(run: Run) -> None:
    text = '\'); import os; os._exit(1) #\n"""\\'
    result = await run("same = text", {"text": text}, ["same"])
    assert result.output_parameters[0].value == text


# --- code that fails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("unknown_thing", "NameError: name 'unknown_thing' is not defined"),
        ("def f(:\n    pass", "SyntaxError: invalid syntax (line 1)"),
        ("raise ValueError", "ValueError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("exit()", "SystemExit: exit is not for sessions; close the session to end it."),
        ("quit", "SystemExit: exit is not for sessions; close the session to end it."),
        (
            "input('name? ')",
            "StdinNotImplementedError: raw_input was called, but this frontend does not support "
            "input requests.",
        ),
        ("1/0", "ZeroDivisionError: division by zero"),
    ],
    ids=["name", "syntax", "no text", "sys.exit", "exit", "quit", "input", "division"],
)
async def test_code_that_raises_is_a_result_and_the_session_goes_on(
    run: Run, code: str, message: str
) -> None:
    result = await run(code, outputs=["whatever"])
    assert (result.success, result.error_message) == (False, message)
    assert result.output_parameters == []
    assert (await run("alive = True", outputs=["alive"])).success


async def test_the_traceback_is_the_users_alone_and_without_colours(run: Run) -> None:
    result = await run("print('before')\ndef inner():\n    return {}['key']\ninner()")
    assert result.error_message == "KeyError: 'key'"
    assert result.console_output.startswith("before\n")
    assert "return {}['key']" in result.console_output
    assert "\x1b" not in result.console_output
    for of_ours in ("jupyter_mlsvc_server", "wrapt", "ipykernel"):
        assert of_ours not in result.console_output


async def test_the_hook_of_scikit_learn_does_not_show_in_tracebacks(run: Run) -> None:
    code = (
        "from sklearn.svm import SVC\n"
        "clf = SVC().fit([[0, 1], [1, 0]], [0, 1])\n"
        "clf.predict([1, 2, 3])"
    )
    result = await run(code)
    assert result.error_message.startswith("ValueError: Expected 2D array")
    assert "clf.predict([1, 2, 3])" in result.console_output
    assert "jupyter_mlsvc_server" not in result.console_output
    assert "wrapt" not in result.console_output


async def test_a_single_sample_as_a_list_is_understood_by_scikit_learn(run: Run) -> None:
    code = (
        "from sklearn.svm import SVC\nanswer = SVC().fit([[0, 1], [1, 0]], [0, 1]).predict([0, 1])"
    )
    result = await run(code, outputs=["answer"])
    assert result.output_parameters[0].value == [0]
    assert "DeprecationWarning" in result.console_output


# --- events ----------------------------------------------------------------------------------


async def test_events_come_while_the_code_runs(session: Session) -> None:
    execution = session.begin(
        request_of(f"print('first', flush=True)\n{UNTIL_SEEN}\nprint('second')")
    )
    lines = session.events(execution.id)
    first = json.loads((await anext(lines)).splitlines()[0])
    assert not execution.is_finished
    see(session)
    assert first == {"seq": 0, "type": "stream", "name": "stdout", "text": "first\n"}
    rest = await events_of(lines)
    assert [each["type"] for each in rest] == ["stream", "result"]
    assert [each["seq"] for each in rest] == [1, 2]


async def test_events_are_replayed_from_any_number_on(session: Session) -> None:
    code = "display('a'); display('b')\n'c'"
    execution_id = await session.start_execution(request_of(code, outputs=[]))
    everything = await events_of(session.events(execution_id))
    assert [each["type"] for each in everything] == [
        "display_data",
        "display_data",
        "execute_result",
        "result",
    ]
    assert await events_of(session.events(execution_id, since=2)) == everything[2:]


async def test_the_last_event_is_what_execute_would_have_answered(session: Session) -> None:
    execution_id = await session.start_execution(request_of("v = 1; print('x')", outputs=["v"]))
    last = (await events_of(session.events(execution_id)))[-1]
    assert last == {
        "seq": 1,
        "type": "result",
        "success": True,
        "errorMessage": "",
        "outputParameters": [{"name": "v", "value": 1}],
        "consoleOutput": "x\n",
        "changedFiles": [],
    }


async def test_an_error_is_an_event_with_its_coloured_traceback(session: Session) -> None:
    execution_id = await session.start_execution(request_of("1/0"))
    error, result = await events_of(session.events(execution_id))
    assert (error["type"], error["ename"], error["evalue"]) == (
        "error",
        "ZeroDivisionError",
        "division by zero",
    )
    assert "\x1b[" in "".join(error["traceback"])
    assert result["success"] is False


async def test_a_plot_is_an_event_with_an_image(session: Session) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    events = await events_of(session.events(await session.start_execution(request_of(code))))
    assert any("image/png" in each.get("data", {}) for each in events), events[-1]


async def test_displays_are_updated_under_their_id(session: Session) -> None:
    code = "handle = display('a', display_id='here')\nhandle.update('b')"
    events = await events_of(session.events(await session.start_execution(request_of(code))))
    assert [each.get("transient") for each in events[:2]] == [{"display_id": "here"}] * 2
    assert [each["type"] for each in events[:2]] == ["display_data", "update_display_data"]


async def test_a_follower_of_silent_code_is_sent_signs_of_life(
    manager: MlsvcSessionManager, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "heartbeat_interval", 0.2)
    execution_id = await session.start_execution(request_of(UNTIL_SEEN))
    path = f"/sessions/{session.id}/executions/{execution_id}/events"
    ann = {"Authorization": "Bearer of-ann"}
    came: list[bytes] = []

    def take(piece: bytes) -> None:
        came.append(piece)
        if len(came) == 2:
            see(session)

    routes = SessionRoutes(sessions=manager, forms=cast("Any", None))
    async with served(routes.table(), tokens=tokens_of("ann")) as port:
        url = f"http://127.0.0.1:{port}{path}"
        await AsyncHTTPClient().fetch(url, headers=ann, streaming_callback=take)
    kinds = [json.loads(line)["type"] for line in b"".join(came).splitlines()]
    assert kinds[:2] == ["heartbeat", "heartbeat"]
    assert kinds[-1] == "result"


async def test_an_unknown_execution_is_not_found(session: Session) -> None:
    with pytest.raises(ExecutionNotFound):
        session.events("nothing")


async def test_a_hundred_thousand_lines_arrive_whole_and_in_order(session: Session) -> None:
    result = await session.execute(request_of("for i in range(100_000): print(i)"))
    assert result.console_output == "".join(f"{i}\n" for i in range(100_000))


async def test_nothing_is_lost_when_the_kernel_prints_faster_than_the_server_reads(
    session: Session,
) -> None:
    execution = session.begin(request_of("for i in range(5000): print(i, flush=True)"))
    await until(session.console_output)
    # The server is busy with something else: sockets fill up on both sides.
    time.sleep(2)  # noqa: ASYNC251
    result = await execution.response()
    assert result.console_output == "".join(f"{i}\n" for i in range(5000))


async def test_too_much_output_ends_in_an_event_that_says_so(session: Session) -> None:
    execution_id = await session.start_execution(
        # In one piece: what is printed with its end in another may come as two messages.
        request_of(
            "import sys\nsys.stdout.write('x' * 20_000_000)\nsys.stdout.flush()\nprint('ok')"
        )
    )
    events = await events_of(session.events(execution_id))
    assert [each["type"] for each in events] == ["stream", "truncated", "stream", "result"]
    assert set(events[0]["text"]) == {"x"}
    assert 60_000 < len(events[0]["text"]) < 70_000
    assert "19,934,495 of its 20,000,030 bytes" in events[1]["message"]
    assert events[2]["text"] == "ok\n"
    assert events[3]["success"] is True
    assert events[3]["consoleOutput"].startswith("xxx")
    assert "left out, 19,934,495 of its" in events[3]["consoleOutput"]
    assert len(events[3]["consoleOutput"]) < 70_000


async def test_a_long_text_comes_in_pieces_that_are_the_whole(session: Session) -> None:
    code = "import sys\nsys.stdout.write('abc\\n' * 250_000)\n_ = sys.stderr.write('end')"
    execution_id = await session.start_execution(request_of(code))
    events = await events_of(session.events(execution_id))
    texts = [each["text"] for each in events if each.get("name") == "stdout"]
    assert "".join(texts) == "abc\n" * 250_000
    assert max(map(len, texts)) <= 2**16
    assert events[-1]["consoleOutput"] == "".join(texts) + "end"


async def test_large_value_shows_its_beginning(session: Session) -> None:
    execution_id = await session.start_execution(request_of("'y' * 20_000_000"))
    events = await events_of(session.events(execution_id))
    assert [each["type"] for each in events] == ["execute_result", "truncated", "result"]
    assert events[0]["data"]["text/plain"].startswith("'yyy")


# --- what front ends show by other ways ------------------------------------------------------


async def shown_last(session: Session, code: str) -> tuple[list[str], str]:
    """Run code; gives the texts that were displayed, and the console at the end."""
    execution_id = await session.start_execution(request_of(code))
    events = await events_of(session.events(execution_id))
    assert events[-1]["success"], events[-1]
    texts = [each["data"]["text/plain"] for each in events if "data" in each]
    return texts, events[-1]["consoleOutput"]


async def test_bar_of_tqdm_moves_and_is_full_at_the_end(session: Session) -> None:
    loop = f"for _ in tqdm(range(4), mininterval=0):\n{textwrap.indent(UNTIL_SEEN, ' ')}"
    code = f"from tqdm.auto import tqdm\n{loop}"
    execution_id = await session.start_execution(request_of(code))
    texts: list[str] = []
    seen: list[str] = []
    console = ""
    async for batch in session.events(execution_id):
        for event in map(json.loads, batch.splitlines()):
            if "data" in event:
                texts.append(event["data"]["text/plain"])
            console = event.get("consoleOutput", "")
        # It goes on once that has been seen.
        if texts and f" {len(seen)}/4" in texts[-1] and len(seen) < 4:
            seen.append(texts[-1])
            see(session)
    assert seen[0].startswith("  0%|          | 0/4")
    assert len(seen) == 4
    assert texts[-1].startswith("100%|██████████| 4/4")
    assert console == f"{texts[-1]}\n"


async def test_widgets_follow_what_the_code_sets(session: Session) -> None:
    code = """
        import ipywidgets
        bar, label = ipywidgets.IntProgress(max=2), ipywidgets.Label('none')
        out = ipywidgets.Output()
        display(ipywidgets.VBox([ipywidgets.HBox([bar, label]), out]))
        bar.value, label.value = 1, 'one'
        with out:
            print('printed')
        """
    texts, console = await shown_last(session, textwrap.dedent(code))
    assert texts[-1] == "|█████     | one\nprinted"
    assert console == "|█████     | one\nprinted\n"


async def test_widget_is_followed_by_later_executions(session: Session) -> None:
    await shown_last(session, "import ipywidgets; late = ipywidgets.Label('a'); late")
    texts, _ = await shown_last(session, "late.value = 'b'")
    assert texts == ["b"]


PAGES = [
    ("paged?", "Shown by a pager"),
    ("paged??", "return 'body'"),
    ("%pinfo paged", "Shown by a pager"),
    ("%pdoc paged", "Shown by a pager"),
    ("%psource paged", "return 'body'"),
    ("%prun paged()", "function calls"),
    ("help(paged)", "Shown by a pager"),
    ("%timeit -n 1 -r 1 paged()", "per loop"),
    ("%time paged()", "Wall time"),
    ("%lsmagic", "Available line magics"),
]


@pytest.mark.parametrize(("code", "text"), PAGES)
async def test_pages_are_shown(session: Session, code: str, text: str) -> None:
    defined = "def paged():\n    'Shown by a pager.'\n    return 'body'"
    await session.execute(request_of(defined))
    result = await session.execute(request_of(code))
    assert text in result.console_output
    assert "\x1b" not in result.console_output


# --- one at a time ---------------------------------------------------------------------------


async def test_executions_wait_for_each_other_in_their_order(session: Session) -> None:
    await session.execute(request_of("import time; order = []"))
    slow = session.begin(request_of("time.sleep(0.3); order.append('slow')"))
    quick = session.begin(request_of("order.append('quick')", outputs=["order"]))
    assert session.state == "busy"
    assert (await quick.response()).output_parameters[0].value == ["slow", "quick"]
    assert slow.is_finished


async def test_what_an_execution_printed_so_far_can_be_read_while_it_runs(session: Session) -> None:
    execution = session.begin(
        request_of(f"print('so far', flush=True)\n{UNTIL_SEEN}\nprint('more')")
    )
    await until(lambda: session.console_output() == "so far\n")
    assert not execution.is_finished
    see(session)
    await execution.response()
    assert session.console_output() == "so far\nmore\n"


async def test_the_history_has_every_execution_oldest_first(session: Session, run: Run) -> None:
    before = len(session.history())
    await run("a = 1")
    await run("raise ValueError")
    assert session.history()[before:] == ["a = 1", "raise ValueError"]


async def test_a_queued_execution_whose_caller_went_away_is_not_run(
    session: Session, run: Run
) -> None:
    slow = session.begin(request_of("import time; time.sleep(0.3); mark = 'slow'"))
    forgotten = session.begin(request_of("mark = 'forgotten'"))
    forgotten.abandon()
    result = await run("pass", outputs=["mark"])
    assert result.output_parameters[0].value == "slow"
    assert (await slow.response()).success
    assert not (await forgotten.response()).success


async def test_a_caller_that_stops_waiting_leaves_the_session_usable(session: Session) -> None:
    waiting = asyncio.create_task(
        session.execute(request_of(f"print('begun', flush=True)\n{UNTIL_SEEN}\nw = 1"))
    )
    await until(lambda: session.console_output() == "begun\n")
    waiting.cancel()
    see(session)
    result = await session.execute(request_of("w += 1", outputs=["w"]))
    assert result.output_parameters[0].value == 2


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an interrupt to show as long as a kernel may take on a busy machine."""
    pauses = "jupyter_mlsvc_server.sessions.session._INTERRUPT_PAUSES"
    monkeypatch.setattr(pauses, (1.0, 10.0, 20.0, 20.0))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.sleep(60)",
        "while True:\n    pass",
        "import asyncio\nawait asyncio.sleep(60)",
    ],
    ids=["sleep", "busy loop", "await"],
)
async def test_cancelling_stops_the_code_and_keeps_the_session(
    session: Session, run: Run, code: str
) -> None:
    await run("kept = 'kept'")
    execution = session.begin(request_of(f"print('started', flush=True)\n{code}"))
    await until(lambda: "started" in session.console_output())
    after = session.begin(request_of("pass", outputs=["kept"]))
    assert await session.cancel()
    result = await execution.response()
    assert not result.success
    assert "cancel" in result.error_message.lower()
    # Those that wait go on.
    assert (await after.response()).output_parameters[0].value == "kept"


@pytest.mark.usefixtures("patient")
async def test_cancelling_is_repeated_for_code_that_catches_the_interrupt(session: Session) -> None:
    code = (
        "import time\nprint('started', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(60)"
    )
    execution = session.begin(request_of(code))
    await until(lambda: "started" in session.console_output())
    assert await session.cancel()
    assert not (await execution.response()).success


async def test_an_interrupt_that_loses_the_kernels_reply_does_not_hang_the_session(
    run: Run,
) -> None:
    code = (
        "def interrupted(*_):\n"
        "    del get_ipython().kernel.finish_metadata\n"
        "    raise KeyboardInterrupt\n"
        "get_ipython().kernel.finish_metadata = interrupted"
    )
    result = await asyncio.wait_for(run(code), 60)
    assert (result.success, result.error_message) == (False, "KeyboardInterrupt")
    assert (await run("1")).success


async def test_cancelling_one_execution_leaves_the_others_alone(session: Session, run: Run) -> None:
    await run("order = []")
    running = session.begin(
        request_of(f"print('on', flush=True)\n{UNTIL_SEEN}\norder.append('running')")
    )
    await until(lambda: "on" in session.console_output())
    waiting = session.begin(request_of("order.append('waiting')"))
    last = session.begin(request_of("order.append('last')", outputs=["order"]))
    assert await session.cancel(waiting.id)
    taken_out = await asyncio.wait_for(waiting.response(), 60)
    assert not running.is_finished
    see(session)
    assert "cancelled before it began" in taken_out.error_message
    assert (await last.response()).output_parameters[0].value == ["running", "last"]
    assert "order.append('waiting')" not in session.history()
    # Those that have ended are not touched any more.
    assert await session.cancel(running.id)
    with pytest.raises(ExecutionNotFound):
        await session.cancel("nothing")


async def test_an_execution_that_was_sent_twice_runs_once(session: Session, run: Run) -> None:
    await run("count = 0")
    request = request_of("count += 1")
    ids = [await session.start_execution(request, "my-own") for _ in range(2)]
    assert ids == ["my-own", "my-own"]
    assert (await run("pass", outputs=["count"])).output_parameters[0].value == 1
    with pytest.raises(InvalidName, match="no valid id"):
        await session.start_execution(request, "a/b")


async def test_cancelling_an_idle_session_does_nothing(session: Session, run: Run) -> None:
    assert await session.cancel()
    assert (await run("1")).success


# --- workspace and changed files -------------------------------------------------------------


async def test_objects_travel_as_pickles(session: Session, run: Run) -> None:
    await set_object(session, "given", cloudpickle.dumps({"n": [1, 2]}))
    assert "given" in await session.objects()
    await run("given['n'].append(3)")
    assert cloudpickle.loads(await get_object(session, "given")) == {"n": [1, 2, 3]}
    await session.delete_object("given")
    assert "given" not in await session.objects()


async def test_an_object_that_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(ObjectNotFound):
        await get_object(session, "nothing_here")
    with pytest.raises(ObjectNotFound):
        await session.delete_object("nothing_here")


async def test_bytes_that_are_no_pickle_are_refused(session: Session) -> None:
    with pytest.raises(AgentRefused):
        await set_object(session, "bad", b"no pickle")


async def test_files_that_the_code_changed_are_in_the_answer(run: Run) -> None:
    code = (
        "import os, pathlib\npathlib.Path('old.txt').write_text('1')\n"
        "pathlib.Path('gone.txt').write_text('1')"
    )
    assert (await run(code)).changed_files == ["gone.txt", "old.txt"]
    code = (
        "os.makedirs('sub/deep')\npathlib.Path('sub/deep/new.csv').write_text('2')\n"
        "pathlib.Path('old.txt').write_text('3')\nos.remove('gone.txt')"
    )
    assert (await run(code)).changed_files == ["old.txt", "sub/deep/new.csv"]
    assert (await run("open('old.txt').read()")).changed_files == []


# --- a kernel that dies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os._exit(7)", "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory ran out"),
    ],
    ids=["exit", "killed"],
)
async def test_a_kernel_that_dies_is_a_result_and_ends_the_session(
    manager: MlsvcSessionManager, ann: Principal, code: str, why: str
) -> None:
    session = await manager.create(ann, CreateSessionRequest())
    last_words = f"print('last words', flush=True)\n{UNTIL_SEEN}"
    dying = session.begin(request_of(f"{last_words}\n{code}"))
    waiting = session.begin(request_of("1"))
    await until(lambda: session.console_output() == "last words\n")
    see(session)
    result = await asyncio.wait_for(dying.response(), 60)
    assert not result.success
    assert why in result.error_message
    assert result.console_output == "last words\n"
    assert not (await asyncio.wait_for(waiting.response(), 60)).success
    with pytest.raises(SessionGone, match=why):
        await session.call_agent("list", {})
    await until(lambda: not session.directory.exists())
    with pytest.raises(SessionEnded, match=why):
        await manager.get(ann, session.id)
    with pytest.raises(SessionGone, match=why):
        await manager.get_for_workspace(ann, session.id)


async def test_an_idle_kernel_that_is_killed_ends_its_session(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    session = await manager.create(ann, CreateSessionRequest())
    assert session.process_id is not None
    os.kill(session.process_id, 9)
    await until(lambda: not session.directory.exists())
    with pytest.raises(SessionEnded):
        await manager.get(ann, session.id)
