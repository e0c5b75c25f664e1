"""What the headers of a call say of Arrow."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE as ARROW
from jupyter_mlsvc_server.api import arrow
from jupyter_mlsvc_server.api.arrow import form_of
from jupyter_mlsvc_server.errors import NotAcceptable, UnsupportedMediaType
from jupyter_mlsvc_server.formats.envelope import Form
from tests.server.api.stub import Engine, make_score

NEITHER = Form(0)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", NEITHER),
        ("*/*", NEITHER),
        (ARROW, Form.ARROW_OUT),
        (ARROW.upper(), Form.ARROW_OUT),
        (f"{ARROW}, application/json;q=0.9", Form.ARROW_OUT),
        (f"application/json, {ARROW}", Form.ARROW_OUT),
        (f"application/json, {ARROW};q=0.5", NEITHER),
        (f"{ARROW};q=0", NEITHER),
    ],
)
def test_the_answer_is_a_stream_where_that_is_wanted_as_much_as_json(
    accept: str, form: Form
) -> None:
    assert form_of(Headers({"accept": accept})) == form


@pytest.mark.parametrize("kind", [ARROW, f"{ARROW}; charset=x", ARROW.upper()])
def test_the_body_is_what_it_says(kind: str) -> None:
    assert form_of(Headers({"content-type": kind})) == Form.ARROW_IN
    assert form_of(Headers({"content-type": "application/json"})) == NEITHER


def test_without_pyarrow_the_caller_learns_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "is_installed", lambda: False)
    with pytest.raises(UnsupportedMediaType, match=r"install jupyter-mlsvc\[arrow\], or send JSON"):
        form_of(Headers({"content-type": ARROW}))
    with pytest.raises(NotAcceptable, match="or accept application/json"):
        form_of(Headers({"accept": ARROW}))
    assert form_of(Headers({"accept": f"{ARROW}, */*;q=0.1"})) == NEITHER


@pytest.mark.parametrize("name", ["Content-Type", "Accept"])
def test_such_a_call_goes_through_the_application(name: str) -> None:
    head = [(b"host", b"x"), (b"authorization", b"Bearer known"), (b"content-length", b"2")]
    score = make_score(Engine())
    assert score.read(b"/api/a/1", head) is not None
    more = (name.lower().encode(), ARROW.encode())
    assert score.read(b"/api/a/1", [*head, more]) is None
