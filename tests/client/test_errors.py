from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

import jupyter_mlsvc_server
from jupyter_mlsvc import errors
from jupyter_mlsvc.advice import advice
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc_server.api.responses import error_body
from jupyter_mlsvc_server.batches.errors import BatchNotFound
from jupyter_mlsvc_server.errors import Advice, MlsvcServerError, NotAuthenticated
from jupyter_mlsvc_server.services.errors import PublishCheckFailed, ServiceExists, ServiceNotFound
from jupyter_mlsvc_server.sessions.errors import FileNotFound

from .fake import FakeTransport, answer, problem

CALL: Final = re.compile(r"(GET|POST|PATCH|PUT|DELETE) /|with PATCH")

BY_STATUS = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
    413: errors.PayloadTooLarge,
    418: errors.ApiError,
    429: errors.TooManyRequests,
    500: errors.ServerFault,
    503: errors.Busy,
    504: errors.DeadlinePassed,
}


def leaves(kind: type[BaseException]) -> list[type[BaseException]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
def test_each_status_is_an_error_of_its_own(
    client: Client, transport: FakeTransport, status: int, kind: type[Exception]
) -> None:
    transport.answers = [problem(status, "No such thing.", X_Request_Id="r1")]
    with pytest.raises(errors.ApiError) as raised:
        client.services.list()
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert raised.value.exception_type == "SomeException"
    assert raised.value.request_id == "r1"
    assert raised.value.message == "No such thing."


def test_all_errors_are_in_the_drawing() -> None:
    drawn = errors.__doc__ or ""
    for kind in leaves(errors.MlsvcError):
        assert f" {kind.__name__}" in drawn


def test_an_api_error_is_one_line_in_a_notebook() -> None:
    error = errors.api_error(404, "There is no service 'Iris'.")
    assert error._render_traceback_() == ["NotFound: There is no service 'Iris'."]


@pytest.mark.parametrize(("status", "kind"), [(500, "ServerFault"), (403, "Forbidden")])
def test_what_the_operator_can_look_up_names_the_request(status: int, kind: str) -> None:
    error = errors.api_error(status, "It cannot be done.", request_id="r1")
    assert error._render_traceback_() == [f"{kind}: It cannot be done. (request r1)"]


def test_a_remote_error_shows_one_line_and_then_the_remote_traceback() -> None:
    error = errors.RemoteExecutionError(
        "NameError", "name 'x' is not defined", ["----", "Cell In[1]"], "s1"
    )
    shown = error._render_traceback_()
    assert shown[:4] == [
        "NameError in session 's1': name 'x' is not defined",
        "",
        "----",
        "Cell In[1]",
    ]


def test_a_hint_stands_before_the_traceback() -> None:
    error = errors.RemoteExecutionError(
        "NameError", "name 'x' is not defined", ["----"], "s1", "send x"
    )
    assert error._render_traceback_()[1] == "Hint: send x"


def test_a_failed_service_shows_what_it_printed() -> None:
    error = errors.ServiceFailed("Iris V1.0", "ValueError: bad flower", "looking\n", "r1")
    assert error._render_traceback_() == [
        "ServiceFailed: service Iris V1.0 raised ValueError: bad flower (request r1)",
        "",
        "Console output:",
        "looking",
    ]


def test_unset_output_shows_once_and_not_as_raised() -> None:
    sentence = "The code did not set the output 'y' (numeric)."
    error = errors.ServiceFailed("Iris V1.0", sentence, f"{sentence}\n")
    assert error._render_traceback_() == [f"ServiceFailed: service Iris V1.0: {sentence}"]


def test_exception_without_a_message_shows_as_raised() -> None:
    assert str(errors.ServiceFailed("Iris V1.0", "StopIteration")).endswith("raised StopIteration")


def test_an_interrupt_is_a_keyboard_interrupt_and_no_exception_of_the_program() -> None:
    error = errors.RemoteInterrupted("s1")
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert error._render_traceback_() == [
        "RemoteInterrupted: interrupted; session 's1' is still usable."
    ]


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionFailed("http://x", "refused"),
        errors.api_error(503, "busy", request_id="r1"),
        errors.RemoteExecutionError("A", "b", ["c"], "d", "e"),
        errors.ServiceFailed("s", "m", "c", "r1"),
        errors.RemoteInterrupted("s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_a_trip_between_processes(error: Exception) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_something_else_at_the_address_is_said(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer("<html>")]
    with pytest.raises(
        errors.UnexpectedAnswer, match="something that an ML service server does not"
    ):
        client.services.list()


def test_a_login_page_at_the_address_is_said(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer(None, 302, Location="/hub/login")]
    with pytest.raises(errors.UnexpectedAnswer, match="a redirect to /hub/login"):
        client.services.list()


def test_a_refusal_that_is_no_problem_body_keeps_its_status(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer("bad gateway", 502)]
    with pytest.raises(errors.ServerFault) as raised:
        client.services.list()
    assert raised.value.status == 502


ADVISED = {
    "service": (
        ServiceNotFound("a"),
        "There is no service 'a'. List what is published with client.services.list().",
        "There is no service 'a'. List what is published with %mlsvc services.",
    ),
    "exists": (
        ServiceExists("a", "V1", may_be_replaced=True),
        "Version 'V1' of service 'a' exists already. Publish another version, change this one with "
        "client.services.update(…), or delete it first. It never answered a call, so this one may "
        "take its place with replace=True.",
        "Version 'V1' of service 'a' exists already. Publish another version, change this one with "
        "%mlsvc update, or delete it first. It never answered a call, so this one may take its "
        "place with --replace.",
    ),
    "check": (
        PublishCheckFailed("It raised.", may_be_forced=True, printed="x"),
        "It raised.\nNothing was published. Correct it, or publish it all the same with "
        "force=True.\nIt had printed:\nx",
        "It raised.\nNothing was published. Correct it, or publish it all the same with "
        "--force.\nIt had printed:\nx",
    ),
    "code": (
        PublishCheckFailed("It has no code.", may_be_forced=False, printed="x"),
        "It has no code.\nNothing was published.\nIt had printed:\nx",
        "It has no code.\nNothing was published.\nIt had printed:\nx",
    ),
    "token": (
        NotAuthenticated(token_was_sent=True),
        "The token is not valid here. Get one with client.login(username, password).",
        "The token is not valid here. Get one with %mlsvc login.",
    ),
    "file": (
        FileNotFound("a"),
        "There is no file 'a' in the session. session.list_files() lists them.",
        "There is no file 'a' in the session. %mlsvc files lists them.",
    ),
    "batch": (
        BatchNotFound("Iris", "V1.0", "b1"),
        "There is no batch 'b1' of version 'V1.0' of service 'Iris'. List yours with "
        "client.batches.list(NAME, VERSION).",
        "There is no batch 'b1' of version 'V1.0' of service 'Iris'. List yours with "
        "client.batches.list(NAME, VERSION).",
    ),
}


def refused(
    client: Client, transport: FakeTransport, error: MlsvcServerError, *, is_old: bool = False
) -> errors.ApiError:
    """What the client raises for an answer that the server writes."""
    body = msgspec.json.decode(error_body(error, "r1"))
    if is_old:
        body = {name: body[name] for name in ("message", "link", "exceptionType")}
    transport.answers = [answer(body, error.status)]
    with pytest.raises(errors.ApiError) as raised:
        client.services.list()
    return raised.value


@pytest.mark.parametrize("name", ADVISED)
def test_advice_is_in_the_words_of_the_place(
    client: Client, transport: FakeTransport, name: str
) -> None:
    error, in_program, in_notebook = ADVISED[name]
    shown = refused(client, transport, error)
    assert (shown.message, str(shown), shown.in_notebook()) == (
        error.message,
        in_program,
        in_notebook,
    )
    assert shown._render_traceback_() == [f"{type(shown).__name__}: {in_notebook}"]


def test_an_older_servers_message_is_shown_as_it_is(
    client: Client, transport: FakeTransport
) -> None:
    error = ServiceNotFound("a")
    shown = refused(client, transport, error, is_old=True)
    assert str(shown) == shown.in_notebook() == shown.reason == error.message
    assert (shown.code, shown.operation, shown.parameter, shown.inputs) == ("", "", "", {})


def test_advice_of_a_newer_server_is_shown_as_it_is(
    client: Client, transport: FakeTransport
) -> None:
    error = MlsvcServerError("No.", advice=Advice("Try PUT /new.", operation="putNew"))
    assert str(refused(client, transport, error)) == "No. Try PUT /new. (request r1)"


def test_each_error_that_advises_a_call_has_words_for_it_here() -> None:
    """Every ``Advice`` of the server stands in a class whose code the client knows."""
    root = Path(jupyter_mlsvc_server.__file__).parent
    advising = [
        node
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(map(_makes_advice, ast.walk(node)))
    ]
    assert len(advising) > 10
    operations = {each.id for each in OPERATIONS} | {"GetBatchExecutions"}
    for node in advising:
        told = {
            each.arg: each.value.value
            for call in ast.walk(node)
            if isinstance(call, ast.Call)
            for each in call.keywords
            if each.arg in {"operation", "parameter"} and isinstance(each.value, ast.Constant)
        }
        operation = told.get("operation", "")
        assert operation in operations | {""}
        for place in ("program", "notebook"):
            words = advice(place, _code_of(node), operation, told.get("parameter", ""))  # type: ignore[arg-type]
            assert words, node.name
            assert not CALL.search(words)


def test_no_sentence_of_the_server_names_a_call_outside_advice() -> None:
    root = Path(jupyter_mlsvc_server.__file__).parent
    sentences = [
        text
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and not _makes_advice(node)
        for text in map(_text, node.args)
        if CALL.search(text)
    ]
    assert sentences == []


def _makes_advice(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Advice"


def _code_of(node: ast.ClassDef) -> str:
    (code,) = [
        each.value.value
        for each in node.body
        if isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Constant)
        and ast.unparse(each.targets[0]) == "code"
    ]
    return str(code)


def _text(node: ast.expr) -> str:
    """A string in code, with an x for what it is filled with."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "x" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""
