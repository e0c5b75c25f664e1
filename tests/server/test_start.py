"""Servers that cannot start as they are told."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlsvc_server.cli import main
from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.formats.host import HOSTED_OPTION
from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.server import raise_descriptor_limit, run_loop

pytestmark = pytest.mark.kernel


def run_server(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Start a server for programs alone that is to end by itself; tell how, and what it said."""
    ended = subprocess.run(
        [Path(sys.executable).with_name("jupyter-mlsvc"), "serve", *options],
        env={
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(folder),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "MLSVC_DATA_DIR": str(folder / "data"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("port", ["http", "99999", "-1"])
def test_a_port_that_is_no_port_ends_the_start_with_a_sentence(tmp_path: Path, port: str) -> None:
    status, said = run_server(tmp_path, MLSVC_PORT=port)
    assert status == 1
    assert said.splitlines()[-1].endswith(
        f"MLSVC_PORT is {port!r}; it has to be a port number, 0 to 65535."
    )
    assert "Traceback" not in said


def test_other_machines_are_not_served_without_tls(tmp_path: Path) -> None:
    status, said = run_server(tmp_path, MLSVC_IP="0.0.0.0", MLSVC_PORT="0")
    assert status == 1
    assert "is not served at 0.0.0.0:0 without TLS" in said.splitlines()[-1]
    assert "Set MlsvcApp.public_certfile and public_keyfile. Or set" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_certificate_that_is_not_there_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    option = f"--MlsvcApp.public_certfile={tmp_path / 'none.pem'}"
    status, said = run_server(tmp_path, option, MLSVC_PORT="0")
    assert status == 1
    assert "none.pem cannot be used with public_keyfile: No such file" in said.splitlines()[-1]


def test_a_data_folder_that_cannot_be_made_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    status, said = run_server(tmp_path, MLSVC_DATA_DIR=str(folder))
    assert status == 1
    assert said.splitlines()[-1].endswith(f"data_dir {folder} cannot be used: Not a directory.")
    assert "Traceback" not in said


def test_configuration_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    status, said = run_server(tmp_path, "--config", str(tmp_path / "none.py"), MLSVC_PORT="0")
    assert status == 1
    assert said.splitlines()[-1].endswith(f"There is no configuration file {tmp_path / 'none.py'}.")
    assert "Traceback" not in said


def test_a_port_that_is_in_use_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = run_server(tmp_path, MLSVC_PORT=str(port))
    assert status == 1
    assert f"cannot be served at 127.0.0.1:{port} (Address already in use)" in said
    assert "MLSVC_PORT" in said
    assert "Traceback" not in said


def test_a_database_that_is_lost_ends_the_start_until_the_folder_is_adopted(
    tmp_path: Path,
) -> None:
    blob = tmp_path / "data" / "blobs" / "ab" / ("ab" * 32)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"what a lost database refers to")
    status, said = run_server(tmp_path, MLSVC_PORT="0")
    assert status == 1
    assert "it is empty, and the data folder holds one thing" in said.splitlines()[-1]
    assert "'jupyter mlsvc adopt'" in said
    assert "Traceback" not in said
    adopted = subprocess.run(
        [Path(sys.executable).with_name("jupyter-mlsvc"), "adopt"],
        env={**os.environ, "MLSVC_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (adopted.returncode, adopted.stderr) == (0, "")
    assert "now belongs to the data folder" in adopted.stdout
    options = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
    with ServerProcess(data_dir=tmp_path / "data", options=options) as server:
        refused = subprocess.run(
            [Path(sys.executable).with_name("jupyter-mlsvc"), "adopt"],
            env={**os.environ, "MLSVC_DATA_DIR": str(server.data_dir)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 1
        assert "Stop it first." in refused.stderr
    assert blob.exists()


def test_a_data_folder_has_one_server(tmp_path: Path) -> None:
    options = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
    with ServerProcess(data_dir=tmp_path / "data", options=options) as first:
        status, said = run_server(tmp_path, MLSVC_PORT="0")
        hosted = subprocess.run(
            [sys.executable, "-m", "jupyter_mlsvc_server", "serve", HOSTED_OPTION],
            env={**os.environ, "MLSVC_DATA_DIR": str(first.data_dir)},
            input="{}",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    # Its host joins the first, so nothing is wrong.
    assert hosted.returncode == 75
    assert "[C " not in hosted.stderr
    assert first.log_file.read_text().splitlines()[-1].endswith("sessions and workers end")
    assert status == 75
    assert f"another server uses the data folder {tmp_path / 'data'}." in said
    assert "Traceback" not in said


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    status, said = run_server(tmp_path, "sevre")
    assert status == 2
    assert "'sevre'" in said


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        raise_descriptor_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert raised == (2**20 if hard == resource.RLIM_INFINITY else min(hard, 2**20), hard)


@pytest.mark.parametrize(("is_stopping", "word"), [(False, "starting"), (True, "stopping")])
def test_a_server_that_does_not_serve_says_whether_it_starts_or_stops(
    is_stopping: bool, word: str
) -> None:
    refusal = NotServing(is_stopping=is_stopping)
    assert (refusal.status, word in str(refusal)) == (503, True)


def test_options_of_jupyter_are_taken(tmp_path: Path) -> None:
    options = ["--no-browser", "--allow-root"]
    with ServerProcess(data_dir=tmp_path / "data", options=options) as server:
        assert server.process is not None


@pytest.mark.parametrize("options", [[], [HOSTED_OPTION]])
def test_a_server_half_that_is_not_installed_is_said(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in sys.modules if each.startswith("jupyter_mlsvc_server.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jupyter_core.application", None)
    monkeypatch.setattr(sys, "argv", ["jupyter-mlsvc", "serve", *options])
    with pytest.raises(SystemExit, match=r"pip install 'jupyter-mlsvc\[server\]'"):
        main()
    told = capsys.readouterr().out
    assert ("pip install" in json.loads(told)["message"]) if options else not told


def test_threads_give_way_to_calls_at_once() -> None:
    async def interval() -> float:
        return sys.getswitchinterval()

    before = sys.getswitchinterval()
    try:
        assert run_loop(interval()) <= 0.0001
    finally:
        sys.setswitchinterval(before)
