"""The certificate of the public API, which is read again when its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from functools import partial
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.storage.repeated import Repeated

_LOOK_SECONDS: Final = 10.0


class Certificate:
    """A chain and its key.

    Connections that are open keep the certificate that they began with.

    Parameters
    ----------
    certfile
        The chain (PEM).
    keyfile
        The key (PEM); None where it is in the same file.
    look_seconds
        Seconds between two looks whether the files have changed.

    Attributes
    ----------
    context
        What connections are made with.

    Raises
    ------
    OSError
        The files cannot be read, or do not belong together.
    """

    def __init__(
        self, certfile: Path, keyfile: Path | None, *, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._look_seconds = look_seconds
        self._looking: Repeated | None = None
        self._tried = self._read_stamps()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load(self.context)

    def start(self, log: logging.Logger) -> None:
        """Look after the files from now on."""
        self._looking = Repeated(
            partial(asyncio.to_thread, self.look, log),
            seconds=self._look_seconds,
            failure="the certificate could not be looked at",
            log=log,
        )
        self._looking.start()

    async def stop(self) -> None:
        """Look after them no more; may be called twice."""
        if self._looking is not None:
            await self._looking.stop()

    def look(self, log: logging.Logger) -> None:
        """Read the files again if they have changed; a pair that is no good changes nothing."""
        stamps = self._read_stamps()
        if stamps == self._tried:
            return
        self._tried = stamps
        try:
            # A trial: half of a new pair in the context that serves would end all connections.
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._load(self.context)
        except OSError as error:
            log.warning(
                "the changed certificate %s cannot be used (%s); the old one stays in use",
                self._certfile,
                error.strerror or error,
            )
            return
        log.info("read the certificate %s again", self._certfile)

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certfile, self._keyfile)

    def _read_stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._certfile, self._keyfile) if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Say of a file what changes with its content; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
