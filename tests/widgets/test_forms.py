"""A form to call a service with: what is in it, how it calls, and what it shows elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy
import pandas
import pytest

from jupyter_mlsvc import Client
from jupyter_mlsvc.errors import BadRequest
from jupyter_mlsvc.widgets import forms
from jupyter_mlsvc.widgets.forms import CallForm, form
from tests.client.fake import FakeTransport, answer, lines, problem, sent
from tests.widgets.comm import FakeComm

INPUTS: list[dict[str, Any]] = [
    {"name": "flag", "type": "logical"},
    {"name": "often", "type": "logical", "default": True},
    {"name": "row", "type": "vector"},
    {"name": "table", "type": "data.frame"},
]
ROW = {
    "name": "Iris",
    "version": "V1.0",
    "versionPublishedBy": "maria",
    "creationTime": "2026-11-23T13:38:07.1234560",
    "snapshotId": None,
    "runtimeType": "Python",
    "code": "secret = 1",
    "description": "Tells irises",
    "operationId": None,
    "inputParameterDefinitions": INPUTS,
    "outputParameterDefinitions": [{"name": "y", "type": "data.frame"}],
    "outputFileNames": [],
    "myPermissionOnService": "read/write",
}
RESULT = {
    "success": True,
    "errorMessage": "",
    "outputParameters": {"y": {"a": [1.5]}},
    "outputFiles": {},
    "consoleOutput": "",
    "changedFiles": [],
}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def made(transport: FakeTransport) -> Iterator[CallForm]:
    transport.answers = [answer([ROW])]
    client = Client("http://server:12800", "token", transport=transport)
    made = form(client.service("Iris", "V1.0"))
    transport.requests.clear()
    yield made
    made.close()


@pytest.fixture
def comm(made: CallForm) -> FakeComm:
    return FakeComm(made)


def test_a_switch_is_off_at_first_unless_the_service_says_otherwise(made: CallForm) -> None:
    assert made.inputs == {"flag": False}


def test_a_name_stands_for_the_newest_version(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport.answers = [answer([ROW, ROW | {"version": "V2.0"}])]
    client = Client("http://server:12800", "token", transport=transport)
    monkeypatch.setattr(forms, "connection_of", lambda: SimpleNamespace(client=client))
    made = form("Iris")
    assert "Iris V2.0" in repr(made)
    made.close()


def test_python_values_fill_the_fields(made: CallForm, comm: FakeComm) -> None:
    filled = made.fill(row=numpy.arange(2), table=pandas.DataFrame({"a": [1, None]}))
    assert filled is made
    assert comm.state["inputs"] == {"flag": False, "row": [0, 1], "table": {"a": [1, None]}}
    with pytest.raises(TypeError, match="Iris has no input 'weight'"):
        made.fill(weight=1)


def test_the_front_end_knows_the_service_and_none_of_its_code(made: CallForm) -> None:
    known = made.get_state()["_service"]
    assert known["inputParameterDefinitions"] == INPUTS
    assert not {"code", "initCode", "setupCode"} & known.keys()


def test_what_is_typed_is_sent_and_the_answer_lands_in_the_notebook(
    made: CallForm, comm: FakeComm, transport: FakeTransport
) -> None:
    comm.set(inputs={"flag": True})
    assert made.inputs == {"flag": True}
    transport.answers = [answer(RESULT)]
    comm.ask("POST", "api", "Iris", "V1.0", body=b'{"flag":true,"row":[1]}')
    assert comm.take() == ({"called": "r"}, [])
    content, [body] = comm.take()
    assert (content, json.loads(body)) == ({"id": "r"}, RESULT)
    assert sent(transport.requests[0]) == {"flag": True, "row": [1]}
    assert transport.requests[0].headers["Authorization"] == "Bearer token"
    assert made.result is not None
    assert isinstance(made.result.y, pandas.DataFrame)


def test_items_are_shown_as_they_come_and_the_whole_lands_in_the_notebook(
    made: CallForm, comm: FakeComm, transport: FakeTransport
) -> None:
    items = [{"output": "y", "value": {"a": [number]}} for number in (1.5, 2)]
    last = RESULT | {"outputParameters": {}}
    events = [("item", items[0]), ("item", items[1]), ("result", last)]
    written = [f"event: {name}\ndata: {json.dumps(part)}\n\n" for name, part in events]
    transport.answers = [lines(*(each.encode() for each in written))]
    comm.ask("POST", "api", "Iris", "V1.0", body=b"{}", lines=True)
    assert [json.loads(comm.take()[1][0]) for _ in range(3)] == [*items, last]
    assert [comm.take() for _ in range(2)] == [({"called": "r"}, []), ({"id": "r"}, [b""])]
    assert made.result is not None
    assert [*made.result.y["a"]] == [1.5, 2]
    comm.ask("GET", "last")
    kept = json.loads(comm.take()[1][0])["result"]
    assert kept["outputParameters"] == {"y": {"a": [1.5, 2]}}


def test_a_program_runs_it_without_a_front_end(made: CallForm, transport: FakeTransport) -> None:
    transport.answers = [answer(RESULT)]
    made.fill(row=[1]).run()
    assert made.wait(60) is made.result is not None
    assert sent(transport.requests[0]) == {"flag": False, "row": [1]}
    transport.answers = [problem(400, "Input row must be a vector.")]
    made.run()
    with pytest.raises(BadRequest, match="must be a vector"):
        made.wait(60)


def test_pages_that_are_loaded_later_see_how_the_last_call_went(
    made: CallForm, comm: FakeComm, transport: FakeTransport
) -> None:
    comm.ask("GET", "last")
    assert comm.take() == ({"id": "r"}, [b"null"])
    for reply, key in [(answer(RESULT), "result"), (problem(400, "No."), "problem")]:
        transport.answers = [reply]
        made.run()
        assert comm.take() == ({"called": ""}, [])
        comm.ask("GET", "last")
        last = json.loads(comm.take()[1][0])
        assert last.keys() == {"milliseconds", key}
    assert last["problem"]["message"] == "No."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ["api", "Iris", "V2.0"]),
        ("POST", ["api", "..", "keys"]),
        ("DELETE", ["services", "Iris", "V1.0"]),
        ("GET", ["user"]),
    ],
)
def test_it_asks_for_nothing_but_its_service(
    made: CallForm, comm: FakeComm, transport: FakeTransport, method: str, path: list[str]
) -> None:
    comm.ask(method, *path)
    content, _ = comm.take()
    assert "This widget may not ask for" in content["problem"]["message"]
    assert transport.requests == []


def test_it_is_readable_where_widgets_are_not(made: CallForm) -> None:
    assert repr(made) == (
        "<Form of service Iris V1.0(flag: logical, often: logical, row: vector, "
        "table: data.frame); where it is not shown, call the service: service(input=value)>"
    )
    assert set(made._repr_mimebundle_()[0]) == {"text/plain", "text/html"}


def test_closing_frees_it(made: CallForm, comm: FakeComm) -> None:
    made.close()
    made.close()
    assert comm.is_closed
    assert made.layout.comm is None
