from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import jupyter_mlsvc_server
from jupyter_mlsvc import errors
from jupyter_mlsvc.client.client import Client

from .fake import FakeTransport, answer, problem

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


def test_a_fault_of_the_server_names_the_request() -> None:
    error = errors.api_error(500, "Something failed here.", request_id="r1")
    assert error._render_traceback_() == ["ServerFault: Something failed here. (request r1)"]


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
    error = errors.ServiceFailed("Iris V1.0", "ValueError: bad flower", "looking\n")
    assert error._render_traceback_() == [
        "ServiceFailed: service Iris V1.0 raised ValueError: bad flower",
        "",
        "Console output:",
        "looking",
    ]


def test_an_output_that_was_not_set_is_told_once_and_not_as_something_raised() -> None:
    sentence = "The code did not set the output 'y' (numeric)."
    error = errors.ServiceFailed("Iris V1.0", sentence, f"{sentence}\n")
    assert error._render_traceback_() == [f"ServiceFailed: service Iris V1.0: {sentence}"]


def test_an_exception_without_a_message_is_told_as_raised() -> None:
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
        errors.ServiceFailed("s", "m", "c"),
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


SENTENCES = {
    "There is no service 'a'. List what is published with GET /services.": (
        "There is no service 'a'. List what is published with client.services.list().",
        "There is no service 'a'. List what is published with %mlsvc services.",
    ),
    "Publish another version, change this one with PATCH, or delete it first.": (
        "Publish another version, change this one with client.services.update(…), or delete it "
        "first.",
        "Publish another version, change this one with %mlsvc update, or delete it first.",
    ),
    "Correct it, or publish it all the same with 'force'.": (
        "Correct it, or publish it all the same with force=True.",
        "Correct it, or publish it all the same with --force.",
    ),
    "Get one with POST /login and send it as 'Authorization: Bearer <access_token>'.": (
        "Get one with client.login(username, password).",
        "Get one with %mlsvc login.",
    ),
    "There is no file 'a' in the session. GET /sessions/ID/files lists them.": (
        "There is no file 'a' in the session. session.list_files() lists them.",
        "There is no file 'a' in the session. %mlsvc files lists them.",
    ),
    "List yours with GET /api/Iris/V1.0/batch.": (
        "List yours with client.batches.list(NAME, VERSION).",
        "List yours with client.batches.list(NAME, VERSION).",
    ),
}


@pytest.mark.parametrize(("sentence", "shown"), SENTENCES.items())
def test_calls_of_rest_are_shown_in_the_words_of_the_place(
    sentence: str, shown: tuple[str, str]
) -> None:
    error = errors.api_error(404, sentence)
    assert (error.message, str(error), error.in_notebook()) == (sentence, *shown)
    assert error._render_traceback_() == [f"NotFound: {shown[1]}"]


def test_no_sentence_of_the_server_names_a_rest_call_here() -> None:
    root = Path(jupyter_mlsvc_server.__file__).parent
    call = re.compile(r"(GET|POST|PATCH|PUT|DELETE) /|with PATCH")
    sentences = [
        text
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for text in map(_text, node.args)
        if call.search(text)
    ]
    assert len(sentences) > 10
    for sentence in sentences:
        error = errors.api_error(400, sentence)
        for shown in (str(error), *error._render_traceback_()):
            assert not call.search(shown), shown


def _text(node: ast.expr) -> str:
    """A string in code, with an x for what it is filled with."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "x" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""
