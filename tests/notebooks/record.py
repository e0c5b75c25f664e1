"""Run the notebooks against a server of their own and store what they give.

``python -m tests.notebooks.record`` stores the outputs that the tests compare with; look at the
difference before you commit it. ``python -m tests.notebooks.record 03-errors`` does one notebook.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

from jupyter_mlsvc_server.launch import ServerProcess

NOTEBOOKS: Final = Path(__file__).parents[2] / "notebooks"


def new_server(data_dir: Path) -> ServerProcess:
    """Make a server as the notebooks expect it, not started yet.

    Its user has the name that is stored in the notebooks, and its base URL needs quoting.
    """
    return ServerProcess(
        data_dir=data_dir,
        admin_password=secrets.token_urlsafe(12),
        base_url="/user/maria%20garcia/",
        jupyter=True,
        options=["--MlsvcApp.jupyter_user=maria"],
    )


def kernel_environment(server: ServerProcess) -> dict[str, str]:
    """Environment of a kernel that the server's JupyterLab starts."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("MLSVC_")}
    return {
        **inherited,
        "MLSVC_CONNECTION_FILE": str(server.connection_file),
        # Bars that come only where something is slow would come on a slow machine.
        "TQDM_DISABLE": "1",
    }


def record(path: Path, server: ServerProcess) -> None:
    """Run a notebook and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],
        resources={"metadata": {"path": path.parent}},
    )
    client.record_timing = False
    client.execute(env=kernel_environment(server))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
            for output in cell.outputs:
                # The widget is gone when the notebook is opened; the text beside it is not.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    # What is stored must not tell which Python of which machine ran it.
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
    }
    nbformat.write(notebook, path)


def joined(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of a stream, which arrive in one or in two as time has it."""
    kept: list[Any] = []
    for output in outputs:
        last = kept[-1] if kept else None
        is_same = last is not None and output.output_type == last.output_type == "stream"
        if last is not None and is_same and output.name == last.name:
            last.text += output.text
        else:
            kept.append(output)
    return kept


def main(names: list[str]) -> None:
    """Record the named notebooks, or all."""
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not names or path.stem in names]
    with tempfile.TemporaryDirectory() as folder, new_server(Path(folder)) as server:
        for path in paths:
            print(path.name, flush=True)  # noqa: T201 - a command
            record(path, server)


if __name__ == "__main__":
    main(sys.argv[1:])
