from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.events import Finished, StreamText
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse
from jupyter_mlsvc.errors import (
    ConnectionFailed,
    Detached,
    LostExecution,
    NotFound,
    RemoteExecutionError,
    RemoteInterrupted,
    UnexpectedAnswer,
)

from .fake import FakeTransport, answer, body_of, lines, problem, sent

ROW = {"id": "i1", "name": "train", "owner": "maria", "runtimeType": "Python"}
OK = {
    "success": True,
    "errorMessage": "",
    "outputParameters": [{"name": "x", "value": [1, 2]}],
    "consoleOutput": "hi\n",
    "changedFiles": ["a.txt"],
}
STARTED = {"executionId": "e1"}


def event(seq: int, kind: str, **members: object) -> bytes:
    return msgspec.json.encode({"seq": seq, "type": kind, **members}) + b"\n"


def finished(seq: int, **members: object) -> bytes:
    return event(seq, "result", **{**OK, **members})


@pytest.fixture
def session(client: Client, transport: FakeTransport) -> Session:
    transport.answers = [answer({"sessionId": "i1"}, 201)]
    created = client.sessions.create("train")
    transport.requests.clear()
    return created


def asked(transport: FakeTransport) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in transport.requests]


def test_create_sends_a_runtime_type_and_leaves_out_nothing_it_knows(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer({"sessionId": "i1"}, 201)]
    session = client.sessions.create("train", snapshot_id="s1")
    assert sent(transport.requests[0]) == {
        "name": "train",
        "snapshotId": "s1",
        "runtimeType": "Python",
        "notebook": None,
        "leaseSeconds": None,
    }
    assert (session.id, session.name) == ("i1", "train")


def test_the_list_is_a_table(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([ROW])]
    listing = client.sessions.list()
    assert [session.name for session in listing] == ["train"]
    assert repr(listing).splitlines()[0].split() == [
        "name",
        "runtime",
        "state",
        "memory",
        "created",
        "last",
        "activity",
        "closes",
        "in",
        "id",
    ]
    assert "<td" in listing._repr_html_()


def test_an_empty_list_says_so(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([])]
    assert repr(client.sessions.list()) == "No sessions."


def test_a_session_is_found_by_name_and_of_several_the_newest(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer([ROW, {**ROW, "id": "i2"}])]
    assert client.sessions.get("train").id == "i2"


def test_a_session_that_is_not_there_is_not_found(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([ROW])]
    with pytest.raises(NotFound, match="You have no session 'test'"):
        client.sessions.get("test")


def test_execute_gives_outputs_by_name(session: Session, transport: FakeTransport) -> None:
    transport.answers = [answer(OK)]
    result = session.execute("x = [1, 2]", {"a": 1}, ["x"])
    assert result.outputs == {"x": [1, 2]}
    assert result.console_output == "hi\n"
    assert sent(transport.requests[0]) == {
        "code": "x = [1, 2]",
        "inputParameters": [{"name": "a", "value": 1}],
        "outputParameters": ["x"],
    }


def test_execute_waits_as_long_as_it_takes(session: Session, transport: FakeTransport) -> None:
    transport.answers = [answer(OK)]
    session.execute("x = 1")
    assert transport.requests[0].timeout == (5.0, None)


def test_execute_sends_arrays_as_lists(session: Session, transport: FakeTransport) -> None:
    numpy = pytest.importorskip("numpy")
    transport.answers = [answer(OK)]
    session.execute("x", {"a": numpy.array([1.5, numpy.nan])})
    body = sent(transport.requests[0])
    assert body["inputParameters"] == [{"name": "a", "value": [1.5, None]}]


FAILED = {**OK, "success": False, "errorMessage": "NameError: name 'x' is not defined"}


def test_code_that_raises_raises_here(session: Session, transport: FakeTransport) -> None:
    transport.answers = [answer(FAILED)]
    with pytest.raises(RemoteExecutionError) as raised:
        session.execute("x")
    assert raised.value.remote_type == "NameError"
    assert raised.value.remote_message == "name 'x' is not defined"
    assert str(raised.value) == "NameError in session 'train': name 'x' is not defined"


