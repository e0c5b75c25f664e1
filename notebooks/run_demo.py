"""Start a server, run the iris walkthrough against it, and stay up for a look in JupyterLab.

``make demo`` runs it. Environment variables: ``ONCE=1`` ends after the walkthrough, and
``MLSVC_PORT``, ``MLSVC_JUPYTER_PORT``, ``MLSVC_DATA_DIR`` and ``MLSVC_ADMIN_PASSWORD`` as in the
documentation (reference/environment.md).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

try:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    from jupyter_mlsvc_server.formats.environment_block import hide_from_others
    from jupyter_mlsvc_server.launch import ServerDidNotStart, ServerProcess
except ImportError as error:
    sys.exit(
        f"The demo needs the Python package {error.name!r}, which is not installed. "
        "'make demo' installs everything that is needed first."
    )

HERE: Final = Path(__file__).resolve().parent
DEMO_DIR: Final = HERE.parent / ".demo"
WALKTHROUGH: Final = "01-iris-walkthrough.ipynb"
HIGHEST_PORT: Final = 65535
CELL_TIMEOUT: Final = 180
"""Seconds; far more than any cell of the walkthrough takes."""


class DemoError(Exception):
    """The demo can't run; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says.

    Attributes
    ----------
    public_port, jupyter_port : int
        Ports of the public API and of JupyterLab.
    data_dir : Path
        Folder of the server's data.
    admin_password : str
        Password of ``admin``, given or made up.
    is_given_password : bool
        Whether the password was given; then it is not printed.
    is_once : bool
        Whether to end after the walkthrough.
    """

    public_port: int
    jupyter_port: int
    data_dir: Path
    admin_password: str = field(repr=False)
    is_given_password: bool
    is_once: bool

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Read the environment variables; empty ones count as unset."""
        data_dir = Path(variables.get("MLSVC_DATA_DIR") or DEMO_DIR / "data").expanduser().resolve()
        password = variables.get("MLSVC_ADMIN_PASSWORD") or _kept_password(data_dir)
        return cls(
            public_port=_port(variables, "MLSVC_PORT", 12800),
            jupyter_port=_port(variables, "MLSVC_JUPYTER_PORT", 8888),
            data_dir=data_dir,
            admin_password=password or secrets.token_urlsafe(12),
            is_given_password=bool(variables.get("MLSVC_ADMIN_PASSWORD")),
            is_once=variables.get("ONCE", "") not in {"", "0"},
        )


def main() -> int:
    """Run the demo; 0 when every cell of the walkthrough passed."""
    signal.signal(signal.SIGTERM, _interrupt)
    hide_from_others(lambda name: "PASSWORD" in name)
    try:
        settings = Settings.read(os.environ)
        for variable, port in (
            ("MLSVC_PORT", settings.public_port),
            ("MLSVC_JUPYTER_PORT", settings.jupyter_port),
        ):
            _check_free(variable, port)
        return _run(settings)
    except DemoError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("\nStopped.")
        return 130


def _run(settings: Settings) -> int:
    server = ServerProcess(
        data_dir=settings.data_dir,
        admin_password=settings.admin_password,
        public_port=settings.public_port,
        jupyter_port=settings.jupyter_port,
        root_dir=_copy_notebooks(),
        front_end=True,
        # The demo asks nobody's leave to fetch news or updates; it fetches none.
        options=(
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ),
    )
    _say("Starting the server and JupyterLab ...")
    try:
        with server:
            keep_password(settings)
            _say(f"They run; their log is {_relative(server.log_file)}.")
            is_passed = Walkthrough(server).run(_say)
            if settings.is_once:
                return 0 if is_passed else 1
            _say(_invitation(server, settings))
            _wait_for_interrupt(server)
            _say("\nStopping the server ...")
            return 0 if is_passed else 1
    except ServerDidNotStart as error:
        raise DemoError(str(error)) from None
    finally:
        server.stop()


