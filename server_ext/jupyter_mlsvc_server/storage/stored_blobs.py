"""Blobs as the doctor finds them: it only reads, beside a server or without one."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from traitlets.config import Config

from jupyter_mlsvc_server.formats.blobs import DamagedBlob, check_blob
from jupyter_mlsvc_server.storage.blobs import TRASH, BlobStore
from jupyter_mlsvc_server.storage.machine_faults import ObjectStoreUnavailable
from jupyter_mlsvc_server.storage.object_store import ObjectStore


class StoredBlobs:
    """Checks blobs of a data folder, or of the object store where that has them.

    Raises
    ------
    UnusableObjectStore
        The object store of the settings is none.
    """

    def __init__(self, data_dir: Path, config: Config) -> None:
        self._folder = data_dir / "blobs"
        url = BlobStore(data_dir=data_dir, config=config).url
        self._objects = ObjectStore.at(url, logging.getLogger(__name__)) if url else None

    def problem(self, digest: str) -> str:
        """Return what is wrong with a blob; empty where it is whole."""
        try:
            if self._objects is None:
                check_blob(self._file(digest))
            elif self._digest(self._objects, digest) != digest:
                return "the object store has something else under its name"
        except DamagedBlob as damage:
            return damage.reason
        except ObjectStoreUnavailable:
            return "the object store does not answer"
        return ""

    def _digest(self, objects: ObjectStore, digest: str) -> str:
        hasher = hashlib.sha256()
        for piece in objects.pieces(digest):
            hasher.update(piece)
        return hasher.hexdigest()

    def _file(self, digest: str) -> Path:
        home, left = self._folder / digest[:2] / digest, self._folder / TRASH / digest
        # Who uses it takes it back.
        return left if not home.exists() and left.exists() else home
