from __future__ import annotations

import subprocess
import sys

import pytest

import jupyter_mlsvc

HEAVY = ("numpy", "pandas", "sklearn", "IPython", "tornado", "sqlalchemy", "requests")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.process
def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import jupyter_mlsvc") & set(HEAVY)


@pytest.mark.process
def test_the_client_needs_neither_ipython_nor_numpy_nor_the_server() -> None:
    loaded = loaded_after("from jupyter_mlsvc import Client; Client('http://x', 'token')")
    assert not loaded & {"numpy", "pandas", "sklearn", "IPython", "tornado", "sqlalchemy"}
    assert "jupyter_mlsvc_server" not in loaded


@pytest.mark.process
def test_loading_the_extension_loads_no_client_yet() -> None:
    loaded = loaded_after(
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance().run_line_magic('load_ext', 'jupyter_mlsvc')"
    )
    assert "jupyter_mlsvc.magics.publish" in loaded
    assert not loaded & {"requests", "ipywidgets", "tqdm", "pandas", "numpy", "cloudpickle"}
    assert not {name for name in loaded if name.startswith("jupyter_mlsvc.planning")}
    assert "jupyter_mlsvc.client.client" not in loaded


@pytest.mark.parametrize("name", jupyter_mlsvc.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(jupyter_mlsvc, name) is not None


def test_the_names_that_are_resolved_lazily_are_the_public_ones() -> None:
    own = {"__version__", "load_ipython_extension", "unload_ipython_extension"}
    assert set(jupyter_mlsvc._HOME) | own == set(jupyter_mlsvc.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = jupyter_mlsvc.Klient


def test_the_front_end_is_announced_to_jupyterlab() -> None:
    assert jupyter_mlsvc._jupyter_labextension_paths() == [
        {"src": "labextension", "dest": "jupyter-mlsvc"}
    ]
