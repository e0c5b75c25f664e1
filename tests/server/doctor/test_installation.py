"""The doctor on what is installed: both halves of the extension, and packages."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.doctor import installation
from jupyter_mlsvc_server.doctor.findings import Check, Finding, Setup, State

Look = Callable[[Check], Finding]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that Jupyter has."""
    monkeypatch.setattr(installation, "jupyter_config_path", lambda: [str(tmp_path)])
    monkeypatch.setattr(
        installation, "jupyter_path", lambda *parts: [str(tmp_path.joinpath(*parts))]
    )
    return tmp_path


@pytest.fixture
def look(folder: Path) -> Look:
    """A function that runs a check and gives its last finding."""
    return lambda check: [*check(Setup(data_dir=folder))][-1]


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("enabled", "state", "mend"),
    [
        (True, State.OK, ""),
        (False, State.FAIL, "jupyter server extension enable"),
        (None, State.FAIL, "pip install"),
    ],
)
def test_extension_has_to_be_enabled(
    folder: Path, look: Look, enabled: bool | None, state: State, mend: str
) -> None:
    named = {} if enabled is None else {"jupyter_mlsvc_server": enabled}
    write(folder / "jupyter_server_config.json", {"ServerApp": {"jpserver_extensions": named}})
    found = look(installation.check_extension)
    assert (found.state, mend in found.mend) == (state, True)


@pytest.mark.parametrize(
    ("version", "disabled", "state", "mend"),
    [
        (__version__, {}, State.OK, ""),
        (__version__, {"jupyter-mlsvc": True}, State.WARN, "jupyter labextension enable"),
        (__version__, ["jupyter-mlsvc"], State.WARN, "jupyter labextension enable"),
        (__version__, {"jupyter-mlsvc": False}, State.OK, ""),
        ("0.0.1", {}, State.FAIL, "Remove that folder"),
        (None, {}, State.WARN, "pip install"),
    ],
)
def test_side_panel_has_the_version_of_the_server(
    folder: Path, look: Look, version: str | None, disabled: object, state: State, mend: str
) -> None:
    if version is not None:
        write(folder / "labextensions/jupyter-mlsvc/package.json", {"version": version})
    write(folder / "labconfig/page_config.json", {"disabledExtensions": disabled})
    found = look(installation.check_side_panel)
    assert (found.state, mend in found.mend) == (state, True)


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("pytest>=1; extra == 'server'", None),
        ("pytest>=9999; extra == 'server'", "pytest"),
        ("no-such-package>=1", "is not installed"),
        ("no-such-package>=1; extra == 'test'", None),
        ("no-such-package>=1; python_version < '3'", None),
    ],
)
def test_packages_have_to_fit(
    look: Look, monkeypatch: pytest.MonkeyPatch, requirement: str, problem: str | None
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: [requirement])
    found = look(installation.check_versions)
    assert found.state is (State.FAIL if problem else State.OK)
    assert (problem or "") in found.message


def test_this_installation_is_whole() -> None:
    setup = Setup(data_dir=Path())
    assert {each.state for each in installation.check_versions(setup)} == {State.OK}


def test_code_of_another_version_than_was_installed_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "__version__", "9.9.9")
    first, *_ = installation.check_versions(Setup(data_dir=folder))
    assert first.state is State.FAIL
    assert "9.9.9" in first.message


@pytest.mark.parametrize(("bundle", "state"), [(None, State.WARN), (object(), State.OK)])
def test_pages_for_callers_are_there_once_they_are_built(
    look: Look, monkeypatch: pytest.MonkeyPatch, bundle: object, state: State
) -> None:
    monkeypatch.setattr(installation, "installed_bundle", lambda: bundle)
    found = look(installation.check_pages)
    assert found.state is state
    assert bool(found.mend) is (bundle is None)
