from __future__ import annotations

import base64
import gc
import inspect
from typing import Any

import msgspec
import pandas
import polars
import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.parameters import definitions
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.transport import ApiResponse
from jupyter_mlsvc.errors import (
    ApiError,
    ConnectionFailed,
    InvalidInput,
    NotFound,
    ServiceFailed,
)
from jupyter_mlsvc.widgets.forms import CallForm
from jupyter_mlsvc.wire.models import ParameterDefinition

from .fake import FakeTransport, answer, sent

ROW = {
    "name": "Iris",
    "version": "V1.0",
    "versionPublishedBy": "maria",
    "creationTime": "2026-11-23T13:38:07.1234560",
    "snapshotId": "s1",
    "runtimeType": "Python",
    "initCode": None,
    "code": "iris_species = 1",
    "description": "<script>alert(1)</script>",
    "operationId": None,
    "inputParameterDefinitions": [{"name": "flower_data", "type": "vector"}],
    "outputParameterDefinitions": [{"name": "iris_species", "type": "vector"}],
    "outputFileNames": [],
    "myPermissionOnService": "read/write",
}
RESULT = {
    "success": True,
    "errorMessage": "",
    "outputParameters": {"iris_species": ["I. versicolor"]},
    "outputFiles": {"plot.png": base64.b64encode(b"png").decode(), "other.txt": None},
    "consoleOutput": "",
    "changedFiles": [],
}


@pytest.fixture
def service(client: Client, transport: FakeTransport) -> Service:
    transport.answers = [answer([ROW])]
    found = client.service("Iris", "V1.0")
    transport.requests.clear()
    return found


def body(transport: FakeTransport, index: int = 0) -> object:
    return sent(transport.requests[index])


def test_publish_sends_what_is_given_and_answers_the_service(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer("Published.", 201), answer([ROW])]
    service = client.services.publish(
        "Iris",
        "V1.0",
        code="iris_species = 1",
        inputs={"flower_data": "vector"},
        outputs=["iris_species:vector"],
        snapshot_id="s1",
    )
    assert body(transport) == {
        "snapshotId": "s1",
        "code": "iris_species = 1",
        "inputParameterDefinitions": [{"name": "flower_data", "type": "vector"}],
        "outputParameterDefinitions": [{"name": "iris_species", "type": "vector"}],
        "runtimeType": "Python",
        "outputFileNames": [],
    }
    assert (service.name, service.version, service.may_change) == ("Iris", "V1.0", True)


def test_update_leaves_out_what_stays(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer("Changed."), answer([ROW])]
    client.services.update("Iris", "V1.0", description="better", inputs=())
    assert transport.requests[0].method == "PATCH"
    assert body(transport) == {
        "description": "better",
        "inputParameterDefinitions": [],
    }


def test_without_a_version_the_newest_is_found(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([ROW, {**ROW, "version": "V2.0"}])]
    assert client.service("Iris").version == "V2.0"
    assert transport.requests[0].path == "/services/Iris"


def test_no_version_at_all_is_not_found(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([]), answer([{**ROW, "name": "Irises"}])]
    with pytest.raises(NotFound, match=r"There is no service 'Iris'. Did you mean 'Irises'\?"):
        client.service("Iris")


def test_a_service_is_called_like_a_function(service: Service, transport: FakeTransport) -> None:
    transport.answers = [answer(RESULT)]
    result = service(flower_data=[7, 3.2, 4.7, 1.4])
    assert transport.requests[0].path == "/api/Iris/V1.0"
    assert body(transport) == {"flower_data": [7, 3.2, 4.7, 1.4]}
    assert result.iris_species == ["I. versicolor"]
    assert result["iris_species"] == result.output("iris_species") == ["I. versicolor"]
    assert dict(result) == result.outputs


