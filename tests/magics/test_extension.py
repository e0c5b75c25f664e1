from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.magics.connection import MlsvcConnection

from .conftest import ShownError

OURS = {"remote_exec", "mlsvc", "publish", "consume"}


def magics_of(shell: InteractiveShell) -> set[str]:
    tables = shell.magics_manager.lsmagic()
    return (set(tables["line"]) | set(tables["cell"])) & OURS


def test_loading_brings_all_magics(shell: InteractiveShell) -> None:
    assert magics_of(shell) == OURS
    assert "remote_exec" in shell.magics_manager.lsmagic()["cell"]
    assert "publish" in shell.magics_manager.lsmagic()["cell"]


def test_loading_twice_is_harmless(shell: InteractiveShell) -> None:
    import jupyter_mlsvc

    before = len(shell.configurables), len(shell.Completer.custom_matchers)
    jupyter_mlsvc.load_ipython_extension(shell)
    assert (len(shell.configurables), len(shell.Completer.custom_matchers)) == before


def test_unloading_takes_everything_away(bare_shell: InteractiveShell) -> None:
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc")
    bare_shell.run_line_magic("unload_ext", "jupyter_mlsvc")
    assert magics_of(bare_shell) == set()
    kept = [*bare_shell.configurables, *bare_shell.magics_manager.registry.values()]
    assert not any(type(item).__module__.startswith("jupyter_mlsvc") for item in kept)
    assert bare_shell.Completer.custom_matchers == []


def test_it_can_be_loaded_again(shell: InteractiveShell) -> None:
    shell.run_line_magic("reload_ext", "jupyter_mlsvc")
    assert magics_of(shell) == OURS


def test_loading_makes_no_connection(
    bare_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setenv("MLSVC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLSVC_TOKEN", "token")
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc")
    assert magics_of(bare_shell) == OURS


def test_loading_brings_no_heavy_library(bare_shell: InteractiveShell) -> None:
    before = set(sys.modules)
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc")
    assert not {"pandas", "sklearn", "sqlalchemy"} & (set(sys.modules) - before)


def test_settings_are_reached_by_config(
    shell: InteractiveShell, connection: MlsvcConnection
) -> None:
    shell.run_line_magic("config", "MlsvcConnection.default_session = 'mine'")
    assert connection.default_session == "mine"


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_magic_shows_its_options(shell: InteractiveShell, name: str) -> None:
    info = shell.object_inspect(f"%{name}")
    assert info["found"]
    assert f"%{name}" in info["docstring"]


def test_help_lists_the_subcommands(shell: InteractiveShell) -> None:
    text = repr(shell.run_line_magic("mlsvc", "help"))
    for command in (
        "login",
        "status",
        "sessions",
        "session",
        "snapshot",
        "snapshots",
        "load",
        "put",
        "get",
        "upload",
        "download",
        "files",
        "history",
        "console",
        "diff",
        "service",
        "update",
    ):
        assert f"%mlsvc {command}" in text


MISTAKES = {
    "%mlsvc nonsense": "UsageError: There is no %mlsvc nonsense.",
    "%mlsvc service": "UsageError: the following arguments are required: name.",
    "%mlsvc login http://localhost:1": "UsageError: Give your name with -u NAME, or --oidc",
    "%mlsvc login http://localhost:1 -u me --oidc": "UsageError: --oidc asks for no name",
    "%mlsvc update Iris V1.0": "UsageError: Nothing to change.",
    "%mlsvc login https://x -u me --password-file /nowhere": (
        "UsageError: The password file can't be read:"
    ),
    "%mlsvc put missing": "UsageError: There is no variable 'missing' here to send.",
    "%mlsvc get a-b": "UsageError: 'a-b' is no valid name",
    "%mlsvc upload /nowhere/x.csv": "UsageError: There is no file '/nowhere/x.csv' here.",
    "%mlsvc upload /tmp": "UsageError: '/tmp' is no file; only files can be uploaded.",
    "%mlsvc download ../x": "UsageError: '../x' is no valid file name",
    "%mlsvc snapshot --upload a --delete": (
        "UsageError: Give --upload, --download or --delete, not several of them."
    ),
    "%mlsvc snapshot --download x.zip": "UsageError: Which snapshot? Give its name or id.",
    "%mlsvc session x --snapshot s": "UsageError: --snapshot goes with %mlsvc session new [NAME].",
    "%publish Iris V1.0": "UsageError: There is no code to publish.",
    "%publish Iris V1.0 --snapshot a --session b x = 1": (
        "UsageError: Give --snapshot or --session, not both."
    ),
    "%%publish Iris V1.0 x = 1\ny = 2": (
        "UsageError: %%publish takes its code from the cell, but its line has more: x = 1."
    ),
    "%remote_exec": "UsageError: There is no code to run.",
    "%remote_exec -i missing x = 1": "UsageError: There is no variable 'missing' here to send.",
    "%%remote_exec -i a-b\nx": "UsageError: argument -i/--inputs: 'a-b' is no valid name",
    "%%remote_exec x = 1\ny = 2": (
        "UsageError: %%remote_exec takes its code from the cell, but its line has more: x = 1."
    ),
    "%consume": "UsageError: the following arguments are required: name.",
    "%consume Iris V1.0 x": "UsageError: 'x' is no input=VALUE.",
    "%consume Iris a=1+b": "UsageError: a=1+b: NameError: name 'b' is not defined.",
    "%consume Iris a=1 a=2": "UsageError: 'a' is given twice.",
    "%mlsvc status": "NotLoggedIn: Not logged in at http://localhost:12800.",
    "%mlsvc session": "MlsvcError: No session is in use yet;",
}


@pytest.mark.parametrize(("cell", "first_line"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_is_one_readable_line(
    shown_error: ShownError, cell: str, first_line: str
) -> None:
    lines = shown_error(cell).splitlines()
    assert lines[0].startswith(first_line)
    assert not any("Traceback" in line for line in lines)


def test_a_password_file_that_is_empty_is_said(shown_error: ShownError, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    assert "The password file is empty" in shown_error(
        f"%mlsvc login https://x -u me --password-file {tmp_path}/secret"
    )


def test_where_nobody_can_be_asked_the_password_file_is_named(
    shown_error: ShownError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("jupyter_mlsvc.magics.mlsvc.getpass", nobody)
    assert "use --password-file FILE" in shown_error("%mlsvc login https://x -u me")
