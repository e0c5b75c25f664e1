"""The hint where confined code can't reach a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats.refused_paths import hint_at_refused_path


@pytest.mark.parametrize(
    "said",
    [
        "PermissionError: [Errno 13] Permission denied: '{path}'",
        "OSError: [Errno 13] Failed to open local file '{path}': Permission denied",
        "Error in file(): cannot open file '{path}': Permission denied",
    ],
)
def test_a_path_that_only_confinement_refuses_is_explained(tmp_path: Path, said: str) -> None:
    (file := tmp_path / "a.csv").touch()
    for path in (file, tmp_path / "new.csv", tmp_path):
        hint = hint_at_refused_path(said.format(path=path))
        assert f"may not reach {tmp_path}." in hint
        assert "Confinement.readable_paths" in hint


def test_r_tells_the_path_in_a_warning(tmp_path: Path) -> None:
    warning = f"cannot open file '{tmp_path}/a.csv': Permission denied"
    assert "may not reach" in hint_at_refused_path("Error: cannot open the connection", warning)
    assert hint_at_refused_path("Error: no data", warning) == ""


@pytest.mark.parametrize(
    "said",
    [
        "PermissionError: [Errno 13] Permission denied: '/nowhere/at/all'",
        "PermissionError: [Errno 13] Permission denied: 'relative'",
        "PermissionError: not for you",
        "ValueError: '/tmp'",
    ],
)
def test_other_errors_have_no_hint(said: str) -> None:
    assert hint_at_refused_path(said) == ""