def test_the_route_itself_tells_by_its_result(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer(FAILED)]
    result = client.sessions.with_id("i1").execute("x", check=False)
    assert not result.success
    with pytest.raises(RemoteExecutionError):
        result.raise_for_error()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("NameError: name 'x'", ("NameError", "name 'x'")),
        ("my.module.Problem: a: b", ("my.module.Problem", "a: b")),
        ("KeyboardInterrupt", ("KeyboardInterrupt", "")),
        ("StopIteration: ", ("StopIteration", "")),
        ("The kernel died: it was killed", ("Error", "The kernel died: it was killed")),
        ("", ("Error", "")),
    ],
)
def test_the_last_line_of_a_traceback_is_understood(
    client: Client, transport: FakeTransport, line: str, expected: Any
) -> None:
    transport.answers = [answer({**OK, "success": False, "errorMessage": line})]
    error = client.sessions.with_id("i1").execute("x", check=False).error
    assert error is not None
    assert (error.type_name, error.message) == expected


def test_run_gives_events_in_their_order_and_the_result(
    session: Session, transport: FakeTransport
) -> None:
    stream = event(0, "stream", name="stdout", text="a") + event(
        1, "stream", name="stderr", text="b"
    )
    transport.answers = [answer(STARTED, 202), lines(stream[:20], stream[20:], finished(2))]
    seen: list[Any] = []
    result = session.run("code", on_event=seen.append)
    assert [type(item) for item in seen] == [StreamText, StreamText, Finished]
    assert [item.text for item in seen[:2]] == ["a", "b"]
    assert result.outputs == {"x": [1, 2]}


def test_events_of_a_kind_from_the_future_and_heartbeats_are_passed_over(
    session: Session, transport: FakeTransport
) -> None:
    stream = b'{"type":"heartbeat"}\n' + event(0, "hologram", beam=1) + b"\n" + finished(1)
    transport.answers = [answer(STARTED, 202), lines(stream)]
    seen: list[Any] = []
    session.run("code", on_event=seen.append)
    assert [type(item) for item in seen] == [Finished]


def test_a_line_that_is_no_event_is_an_unexpected_answer(
    session: Session, transport: FakeTransport
) -> None:
    transport.answers = [answer(STARTED, 202), lines(b"<html>\n")]
    with pytest.raises(UnexpectedAnswer):
        session.run("code")


def test_a_broken_connection_is_taken_up_where_it_broke(
    session: Session, transport: FakeTransport
) -> None:
    broken = ConnectionFailed("https://fake:1", "the connection broke")
    transport.answers = [
        answer(STARTED, 202),
        lines(event(0, "stream", name="stdout", text="a"), then=broken),
        lines(event(1, "stream", name="stdout", text="b"), finished(2)),
    ]
    texts = []
    session.run("code", on_event=lambda item: texts.append(getattr(item, "text", None)))
    assert texts == ["a", "b", None]
    assert [request.query.get("since") for request in transport.requests] == [None, "0", "1"]


