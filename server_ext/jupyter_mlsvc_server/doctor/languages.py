"""Checks of the languages: kernels of sessions start, and R has the packages of services."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Final

from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.sessions.errors import KernelDidNotStart, RuntimeNotAvailable
from jupyter_mlsvc_server.sessions.kernels import KernelFactory

_R_PACKAGES: Final = ("jsonlite", "IRkernel")
_R_SECONDS: Final = 60
_R_MEND: Final = (
    "On Debian: apt install r-base-core r-cran-irkernel. Elsewhere, in R: "
    'install.packages("IRkernel"); IRkernel::installspec()'
)


def check_kernels(setup: Setup) -> Iterator[Finding]:
    """Start a kernel of each language, as a session would."""
    # Not in the data folder: a server may run there.
    with tempfile.TemporaryDirectory(prefix="mlsvc-doctor-") as folder:
        yield from asyncio.run(_start_kernels(setup, Path(folder)))


async def _start_kernels(setup: Setup, folder: Path) -> list[Finding]:
    heard = _Log()
    factory = KernelFactory(data_dir=folder, config=setup.config, log=heard.logger)
    await factory.start()
    try:
        return [await _start_kernel(factory, runtime, heard) for runtime in ("Python", "R")]
    finally:
        await factory.stop()


async def _start_kernel(factory: KernelFactory, runtime: str, heard: _Log) -> Finding:
    name = f"{runtime} sessions"
    began = monotonic()
    try:
        factory.require(runtime)
        kernel = await factory.start_kernel(runtime)
    except RuntimeNotAvailable as error:
        # R is a choice, Python is not.
        state = State.INFO if runtime == "R" else State.FAIL
        return Finding(name, state, str(error))
    except KernelDidNotStart:
        return Finding(
            name,
            State.FAIL,
            f"The kernel does not start: {heard.last or 'it said nothing'}",
            "Mend what it says, or choose another kernel with KernelFactory.kernel_specs.",
        )
    await kernel.stop()
    return Finding(name, State.OK, f"A kernel starts in {monotonic() - began:.1f} s.")


class _Log(logging.Handler):
    """Keeps what was logged last."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        self.logger = logging.getLogger("jupyter-mlsvc-doctor")
        self.logger.propagate = False
        self.logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def check_r_packages(setup: Setup) -> Iterator[Finding]:
    """Look whether R, where it is installed, has the packages that sessions and services need."""
    name = "R packages"
    command = LocalEngine(data_dir=setup.data_dir, config=setup.config).r_command
    program = shutil.which(command)
    if program is None:
        yield Finding(name, State.INFO, "R is not installed, so nothing runs in R.", _R_MEND)
        return
    names = ", ".join(f'"{package}"' for package in _R_PACKAGES)
    code = f"cat(Filter(function(p) !requireNamespace(p, quietly = TRUE), c({names})))"
    try:
        said = subprocess.run(  # noqa: S603 - R as it is configured, and code of our own
            [program, "--no-echo", "--no-save", "--no-restore", "-e", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=_R_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(name, State.FAIL, f"{program} does not run: {error}.", _R_MEND)
        return
    if missing := said.split():
        yield Finding(name, State.FAIL, f"R has no {', '.join(missing)}.", _R_MEND)
    else:
        yield Finding(name, State.OK, f"{program} has {' and '.join(_R_PACKAGES)}.")