class Walkthrough:
    """The iris notebook, run as a kernel of this JupyterLab would run it.

    Parameters
    ----------
    server
        A running server.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._notebook = nbformat.read(HERE / WALKTHROUGH, as_version=4)  # type: ignore[no-untyped-call]
        self._say: Callable[[str], None] = print
        self._heading = ""

    def run(self, say: Callable[[str], None]) -> bool:
        """Run every cell and say what each gave; False when one failed."""
        self._say = say
        client = NotebookClient(
            self._notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            # Below it, the kernel warns about the transport that Jupyter chose for it.
            extra_arguments=["--log-level=40"],
            resources={"metadata": {"path": str(HERE)}},
            on_cell_start=self._on_start,
            on_cell_executed=self._on_executed,
        )
        try:
            client.execute(env=self._kernel_environment())
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            say(f"\nThe walkthrough failed: {_reason(error)}")
            return False
        say("\nThe walkthrough passed: every cell did what it should.")
        return True

    def _kernel_environment(self) -> dict[str, str]:
        # As kernels of this JupyterLab have it: what the walkthrough makes belongs to whoever opens
        # the Lab.
        return {
            **os.environ,
            "MLSVC_CONNECTION_FILE": str(self._server.connection_file),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }

    def _on_start(self, cell: Any, **_: Any) -> None:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("#"):
                self._heading = line.lstrip("# ")

    def _on_executed(self, cell: Any, **_: Any) -> None:
        if self._heading:
            self._say(f"\n== {self._heading}")
            self._heading = ""
        source = cell.source.splitlines()
        self._say(f"  > {source[0]}{' ...' if len(source) > 1 else ''}")
        for output in cell.outputs:
            for line in _text(output).rstrip().splitlines():
                self._say(f"    {line}")


def _text(output: Any) -> str:
    """Give what a terminal shows of an output; errors are shown once, at the end."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return ""
    return str(output.data.get("text/plain", ""))


def _reason(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _invitation(server: ServerProcess, settings: Settings) -> str:
    lab = f"{server.jupyter_url}/lab/tree/{WALKTHROUGH}?token={server.jupyter_token}"
    if settings.is_given_password:
        account, password = "admin with the password you gave", '"\'"$MLSVC_ADMIN_PASSWORD"\'"'
    else:
        account, password = f"admin, password {settings.admin_password}", settings.admin_password
    return f"""
Open JupyterLab:  {lab}
Programs:         {server.public_url}  (account {account})

Score a flower from another terminal:

TOKEN=$(curl -s {server.public_url}/login \\
  -d '{{"username": "admin", "password": "{password}"}}' \\
  | {_json_field("access_token")})
curl -s {server.public_url}/api/Iris/V1.0 -H "Authorization: Bearer $TOKEN" \\
  -d '{{"flower_data": [7, 3.2, 4.7, 1.4]}}'

Ctrl-C stops everything."""


def _json_field(name: str) -> str:
    return f"""python3 -c 'import json, sys; print(json.load(sys.stdin)["{name}"])'"""


def _wait_for_interrupt(server: ServerProcess) -> None:
    with suppress(KeyboardInterrupt):
        if server.process is not None:
            server.process.wait()
            raise DemoError(f"The server ended by itself; see {_relative(server.log_file)}.")


def _copy_notebooks() -> Path:
    """Give the reader notebooks to play with, without touching the ones that the tests compare."""
    folder = DEMO_DIR / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(HERE.glob("*.ipynb")):
        copy = folder / source.name
        if not copy.exists() or copy.stat().st_mtime < source.stat().st_mtime:
            shutil.copyfile(source, copy)
    return folder


def _kept_password(data_dir: Path) -> str | None:
    """Read the password that an earlier demo made up for this data."""
    with suppress(FileNotFoundError):
        return (data_dir / "demo-password").read_text().strip() or None
    return None


def keep_password(settings: Settings) -> None:
    """Keep a made-up password with the data: the account outlives this run."""
    if not settings.is_given_password:
        path = settings.data_dir / "demo-password"
        path.touch(mode=0o600)
        path.write_text(settings.admin_password)


def _port(variables: Mapping[str, str], name: str, otherwise: int) -> int:
    text = variables.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= HIGHEST_PORT):
        raise DemoError(f"{name} is {text!r}; it has to be a port number, 1 to 65535.")
    return int(text)


def _check_free(variable: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoError(
                f"Port {port} is taken by another program. Stop it, or choose another port: "
                f"make demo {variable}={port + 1}"
            ) from None


def _relative(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
