from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc_server.launch import ServerProcess

ShownError = Callable[[str], str]
Run = Callable[[str], "Ran"]


@pytest.fixture(autouse=True)
def own_ipython_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("MLSVC_URL", "MLSVC_TOKEN", "MLSVC_CONNECTION_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ana/default.ipynb")
    # What is shown while something takes its time would be among what tests compare.
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture
def bare_shell() -> Iterator[InteractiveShell]:
    """A real IPython shell without our extension."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield shell
    # Each of some hundred shells would collect garbage at the end of the run.
    atexit.unregister(shell.atexit_operations)
    shell.configurables.clear()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> InteractiveShell:
    """A real IPython shell with our extension."""
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc")
    return bare_shell


@pytest.fixture
def connection(shell: InteractiveShell) -> MlsvcConnection:
    return next(item for item in shell.configurables if isinstance(item, MlsvcConnection))


@pytest.fixture
def shown_error(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> ShownError:
    """Run a cell that fails and give what the user sees of the failure."""

    def run(cell: str) -> str:
        out, err = StringIO(), StringIO()
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        result = shell.run_cell(cell)
        monkeypatch.undo()
        assert result.error_in_exec is not None
        return out.getvalue() + err.getvalue()

    return run


@pytest.fixture
def on_server(
    shell: InteractiveShell,
    connection: MlsvcConnection,
    user_server: ServerProcess,
    tmp_path: Path,
) -> Iterator[InteractiveShell]:
    """A shell that is logged in at a real server; what it left there goes afterwards."""
    secret = tmp_path / "password"
    secret.write_text(f"{user_server.admin_password}\n")
    shell.run_line_magic(
        "mlsvc", f"login {user_server.public_url} -u admin --password-file {secret}"
    )
    client = connection.client
    yield shell
    for session in client.sessions.list():
        session.close()
    for snapshot in client.snapshots.list():
        snapshot.delete()
    for service in client.services.list():
        service.delete()
    client.logout()
    client.close()


class Ran:
    """What running a cell gave: its result and what a user saw."""

    def __init__(self, shell: InteractiveShell, cell: str) -> None:
        with capture_output() as captured:
            self.result = shell.run_cell(cell)
        self.stdout: str = captured.stdout
        self.stderr: str = captured.stderr
        self.displays: list[dict[str, Any]] = [output.data for output in captured.outputs]

    @property
    def value(self) -> Any:
        self.result.raise_error()
        return self.result.result

    @property
    def error(self) -> BaseException:
        error: BaseException | None = self.result.error_in_exec
        assert error is not None
        return error


@pytest.fixture
def run(on_server: InteractiveShell) -> Run:
    """Run a cell in the shell that is logged in."""

    def run_cell(cell: str) -> Ran:
        return Ran(on_server, cell)

    return run_cell
