"""Environments are made anew where their list changed, and say in a line why they can't be."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from .environments import Environment, EnvironmentFailed, last_error


@pytest.fixture
def made(tmp_path: Path) -> Environment:
    """An environment without packages, so that no index is needed."""
    environment = Environment(tmp_path / "made", ["--no-deps"])
    # As make does at its end.
    environment.folder.mkdir()
    (environment.folder / ".made-of").write_text(environment.fingerprint)
    return environment


def test_an_environment_of_the_same_list_is_taken_as_it_is(made: Environment) -> None:
    assert Environment(made.folder, list(made.requirements)).is_made


@pytest.mark.parametrize(
    "requirements",
    [["--no-deps", "ray>=2"], [], ["--no-deps "]],
    ids=["one more", "one less", "another spelling"],
)
def test_an_environment_of_another_list_is_not_taken(
    made: Environment, requirements: list[str]
) -> None:
    assert not Environment(made.folder, requirements).is_made


def test_the_order_of_the_list_does_not_matter(tmp_path: Path) -> None:
    one, other = Environment(tmp_path, ["a", "b"]), Environment(tmp_path, ["b", "a"])
    assert one.fingerprint == other.fingerprint


def test_another_python_makes_another_environment(
    made: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    assert not made.is_made


@pytest.mark.process
def test_environment_that_cannot_be_installed_is_one_line_and_not_used(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.whl")
    broken = Environment(tmp_path / "broken", ["--no-index", nowhere])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "left.txt").write_text("of an older list")
    with pytest.raises(EnvironmentFailed, match=r"^[^\n]*nowhere\.whl[^\n]*$"):
        broken.make()
    assert not broken.is_made
    assert not (tmp_path / "broken" / "left.txt").exists()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        pytest.param(
            "Collecting ray\nERROR: No matching distribution found for ray\n\n"
            "[notice] A new release of pip: no error\n",
            "ERROR: No matching distribution found for ray",
            id="pip",
        ),
        pytest.param(
            "Traceback (most recent call last):\n  File 'x'\nValueError: no model\n",
            "ValueError: no model",
            id="traceback",
        ),
        pytest.param("Serving\nStopped\n", "Stopped", id="no error"),
        pytest.param("", "It ended without a word.", id="nothing"),
    ],
)
def test_the_line_that_says_why_is_found(output: str, line: str) -> None:
    assert last_error(output) == line
