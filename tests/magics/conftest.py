from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jupyter_mlsvc.magics.connection import MlsvcConnection

ShownError = Callable[[str], str]


@pytest.fixture(autouse=True)
def own_ipython_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("MLSVC_URL", "MLSVC_TOKEN", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bare_shell() -> Iterator[InteractiveShell]:
    """A real IPython shell without our extension."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield shell
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
