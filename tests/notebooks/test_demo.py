"""The demo runs the walkthrough from nothing, says what it does, and leaves nothing running."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from unittest import mock

import psutil
import pytest
import requests

from jupyter_mlsvc_server.launch import hold_port
from tests.docs.tables import ROOT
from tests.processes import that_run_on

pytestmark = pytest.mark.timeout(300)

DEMO = ROOT / "notebooks" / "run_demo.py"


Demo = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demo with data and on ports of its own, which are nobody else's meanwhile."""
    with hold_port() as public, hold_port() as jupyter:
        own = {
            "MLSVC_DATA_DIR": str(tmp_path / "data"),
            "MLSVC_PORT": str(public.getsockname()[1]),
            "MLSVC_JUPYTER_PORT": str(jupyter.getsockname()[1]),
        }
        yield partial(start_process, tmp_path, own)


def start_process(folder: Path, own: Mapping[str, str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DEMO)],
        env={**without_settings(os.environ), **own, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )


def load_demo() -> ModuleType:
    """The demo as a module."""
    spec = importlib.util.spec_from_file_location("run_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that says nothing to the demo."""
    return {
        name: text
        for name, text in environment.items()
        if not name.startswith(("MLSVC_", "JUPYTER_")) and name != "ONCE"
    }


def output_of(demo: subprocess.Popen[str]) -> str:
    """All that it says until its end."""
    assert demo.stdout is not None
    with demo.stdout:
        text = demo.stdout.read()
    demo.wait(60)
    return text


def output_until(demo: subprocess.Popen[str], line: str) -> str:
    """What it says up to a line."""
    assert demo.stdout is not None
    said: list[str] = []
    for said_line in demo.stdout:
        said.append(said_line)
        if said_line.startswith(line):
            return "".join(said)
    raise AssertionError("".join(said))


def descendants(demo: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(demo.pid).children(recursive=True)


@pytest.mark.parametrize("is_passed", [True, False])
def test_a_demo_that_runs_once_ends_with_the_walkthrough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_passed: bool
) -> None:
    demo = load_demo()
    server = mock.MagicMock(log_file=tmp_path / "server.log")
    monkeypatch.setattr(demo, "ServerProcess", lambda **_: server)
    monkeypatch.setattr(demo, "Walkthrough", lambda _: mock.Mock(run=lambda _: is_passed))
    monkeypatch.setattr(demo, "DEMO_DIR", tmp_path)
    variables = {"MLSVC_DATA_DIR": str(tmp_path), "ONCE": "1"}
    # It would stay up until Ctrl-C, for which nobody is there.
    server.process.wait.side_effect = AssertionError("It waits.")
    assert demo._run(demo.Settings.read(variables)) == (0 if is_passed else 1)
    server.__exit__.assert_called_once()


@pytest.mark.kernel
@pytest.mark.slow
def test_the_demo_stays_up_until_ctrl_c_and_stops_everything(start_demo: Demo) -> None:
    demo = start_demo()
    said = output_until(demo, "Ctrl-C")
    assert "== Publish version V1.0" in said
    assert "iris_species = ['I. versicolor']" in said
    assert "The walkthrough passed" in said
    assert "Traceback" not in said
    started = descendants(demo)
    lab = re.search(r"http://\S+/lab/tree/\S+", said)
    assert lab is not None, said
    assert requests.get(lab[0], timeout=30).ok
    lines = said[said.index("TOKEN=$(") : said.index("Ctrl-C")]
    scored = subprocess.run(
        ["bash", "-c", lines], capture_output=True, text=True, check=False, timeout=60
    )
    assert '"iris_species":["I. versicolor"]' in scored.stdout, scored.stdout + scored.stderr
    demo.send_signal(signal.SIGINT)
    assert "Traceback" not in output_of(demo)
    assert demo.returncode == 0
    assert that_run_on(started) == []


def test_the_next_demo_knows_the_account_of_the_last(tmp_path: Path) -> None:
    demo = load_demo()
    variables = {"MLSVC_DATA_DIR": str(tmp_path)}
    first = demo.Settings.read(variables)
    demo.keep_password(first)
    second = demo.Settings.read(variables)
    assert second.admin_password == first.admin_password
    assert (tmp_path / "demo-password").stat().st_mode & 0o777 == 0o600


def test_a_password_that_was_given_is_not_kept(tmp_path: Path) -> None:
    demo = load_demo()
    settings = demo.Settings.read(
        {"MLSVC_DATA_DIR": str(tmp_path), "MLSVC_ADMIN_PASSWORD": "correct horse"}
    )
    demo.keep_password(settings)
    assert list(tmp_path.iterdir()) == []
    assert "correct horse" not in repr(settings)


@pytest.mark.process
@pytest.mark.parametrize("variable", ["MLSVC_PORT", "MLSVC_JUPYTER_PORT"])
def test_taken_port_is_one_sentence(start_demo: Demo, variable: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        demo = start_demo(**{variable: port})
        said = output_of(demo)
    assert demo.returncode == 1
    assert said == (
        f"Port {port} is taken by another program. Stop it, or choose another port: "
        f"make demo {variable}={int(port) + 1}\n"
    )


@pytest.mark.process
def test_invalid_port_is_one_sentence(start_demo: Demo) -> None:
    demo = start_demo(MLSVC_PORT="http")
    assert output_of(demo) == "MLSVC_PORT is 'http'; it has to be a port number, 1 to 65535.\n"
    assert demo.returncode == 1


@pytest.mark.kernel
def test_a_server_that_refuses_to_start_says_why(start_demo: Demo) -> None:
    demo = start_demo(MLSVC_ADMIN_PASSWORD="short")
    said = output_of(demo)
    assert demo.returncode == 1
    assert "Traceback" not in said
    assert said.splitlines()[1:] == [
        "jupyter-mlsvc does not start: MLSVC_ADMIN_PASSWORD gives a password that does not do. "
        "A password has 8 to 1024 characters."
    ]