def test_values_without_a_name_go_to_the_inputs_in_order(
    service: Service, transport: FakeTransport
) -> None:
    transport.answers = [answer(RESULT)]
    service([1, 2])
    assert body(transport) == {"flower_data": [1, 2]}


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        (([1], [2]), {}, "takes 1 inputs, got 2"),
        (([1],), {"flower_data": 1}, "two values for 'flower_data'"),
    ],
)
def test_too_many_values_are_a_type_error(
    service: Service, values: tuple[object, ...], named: dict[str, object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        service(*values, **named)


def test_help_shows_the_inputs(service: Service) -> None:
    assert str(inspect.signature(service)).startswith("(flower_data: 'vector')")


def test_inputs_with_names_of_r_do_not_break_help(client: Client, transport: FakeTransport) -> None:
    names = ["n", "new.cars", "lambda"]
    rows = [{"name": name, "type": "numeric"} for name in names]
    transport.answers = [answer([{**ROW, "runtimeType": "R", "inputParameterDefinitions": rows}])]
    shown = str(inspect.signature(client.service("Cars", "V1.0")))
    assert shown.startswith("(n: 'numeric', **_inputs)")


def test_help_shows_what_may_be_left_out(client: Client, transport: FakeTransport) -> None:
    rows = [
        {"name": "a", "type": "numeric", "default": 1},
        {"name": "b", "type": "numeric"},
        {"name": "c", "type": "string", "default": None},
    ]
    transport.answers = [answer([{**ROW, "inputParameterDefinitions": rows}])]
    shown = str(inspect.signature(client.service("Cars", "V1.0")))
    assert shown.startswith("(a: 'numeric', b: 'numeric', c: 'string' = None)")


def test_frames_travel_by_column(service: Service, transport: FakeTransport) -> None:
    transport.answers = [answer(RESULT)]
    service.consume(flower_data=pandas.DataFrame({"a": [1, 2], "b": ["x", None]}))
    assert body(transport) == {"flower_data": {"a": [1, 2], "b": ["x", None]}}


@pytest.mark.parametrize(
    ("value", "sent_as"),
    [
        (pandas.Series([1, 2], name="a"), {"a": [1, 2]}),
        (polars.Series("a", [1, None]), {"a": [1, None]}),
        (pandas.DataFrame({"a": [1]}), {"a": [1]}),
        # What has no name, and a row of a frame, can't be told to be a column.
        (pandas.Series([1, 2]), [1, 2]),
        (pandas.Series({"a": 1, "b": 2}, name="first"), [1, 2]),
    ],
    ids=["pandas", "polars", "a frame", "without a name", "a row"],
)
def test_a_named_column_is_a_table_where_one_is_declared(
    client: Client, transport: FakeTransport, value: Any, sent_as: object
) -> None:
    rows = [{"name": "loans", "type": "data.frame"}, {"name": "ages", "type": "vector"}]
    transport.answers = [answer([{**ROW, "inputParameterDefinitions": rows}]), answer(RESULT)]
    client.service("Iris", "V1.0").call({"loans": value, "ages": pandas.Series([3], name="age")})
    assert body(transport, 1) == {"loans": sent_as, "ages": [3]}


def test_a_value_that_json_cannot_carry_is_named(
    service: Service, transport: FakeTransport
) -> None:
    with pytest.raises(InvalidInput, match="flower_data must be something that JSON can carry"):
        service(flower_data=object())
    assert transport.requests == []


def test_files_come_as_bytes_and_one_that_was_not_written_as_none(
    service: Service, transport: FakeTransport
) -> None:
    transport.answers = [answer(RESULT)]
    assert service().files == {"plot.png": b"png", "other.txt": None}


def test_code_that_raises_raises_here(service: Service, transport: FakeTransport) -> None:
    failed = {**RESULT, "success": False, "errorMessage": "ValueError: bad", "consoleOutput": "x\n"}
    transport.answers = [answer(failed)]
    with pytest.raises(ServiceFailed, match=r"service Iris V1\.0 raised ValueError: bad"):
        service()


def test_an_unknown_output_is_named_with_the_known_ones(
    service: Service, transport: FakeTransport
) -> None:
    transport.answers = [answer(RESULT)]
    with pytest.raises(KeyError, match="no output 'species'; it has: iris_species"):
        service().output("species")


def test_a_result_shows_its_outputs(service: Service, transport: FakeTransport) -> None:
    transport.answers = [answer({**RESULT, "consoleOutput": "thinking\n"})]
    shown = repr(service())
    assert shown.splitlines()[:2] == ["thinking", "iris_species = ['I. versicolor']"]
    assert "plot.png = <file, 3 B>" in shown


TABLE: dict[str, Any] = {"a": [1, 2], "<b>": ["x", None]}


@pytest.fixture
def tables(client: Client, transport: FakeTransport) -> ServiceResult:
    """A result with a table, a dict of no declared type, and a table that is missing."""
    outputs = {"table": TABLE, "other": {"a": [1]}, "none": None, "number": 1}
    kinds = {"table": "data.frame", "other": "string", "none": "data.frame", "number": "numeric"}
    transport.answers = [answer({**RESULT, "outputParameters": outputs})]
    return client.services.consume("Iris", "V1.0", outputs=definitions(kinds))


def test_outputs_that_are_declared_tables_are_frames(tables: ServiceResult) -> None:
    pandas.testing.assert_frame_equal(tables.table, pandas.DataFrame(TABLE))
    pandas.testing.assert_frame_equal(tables["table"], tables.output("table"))
    assert tables.other == {"a": [1]}
    assert tables.none is None
    assert tables.outputs["table"] == TABLE


def test_whole_numbers_beside_a_missing_one_are_exact_in_a_frame(
    client: Client, transport: FakeTransport
) -> None:
    outputs = {"table": {"id": [2**60 + 1, None], "n": [1, None]}}
    transport.answers = [answer({**RESULT, "outputParameters": outputs})]
    result = client.services.consume("Iris", "1", outputs=definitions({"table": "data.frame"}))
    assert result.table["id"].tolist() == [2**60 + 1, None]
    assert result.table["n"].dtype == "float64"


def test_a_frame_is_shown_as_a_table(tables: ServiceResult) -> None:
    shown = repr(tables)
    assert "number = 1" in shown
    assert "table:\n   a  <b>\n0  1    x" in shown
    page = tables._repr_html_()
    assert "<strong>table</strong></p><table" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_long_frame_is_shown_in_part(client: Client, transport: FakeTransport) -> None:
    outputs = {"table": {"a": list(range(1000))}}
    transport.answers = [answer({**RESULT, "outputParameters": outputs})]
    result = client.services.consume("Iris", "1", outputs=definitions({"table": "data.frame"}))
    assert len(result.table) == 1000
    assert len(repr(result).splitlines()) < 30
    assert "1000 rows" in repr(result)
    assert "1000 rows" in result._repr_html_()


@pytest.mark.parametrize("text", ["\ud800", ["a", "\udfff"], {"a": ["\ud800"]}])
def test_half_a_character_is_named_before_anything_is_sent(client: Client, text: object) -> None:
    with pytest.raises(InvalidInput, match=r"words.* must be text"):
        client.services.consume("Iris", "1", {"n": 1, "words": text})


def test_without_a_declaration_outputs_stay_as_json_gave_them(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer({**RESULT, "outputParameters": {"table": TABLE}})]
    assert client.services.consume("Iris", "V1.0").table == TABLE


def test_a_service_shows_where_programs_call_it(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://localhost:8888/user/ana/mlsvc")
    monkeypatch.setenv("MLSVC_PUBLIC_URL", "http://localhost:12800")
    transport.answers = [answer([ROW]), answer([ROW])]
    here = Client(token="t", transport=transport).service("Iris", "V1.0")
    assert here.url == "http://localhost:12800/api/Iris/V1.0"
    assert here.url in repr(here)
    # Of another server it is only known how we reach it.
    there = Client("http://elsewhere:1/lab", token="t", transport=transport).service("Iris", "V1.0")
    assert there.url == "http://elsewhere:1/lab/api/Iris/V1.0"


def test_code_is_shown_as_code(service: Service) -> None:
    page = service._repr_html_()
    code = page.index("<th", page.index(">outputs<"))
    assert "font-family:monospace" in page[code : page.index("</td>", code)]
    assert page.count("font-family:monospace") == 1


def test_html_of_other_people_is_escaped(
    client: Client, transport: FakeTransport, service: Service
) -> None:
    transport.answers = [answer([ROW])]
    assert "<script>" not in service._repr_html_()
    assert "<script>" not in client.services.list()._repr_html_()


def test_a_swagger_document_is_a_dict_that_shows_itself_indented(
    service: Service, transport: FakeTransport
) -> None:
    transport.answers = [answer({"swagger": "2.0"})]
    document = service.swagger()
    assert document["swagger"] == "2.0"
    assert repr(document) == '{\n  "swagger": "2.0"\n}'
    assert transport.requests[0].path == "/api/Iris/V1.0/swagger.json"


DECLARED = [
    ("a:vector", [("a", "vector")]),
    (["a:vector", "b"], [("a", "vector"), ("b", "")]),
    (
        {"a": float, "b": int, "c": str, "d": bool, "e": list},
        [
            ("a", "numeric"),
            ("b", "integer"),
            ("c", "character"),
            ("d", "logical"),
            ("e", "vector"),
        ],
    ),
    ([ParameterDefinition(name="a", type="string")], [("a", "string")]),
]


@pytest.mark.parametrize(("given", "expected"), DECLARED)
def test_parameters_are_declared_in_several_ways(given: Any, expected: Any) -> None:
    assert [(item.name, item.type) for item in definitions(given)] == expected


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["a:vector", "a:matrix"], InvalidInput, "'a' is declared twice"),
        ({"a": object}, ValueError, "stands for none of the types"),
        (["two words:vector"], InvalidInput, "no valid name"),
    ],
)
def test_wrong_declarations_are_refused(given: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        definitions(given)


def test_the_form_of_a_service_is_deprecated_and_made_all_the_same(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [answer([ROW])]
    service = client.service("Iris", "V1.0")
    with pytest.deprecated_call(match=r"jupyter_mlsvc\.form\(service"):
        made = service.form()
    assert isinstance(made, CallForm)


ITEMS = (
    b'event: item\ndata: {"output":"iris_species","value":1}\n\n'
    b': keep-alive\n\nevent: item\ndata: {"output":"iris_species",',
    b'"value":"b"}\n\n',
)
LAST = b"event: result\ndata: %b\n\n"


def streamed(*chunks: bytes) -> tuple[ApiResponse, list[int]]:
    """An answer in pieces, and what is put down when it is closed."""
    closed: list[int] = []
    headers = {"X-Request-Id": "r1"}
    return ApiResponse(200, headers, iter(chunks), lambda: closed.append(1)), closed


def test_items_of_an_answer_are_iterated_over(service: Service, transport: FakeTransport) -> None:
    result = {**RESULT, "outputParameters": {"other": 2}}
    answer_, closed = streamed(*ITEMS, LAST % msgspec.json.encode(result))
    transport.answers = [answer_]
    items = service.stream([7, 3.2])
    assert transport.requests[-1].headers["Accept"] == "text/event-stream"
    assert [*items] == [1, "b"]
    assert items.output == "iris_species"
    assert items.result is not None
    assert items.result.other == 2
    assert closed


def test_stream_raises_what_ends_it(service: Service, transport: FakeTransport) -> None:
    failed = {**RESULT, "success": False, "errorMessage": "ValueError: no"}
    stopped = {"message": "It took too long.", "exceptionType": "SomeException"}
    for last, error in (
        (LAST % msgspec.json.encode(failed), ServiceFailed),
        (b"event: error\ndata: %b\n\n" % msgspec.json.encode(stopped), ApiError),
        (b"", ConnectionFailed),
    ):
        answer_, closed = streamed(*ITEMS, last)
        transport.answers = [answer_]
        items = service.stream([7])
        assert [next(items), next(items)] == [1, "b"]
        with pytest.raises(error):
            next(items)
        assert closed


def test_leaving_a_stream_closes_its_connection(service: Service, transport: FakeTransport) -> None:
    answer_, closed = streamed(*ITEMS)
    transport.answers = [answer_]
    for item in service.stream([7]):
        assert item == 1
        break
    gc.collect()
    assert closed
