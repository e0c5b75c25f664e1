"""Inputs of R sessions, as they are written for the helper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats import r_inputs


def write(tmp_path: Path, inputs: object) -> Path:
    """Write inputs to a file."""
    path = tmp_path / "inputs"
    path.write_text(json.dumps(inputs))
    return path


def test_typed_inputs_are_written_as_r_takes_them(tmp_path: Path) -> None:
    inputs = write(tmp_path, {"values": {"a": [1], "b": [2**60]}, "types": {"a": "numeric"}})
    r_inputs.main(str(inputs), str(tmp_path / "request"))
    assert json.loads((tmp_path / "request").read_bytes()) == {
        "op": "set",
        "values": {"a": 1, "b": [float(2**60)]},
        "types": {"a": "numeric"},
    }


def test_what_is_wrong_with_inputs_is_said(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    inputs = write(tmp_path, {"values": {"a": "two"}, "types": {"a": "numeric"}})
    r_inputs.main(str(inputs), str(tmp_path / "request"))
    assert capsysbinary.readouterr().out.startswith(b"a must be a number")
    assert not (tmp_path / "request").exists()


@pytest.mark.kernel
def test_a_name_that_is_taken_is_not_written_over(tmp_path: Path) -> None:
    inputs = write(tmp_path, {"values": {}})
    with pytest.raises(FileExistsError):
        r_inputs.write_apart(inputs, inputs)
