"""The server's view of the forkserver process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import Final

import msgspec

from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.guard import guarded
from jupyter_mlsvc_server.formats.protocol import ForkserverOptions, Preloaded
from jupyter_mlsvc_server.formats.threads import THREAD_VARIABLES
from jupyter_mlsvc_server.scoring.forkserver_client import ForkserverClient
from jupyter_mlsvc_server.scoring.settings import ScoringSettings

_PASSED_ON: Final = {
    "CONDA_PREFIX", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "MLSVC_SKLEARN_1D",
    "PATH", "PYTHONHOME", "PYTHONPATH", "REQUESTS_CA_BUNDLE", "R_LIBS", "R_LIBS_SITE",
    "R_LIBS_USER", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
}  # fmt: skip
"""Variables of the server's environment that services see; with those that start with ``LC_``."""

_EXIT_TIMEOUT: Final = 10.0


class Forkserver:
    """Owns the forkserver process, and the guard that ends all below it when it is killed.

    Parameters
    ----------
    settings
        The operator's.
    max_processes
        Processes and threads that a template and all below it may have; 0 for any number.
    is_bare
        Whether it imports no libraries, and so is ready at once.
    heavy
        Modules that it imports besides the usual ones.
    """

    def __init__(
        self,
        settings: ScoringSettings,
        max_processes: int,
        *,
        is_bare: bool = False,
        heavy: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings
        ours, theirs = socket.socketpair()
        self._output = ChildOutput(settings.log, "the forkserver")
        options = ForkserverOptions(
            preload=() if is_bare else tuple(settings.preload),
            heavy=heavy,
            sklearn_1d=settings.sklearn_1d,
            max_processes=max_processes,
        )
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own program and options
                guarded(
                    [
                        sys.executable,
                        "-P",  # not the server's working directory
                        "-m",
                        "jupyter_mlsvc_server.worker.forkserver",
                        str(theirs.fileno()),
                        msgspec.json.encode(options).decode(),
                    ]
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._output.theirs.fileno(),
                pass_fds=[theirs.fileno()],
                env=self._environment(),
                start_new_session=True,
            )
        self._output.started()
        self.link = ForkserverClient(ours, lambda: None, lambda _pid: None)

    @property
    def pid(self) -> int:
        """Process id of its guard, or its own where there are no guards."""
        return self._process.pid

    async def missing(self) -> dict[str, str]:
        """Wait until it is ready; gives the modules it could not import, with the reasons.

        Raises
        ------
        LinkLost
            It ended before.
        """
        return (await self.ready()).missing

    async def ready(self) -> Preloaded:
        """Wait until it is ready; gives what it imported, and raises as :meth:`missing`."""
        ready = await self.link.first()
        return ready if isinstance(ready, Preloaded) else Preloaded({})

    async def stop(self) -> None:
        """End it and all below it."""
        await self.link.close()
        try:
            await asyncio.to_thread(self._process.wait, _EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._output.close()

    def _environment(self) -> dict[str, str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith("LC_")
        }
        environment |= dict.fromkeys(THREAD_VARIABLES, "1")  # workers get as many as they may have
        return environment | dict(self._settings.environment)
