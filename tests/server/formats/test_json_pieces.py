from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc.wire.models import ExecuteResponse, WorkspaceObject
from jupyter_mlsvc_server.formats.json_pieces import json_pieces, members

MAX_PIECE = 2**17


def response_of(console: str, *values: Any) -> ExecuteResponse:
    outputs = [WorkspaceObject(name=f"v{number}", value=each) for number, each in enumerate(values)]
    return ExecuteResponse(
        success=True,
        error_message="",
        output_parameters=outputs,
        console_output=console,
        changed_files=["a"],
    )


@pytest.mark.parametrize("console", ["", "short", 'x"\n' * 100_000, "\N{SNOWMAN}\0" * 70_000])
@pytest.mark.parametrize("values", [[], [1], [[1], {"b": "c"}]])
def test_pieces_are_the_json_of_the_whole(console: str, values: list[Any]) -> None:
    response = response_of(console, *values)
    assert json.loads(b"".join(json_pieces(response))) == msgspec.to_builtins(response)


def test_what_is_json_already_is_taken_over_in_pieces() -> None:
    value = list(range(100_000))
    response = response_of("", msgspec.Raw(msgspec.json.encode(value)), 2**70)
    pieces = list(json_pieces({"type": "result", **members(response)}))
    read = json.loads(b"".join(pieces))
    assert [each["value"] for each in read["outputParameters"]] == [value, 2**70]
    assert list(read) == ["type", *msgspec.to_builtins(response_of(""))]
    assert all(2**16 <= len(each) <= MAX_PIECE for each in pieces[:-1])


def test_a_small_answer_is_one_piece() -> None:
    assert len(list(json_pieces(response_of("hi")))) == 1
