"""Bodies of answers, and of requests that do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlsvc.wire import arrow_stream
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition, WebServiceResult
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc.wire.values import input_decoder
from jupyter_mlsvc_server.formats.envelope import MARK
from jupyter_mlsvc_server.formats.problems import CodeProblem
from jupyter_mlsvc_server.formats.protocol import Kind, Service, without_notes
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.worker.codec import ServiceCodec, UnserializableOutput
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.scratch import ScratchDir

OUTPUTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_size=3,
)


def codec(work: Path, output_files: tuple[str, ...] = (), **inputs: str) -> ServiceCodec:
    definitions = [ParameterDefinition(name=name, type=kind) for name, kind in inputs.items()]
    return exchange_of(work, output_files, definitions)


def exchange_of(
    work: Path, output_files: tuple[str, ...], inputs: Sequence[ParameterDefinition]
) -> ServiceCodec:
    service = Service(
        spec=ServiceSpec(
            name=ServiceName("Iris"),
            version=Version("1.0"),
            revision_id="r1",
            inputs=tuple(inputs),
            output_files=output_files,
        ),
        manifest=None,
        blobs=None,
        work=str(work),
        memory_limit=0,
        console_limit=1000,
    )
    return ServiceCodec(service, input_decoder)


@pytest.mark.parametrize(
    "rest", [b"", b"\x00", b"\x01", b"\xff", b"\x02{", b"\x01\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("has_arrow", [True, False])
def test_a_caller_who_writes_an_envelope_is_told_that_it_is_no_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: bytes, has_arrow: bool
) -> None:
    monkeypatch.setattr(arrow_stream, "is_installed", lambda: has_arrow)
    with pytest.raises(InvalidInput):
        codec(tmp_path, x="data.frame").inputs(MARK + rest)


def test_inputs_with_a_default_may_be_left_out(tmp_path: Path) -> None:
    inputs = [
        ParameterDefinition(name="a", type="numeric"),
        ParameterDefinition(name="b", type="numeric", default=2),
        ParameterDefinition(name="c", type="vector", default=[1, 2]),
        ParameterDefinition(name="d", type="string", default=None),
        ParameterDefinition(name="e", type="string", default={"x": []}),
    ]
    found = exchange_of(tmp_path, (), inputs)
    for _ in range(2):
        given = found.inputs(b'{"a": 1}')
        assert list(given) == ["a", "b", "c", "d", "e"]
        assert (given["b"], given["c"].tolist(), given["d"]) == (2.0, [1, 2], None)
        assert given["e"] == {"x": []}
        given["c"][0] = 7  # what code does to its own is not seen by the next
        given["e"]["x"].append(1)
    assert found.inputs(b'{"a": 1, "b": null, "e": 5}')["e"] == 5
    assert math.isnan(found.inputs(b'{"a": 1, "b": null}')["b"])
    with pytest.raises(InvalidInput, match="Input 'a' \\(numeric\\) is missing"):
        found.inputs(b'{"b": 1}')
    with pytest.raises(InvalidInput, match="There is no input 'z'"):
        found.inputs(b'{"a": 1, "z": 1}')


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            ParameterDefinition(name="x", type="integer", default="a"),
            "the default of x must be a whole number (integer), got the string 'a'.",
        ),
        (
            ParameterDefinition(
                name="x", type="data.frame", columns=[ColumnDefinition(name="a", type="int46")]
            ),
            "the type 'int46', which is no dtype",
        ),
        (
            ParameterDefinition(
                name="x",
                type="data.frame",
                columns=[ColumnDefinition(name="a", type="Int64")],
                default={"a": ["one"]},
            ),
            'the default of x["a"][0] must be a whole number',
        ),
    ],
)
def test_invalid_definition_is_an_error_for_the_publisher(
    tmp_path: Path, definition: ParameterDefinition, message: str
) -> None:
    with pytest.raises(CodeProblem) as caught:
        exchange_of(tmp_path, (), [definition])
    assert message in str(caught.value)


MICRO, MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"


def test_members_of_a_request_are_named_as_python_has_them(tmp_path: Path) -> None:
    found = codec(tmp_path, (), **{MU: "numeric", "fit": "numeric", "x": "numeric"})
    for body in (
        f'{{"{MICRO}": 1.5, "\N{LATIN SMALL LIGATURE FI}t": 2.5, "x": 3.5}}',
        f'{{"{MU}": 1.5, "fit": 2.5, "\\uff58": 3.5}}',
    ):
        assert found.inputs(body.encode()) == {MU: 1.5, "fit": 2.5, "x": 3.5}


def test_a_name_in_two_spellings_is_given_twice(tmp_path: Path) -> None:
    found = codec(tmp_path, (), **{MU: "numeric"})
    with pytest.raises(InvalidInput, match="twice"):
        found.inputs(f'{{"{MICRO}": 1, "{MU}": 2}}'.encode())


def test_a_name_that_no_spelling_makes_right_is_named(tmp_path: Path) -> None:
    found = codec(tmp_path, (), **{MU: "numeric"})
    with pytest.raises(InvalidInput, match=f"Input '{MU}' \\(numeric\\) is missing"):
        found.inputs(b'{"m": 1}')


@pytest.fixture
def console() -> Console:
    return Console(1000)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScratchDir:
    monkeypatch.chdir(tmp_path)
    folder = ScratchDir(tmp_path / "scratch", (), lambda digest: tmp_path / digest)
    folder.create()
    return folder


def as_declared(outputs: dict[str, Any], **others: Any) -> bytes:
    """Write an answer member by member."""
    usual: dict[str, Any] = {
        "success": True,
        "error_message": "",
        "output_files": {},
        "console_output": "",
        "changed_files": [],
    }
    result = WebServiceResult(output_parameters=outputs, **usual | others)
    try:
        return msgspec.json.encode(result)
    except (OverflowError, UnicodeEncodeError):
        return json.dumps(msgspec.to_builtins(result)).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OUTPUTS)
def test_an_answer_has_the_bytes_of_its_members_whatever_the_outputs(
    tmp_path: Path, console: Console, scratch: ScratchDir, outputs: dict[str, Any]
) -> None:
    kind, body = without_notes(*codec(tmp_path).result("", outputs, console, scratch, []))
    assert kind is Kind.SUCCESS
    assert body == as_declared(outputs)


def test_an_answer_tells_what_was_printed_and_written(
    tmp_path: Path, console: Console, scratch: ScratchDir
) -> None:
    console.write("hello")
    printed = without_notes(*codec(tmp_path).result("", {"a": 1}, console, scratch, []))
    assert printed == (Kind.SUCCESS, as_declared({"a": 1}, console_output="hello"))
    console.begin()
    (scratch.directory / "note.txt").write_text("x")
    written = without_notes(
        *codec(tmp_path).result("", {"a": 1}, console, scratch, scratch.changed_files())
    )
    assert written == (Kind.SUCCESS, as_declared({"a": 1}, changed_files=["note.txt"]))


def test_an_answer_over_the_limit_is_a_failure_that_tells_both_sizes(
    tmp_path: Path, console: Console, scratch: ScratchDir
) -> None:
    own = codec(tmp_path)
    own.largest = len(as_declared({"a": "x" * 2000}))
    kind, body = without_notes(*own.result("", {"a": "x" * 2000}, console, scratch, []))
    assert (kind, body) == (Kind.SUCCESS, as_declared({"a": "x" * 2000}))
    kind, body = without_notes(*own.result("", {"a": "x" * 2001}, console, scratch, []))
    assert kind is Kind.FAILURE
    answer = json.loads(body)
    assert answer["outputParameters"] == {}
    assert answer["errorMessage"].startswith(
        f"The answer has {own.largest + 1:,} bytes, and may have {own.largest:,} here"
    )
    console.write("hello")
    kind, body = without_notes(*own.result("", {"a": "x" * 2001}, console, scratch, []))
    assert kind is Kind.FAILURE
    assert json.loads(body)["consoleOutput"] == "hello"
    # What was printed counts, too: of both, the message is what matters.
    own.largest = 400
    console.write("x" * 400)
    kind, body = without_notes(*own.result("", {}, console, scratch, ["note.txt"]))
    answer = json.loads(body)
    assert kind is Kind.FAILURE
    assert answer["errorMessage"].startswith("The answer has ")
    assert (answer["consoleOutput"], answer["changedFiles"]) == ("", [])


def test_a_file_over_the_limit_is_not_even_read(
    tmp_path: Path, console: Console, scratch: ScratchDir
) -> None:
    own = codec(tmp_path, ("large.bin",))
    own.largest = 10_000
    with (scratch.directory / "large.bin").open("wb") as file:
        file.truncate(2**40)
    kind, body = without_notes(*own.result("", {"a": 1}, console, scratch, scratch.changed_files()))
    answer = json.loads(body)
    assert kind is Kind.FAILURE
    assert answer["errorMessage"].startswith(f"The answer has {2**40 * 4 // 3:,} bytes")
    assert answer["changedFiles"] == ["large.bin"]


def test_answer_lists_the_first_of_many_problems(tmp_path: Path) -> None:
    own = codec(tmp_path, (), **{f"input_{i}": "numeric" for i in range(20)})
    body = json.dumps({f"other_{i}": 1 for i in range(5000)}).encode()
    with pytest.raises(InvalidInput) as caught:
        own.inputs(body)
    message = str(caught.value)
    assert message.startswith("Input 'input_0' (numeric) is missing.")
    assert message.endswith("There are 5,000 more problems.")
    answer = own.reject(InvalidInput("x" * 10**6))[1]
    assert len(answer) < 11_000


def test_a_long_message_is_cut(tmp_path: Path, console: Console, scratch: ScratchDir) -> None:
    _, body = without_notes(*codec(tmp_path).result("x" * 10**6, {}, console, scratch, []))
    assert json.loads(body)["errorMessage"] == "x" * 10_000 + "…"


def test_an_answer_names_declared_files_that_were_not_written(
    tmp_path: Path, console: Console, scratch: ScratchDir
) -> None:
    _, body = codec(tmp_path, ("plot.png",)).result(
        "", {}, console, scratch, scratch.changed_files()
    )
    assert body == as_declared({}, output_files={"plot.png": None})


def test_a_failure_has_its_message(tmp_path: Path, console: Console, scratch: ScratchDir) -> None:
    kind, body = without_notes(
        *codec(tmp_path).result("It broke.", {}, console, scratch, scratch.changed_files())
    )
    assert kind is Kind.FAILURE
    assert body == as_declared({}, success=False, error_message="It broke.")


def test_an_output_that_cannot_be_spelt_is_a_failure_that_names_it(
    tmp_path: Path, console: Console, scratch: ScratchDir
) -> None:
    result = codec(tmp_path).result("", {"y": 10**5000}, console, scratch, [])
    kind, body = without_notes(*result)
    assert kind is Kind.FAILURE
    assert b'"errorMessage":"Output y must be an integer of at most' in body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": 1}', "Input 'b' (vector) is missing."),
        (b"", "Input 'a' (numeric) is missing. Input 'b' (vector) is missing."),
        (
            b'{"a": "x", "b": 2}',
            "Input a must be a number (numeric), got the string 'x'. "
            "Input b must be an array (vector), got the number 2.",
        ),
        (
            b'{"a": 1, "c": 2}',
            "Input 'b' (vector) is missing. "
            "There is no input 'c'; the service takes a (numeric), b (vector).",
        ),
        (
            b'{"a": true, "b": [], "c": 2}',
            "Input a must be a number (numeric), got true. "
            "There is no input 'c'; the service takes a (numeric), b (vector).",
        ),
    ],
    ids=["missing", "empty", "both wrong", "another name", "wrong and one more"],
)
def test_answer_lists_all_problems_of_a_request(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        codec(tmp_path, a="numeric", b="vector").inputs(body)
    assert str(caught.value) == message


def test_items_of_a_stream_are_no_more_than_an_answer_may_have(tmp_path: Path) -> None:
    service_codec = codec(tmp_path)
    service_codec.largest = 100
    assert service_codec.item("y", "é") == '{"output":"y","value":"é"}'.encode()
    size = service_codec.require_size_of("x" * 40, 0)
    with pytest.raises(UnserializableOutput, match="answer_limit"):
        service_codec.require_size_of("x" * 40, size)