def test_a_connection_that_stays_broken_is_given_up(
    session: Session, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    broken = ConnectionFailed("https://fake:1", "the connection broke")
    transport.answers = [answer(STARTED, 202), *(lines(then=broken) for _ in range(20))]
    with pytest.raises(LostExecution, match="runs on in session 'train'; %mlsvc attach") as lost:
        session.run("code")
    assert isinstance(pickle.loads(pickle.dumps(lost.value)), ConnectionFailed)


def test_who_leaves_what_another_started_stops_nothing(
    session: Session, transport: FakeTransport
) -> None:
    def leave(_: ApiRequest) -> ApiResponse:
        raise KeyboardInterrupt

    transport.answers = [lines(event(0, "stream", name="stdout", text="a"), finished(1)), leave]
    texts = []
    session.attach("e1", on_event=lambda item: texts.append(getattr(item, "text", None)))
    assert texts == ["a", None]
    with pytest.raises(Detached, match="its code runs on"):
        session.attach("e1")
    assert {request.method for request in transport.requests} == {"GET"}


def test_the_traceback_of_the_error_event_is_kept(
    session: Session, transport: FakeTransport
) -> None:
    stream = event(0, "error", ename="NameError", evalue="raw", traceback=["one", "two"])
    transport.answers = [
        answer(STARTED, 202),
        lines(stream, finished(1, **{k: FAILED[k] for k in ("success", "errorMessage")})),
    ]
    with pytest.raises(RemoteExecutionError) as raised:
        session.run("x")
    assert raised.value.remote_traceback == ["one", "two"]
    assert raised.value.remote_message == "name 'x' is not defined"


def test_an_interrupt_cancels_drains_and_raises(session: Session, transport: FakeTransport) -> None:
    transport.answers = [
        answer(STARTED, 202),
        lines(event(0, "stream", name="stdout", text="a"), then=KeyboardInterrupt()),
        answer("Cancelled."),
        lines(
            event(1, "error", ename="KeyboardInterrupt", evalue=""),
            finished(2, success=False, errorMessage="KeyboardInterrupt"),
        ),
    ]
    with pytest.raises(RemoteInterrupted, match="session 'train' is still usable"):
        session.run("while True: pass")
    assert [path.rsplit("/", 1)[-1] for _, path in asked(transport)] == [
        "executions",
        "events",
        "cancel",
        "events",
    ]
    assert transport.requests[-1].query == {"since": "1"}
    # No other client's code is interrupted.
    assert transport.requests[2].query == {"executionId": STARTED["executionId"]}


def test_an_interrupt_before_the_answer_reaches_the_code_that_was_sent(
    session: Session, transport: FakeTransport
) -> None:
    def interrupted(_: ApiRequest) -> ApiResponse:
        raise KeyboardInterrupt

    transport.answers = [interrupted, problem(404, "no such execution")]
    with pytest.raises(RemoteInterrupted, match="session 'train' is still usable"):
        session.run("while True: pass")
    started, cancelled = transport.requests
    assert cancelled.query == {"executionId": sent(started)["executionId"]}


def test_a_second_interrupt_does_not_wait_for_the_end(
    session: Session, transport: FakeTransport
) -> None:
    transport.answers = [
        answer(STARTED, 202),
        lines(then=KeyboardInterrupt()),
        answer("Cancelled."),
        lines(then=KeyboardInterrupt()),
    ]
    with pytest.raises(RemoteInterrupted, match="may still be stopping"):
        session.run("while True: pass")


def test_objects_travel_as_bytes(session: Session, transport: FakeTransport) -> None:
    transport.answers = [answer("Set.")]
    session.put_object("x", {1: {2, 3}})
    request = transport.requests[0]
    assert request.headers["Content-Type"] == "application/octet-stream"
    transport.answers = [lines(body_of(request))]
    assert session.get_object("x") == {1: {2, 3}}


def test_a_file_travels_as_a_form(
    session: Session, transport: FakeTransport, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"content")
    transport.answers = [answer("Wrote a.txt.", 201)]
    session.upload_file(tmp_path / "a.txt")
    request = transport.requests[0]
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    body = body_of(request)
    assert len(body) == len(request.body or b"")
    assert b'name="file"; filename="a.txt"' in body
    assert b"\r\n\r\ncontent\r\n--" in body


def test_a_session_as_a_context_closes_itself(session: Session, transport: FakeTransport) -> None:
    transport.answers = [answer("Closed.")]
    with session:
        pass
    assert asked(transport) == [("DELETE", "/sessions/i1")]


def test_closing_a_closed_session_is_harmless(session: Session, transport: FakeTransport) -> None:
    transport.answers = [problem(404, "no such session")]
    session.close()


ROUTES = [
    (lambda s: s.close(force=True), "DELETE", "/sessions/i1/force", "Closed."),
    (lambda s: s.cancel(), "POST", "/sessions/i1/cancel", "Cancelled."),
    (
        lambda s: s.console_output(),
        "GET",
        "/sessions/i1/console-output",
        {"consoleOutput": "x"},
    ),
    (lambda s: s.history(), "GET", "/sessions/i1/history", ["a"]),
    (lambda s: s.list_files(), "GET", "/sessions/i1/files", ["a"]),
    (lambda s: s.download_file("a"), "GET", "/sessions/i1/files/a", "bytes"),
    (lambda s: s.delete_file("a"), "DELETE", "/sessions/i1/files/a", "Deleted."),
    (lambda s: s.list_objects(), "GET", "/sessions/i1/workspace", ["a"]),
    (lambda s: s.delete_object("a"), "DELETE", "/sessions/i1/workspace/a", "Deleted."),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), ROUTES, ids=[row[2] for row in ROUTES])
def test_each_route_is_a_method(
    client: Client,
    transport: FakeTransport,
    call: Callable[[Session], object],
    method: str,
    path: str,
    body: object,
) -> None:
    transport.answers = [answer(body)]
    call(client.sessions.with_id("i1"))
    assert asked(transport) == [(method, path)]
