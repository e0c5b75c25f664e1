"""Notebooks of a Jupyter server that has the extension need no ``%load_ext``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.autoload import MAGIC_KINDS
from jupyter_mlsvc_server.launch import ServerProcess
from tests.magics.notebook import Notebook

CONFIG = Path(__file__).parents[2] / "server_ext" / "ipython-config" / "ipython_kernel_config.py"
# Starts a shell as a kernel does, and tells what loaded and whether the magics were imported.
PROGRAM = """
import sys
from IPython.core.application import BaseIPythonApplication
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.shellapp import InteractiveShellApp

class App(BaseIPythonApplication, InteractiveShellApp):
    def initialize(self):
        super().initialize(["--BaseIPythonApplication.extra_config_file=" + sys.argv[1]])
        self.shell = InteractiveShell.instance(parent=self)
        self.init_extensions()

app = App.instance()
app.initialize()
print(*sorted(name.rpartition(".")[2] for name in app.shell.extension_manager.loaded))
print("jupyter_mlsvc.magics" in sys.modules)
"""


def magics_of(shell: InteractiveShell) -> dict[str, str]:
    tables = shell.magics_manager.lsmagic()
    kinds = {
        name: "_".join(kind for kind in ("line", "cell") if name in tables[kind])
        for name in MAGIC_KINDS
    }
    return {name: kind for name, kind in kinds.items() if kind}


def loaded_extensions(shell: InteractiveShell) -> set[str]:
    manager = shell.extension_manager
    assert manager is not None
    return set(manager.loaded)


def completions(shell: InteractiveShell, text: str) -> set[str]:
    with provisionalcompleter():
        return {each.text for each in shell.Completer.completions(text, len(text))}


def test_the_declared_names_are_those_that_loading_registers(shell: InteractiveShell) -> None:
    loaded = {
        name
        for magics in shell.magics_manager.registry.values()
        if type(magics).__module__.startswith("jupyter_mlsvc")
        for names in type(magics).magics.values()
        for name in names
    }
    assert loaded == set(MAGIC_KINDS)
    assert magics_of(shell) == MAGIC_KINDS


def test_the_first_use_loads_the_extension(bare_shell: InteractiveShell) -> None:
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc.autoload")
    assert magics_of(bare_shell) == MAGIC_KINDS
    assert "jupyter_mlsvc" not in loaded_extensions(bare_shell)
    bare_shell.run_line_magic("mlsvc", "help")
    assert "jupyter_mlsvc" in loaded_extensions(bare_shell)
    assert magics_of(bare_shell) == MAGIC_KINDS


def test_the_extension_can_be_loaded_and_unloaded_by_hand(bare_shell: InteractiveShell) -> None:
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc.autoload")
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc")
    bare_shell.run_line_magic("mlsvc", "help")
    bare_shell.run_line_magic("unload_ext", "jupyter_mlsvc")
    assert magics_of(bare_shell) == {}
    result = bare_shell.run_cell("%mlsvc help")
    assert "not found" in str(result.error_in_exec)


def test_the_first_line_is_completed(bare_shell: InteractiveShell) -> None:
    bare_shell.run_line_magic("load_ext", "jupyter_mlsvc.autoload")
    assert "import" in completions(bare_shell, "impo")
    assert "jupyter_mlsvc" not in loaded_extensions(bare_shell)
    assert "sessions" in completions(bare_shell, "%mlsvc sess")
    assert "snapshots" in completions(bare_shell, "%mlsvc snap")
    identifiers = [
        getattr(each, "matcher_identifier", "") for each in bare_shell.Completer.custom_matchers
    ]
    assert identifiers == ["jupyter_mlsvc"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        ("1", "autoload autoreload storemagic"),
        ("0", "autoreload storemagic"),
        ("", "autoreload storemagic"),
    ],
)
def test_a_profile_keeps_its_extensions(
    value: str, loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("c.InteractiveShellApp.extensions = ['autoreload']")
    monkeypatch.setenv("MLSVC_AUTOLOAD", value)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(CONFIG)], capture_output=True, text=True, check=True
    )
    assert (ran.stdout, ran.stderr) == (f"{loaded}\nFalse\n", "")


@pytest.fixture(scope="module")
def notebook(mlsvc_server: ServerProcess) -> Iterator[Notebook]:
    notebook = Notebook(mlsvc_server, "autoload.ipynb")
    yield notebook
    notebook.run("sessions = %mlsvc sessions\nfor session in sessions: session.close()")
    notebook.close()


@pytest.mark.kernel
def test_a_notebook_has_the_magics_and_imports_them_late(notebook: Notebook) -> None:
    imported = "import sys; print('requests' in sys.modules, 'jupyter_mlsvc.magics' in sys.modules)"
    assert notebook.text(imported) == "False False\n"
    assert notebook.text("%remote_exec print('over there')").endswith("over there\n")
    assert notebook.text(imported) == "True True\n"


@pytest.mark.kernel
def test_sessions_have_no_magics(notebook: Notebook) -> None:
    code = (
        "%%remote_exec\n"
        "print('mlsvc' in get_ipython().magics_manager.lsmagic()['line'])\n"
        "import sys; print('jupyter_mlsvc.autoload' in sys.modules)"
    )
    assert notebook.text(code).endswith("False\nFalse\n")


@pytest.mark.kernel
def test_a_setting_turns_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where the server is started in a terminal of another one.
    monkeypatch.setenv("MLSVC_AUTOLOAD", "1")
    options = ["--MlsvcApp.autoload_magics=False"]
    with ServerProcess(data_dir=tmp_path / "data", jupyter=True, options=options) as server:
        notebook = Notebook(server, "bare.ipynb")
        try:
            notebook.run("%mlsvc help")
            assert notebook.last_reply["ename"] == "UsageError"
            assert notebook.run("%load_ext jupyter_mlsvc\n%mlsvc help")
            assert notebook.last_reply["status"] == "ok"
        finally:
            notebook.close()
