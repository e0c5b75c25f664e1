"""An object store: where several servers keep the blobs that they share.

::

    installation.id      the installation whose blobs these are
    blobs/ab/abcd…       blobs, by their SHA-256, in the layout of a data folder
    trash/abcd…/RANDOM   copies of blobs that nothing referred to, until they are deleted

What is in the trash has a name of its own each time. So a server that deletes an old copy, by what
it saw a while ago, never deletes the one that another server has just made.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.machine_faults import ObjectStoreUnavailable

if TYPE_CHECKING:
    import logging

_ID: Final = "installation.id"
_BLOBS: Final = "blobs"
_TRASH: Final = "trash"

_PIECE_BYTES: Final = 16 * 2**20
"""Bytes of one request for a part of a blob. A request may take half a minute."""
_MAX_COPIED_BYTES: Final = 5 * 2**30
"""Largest object that S3 copies by itself."""
_MAX_DELETED: Final = 1000
"""Objects that one request may delete."""

_MESSAGE: Final = re.compile("<Message>(.*?)</Message>", re.DOTALL)
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")


class UnusableObjectStore(RuntimeError):
    """The object store can't be used; the message is a sentence for who starts the server."""

    def __init__(self, url: str, cause: object, advice: str) -> None:
        self.problem = f"The object store {url} (BlobStore.url) cannot be used: {cause}."
        self.advice = advice
        super().__init__(f"{self.problem} {advice}")


class StoredObject(NamedTuple):
    """An object of the store: its path, the blob that it holds, and how old it is in seconds."""

    path: str
    digest: str
    size: int
    age: float


class ObjectStore:
    """Keeps blobs as objects; its methods wait for the network, so they are called in threads.

    Parameters
    ----------
    store
        A store of obstore.
    url
        What to call it in messages.
    log
        Gets what went wrong.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self, store: Any, url: str, log: logging.Logger | Any, *, clock: Clock = time.time
    ) -> None:
        import obstore

        self._library = obstore
        self._store = store
        self._log = log
        self._clock = clock
        self.url = url

    @classmethod
    def at(cls, url: str, log: logging.Logger | Any) -> Self:
        """Return the object store of a URL; credentials come from the environment.

        Raises
        ------
        UnusableObjectStore
            The library is not installed, or makes nothing of the URL.
        """
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ModuleNotFoundError:
            advice = "Install it with: pip install 'jupyter-mlsvc[object-store]'"
            raise UnusableObjectStore(url, "obstore is not installed", advice) from None
        # Somebody waits for the answer. An outage that lasts is theirs to see.
        retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
        try:
            store = from_url(url, retry_config=retries)  # type: ignore[call-overload, unused-ignore]
        except (BaseError, ValueError) as error:
            advice = (
                "A URL is like s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or "
                "file:///folder; an account and keys go into the server's environment."
            )
            raise UnusableObjectStore(url, _cause(error), advice) from error
        return cls(store, url, log)

    # --- the whole ---------------------------------------------------------------------------

    def require(self, installation: str) -> None:
        """Refuse blobs of another installation, and mark a new store as this one's.

        Raises
        ------
        UnusableObjectStore
            It does not answer, may not be read or written, or belongs to another installation.
        """
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        found = self.installation()
        if not found:
            with self._usable():
                try:
                    self._library.put(self._store, _ID, installation.encode(), mode="create")
                except NotSupportedError:
                    self._library.put(self._store, _ID, installation.encode())
                except AlreadyExistsError:
                    pass  # by another server that starts now
            found = self.installation()
        if found != installation:
            advice = (
                "Give each installation a bucket or a prefix of its own. Where these are the blobs "
                f"that are meant, delete the object {_ID} there."
            )
            raise UnusableObjectStore(self.url, "it has the blobs of another installation", advice)

    def installation(self) -> str:
        """Return the id of the installation whose blobs these are; empty where there is none yet.

        Raises
        ------
        UnusableObjectStore
            It does not answer, or may not be read.
        """
        with self._usable():
            try:
                data = bytes(self._library.get(self._store, _ID).bytes())
            except FileNotFoundError as error:
                if _is_bucket_missing(error):
                    raise
                return ""
        return data.decode("ascii", "replace").strip()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            advice = "Check the URL, the credentials in the server's environment, and the network."
            raise UnusableObjectStore(self.url, _cause(error), advice) from error

    def probe(self) -> None:
        """Ask for something small.

        Raises
        ------
        ObjectStoreUnavailable
            There was no answer.
        """
        with self._answering():
            self._library.head(self._store, _ID)

    # --- blobs -------------------------------------------------------------------------------

    def has(self, digest: str) -> bool:
        """Whether a blob is there, other than in the trash."""
        with self._answering():
            try:
                self._library.head(self._store, _path(digest))
            except FileNotFoundError as error:
                if _is_bucket_missing(error):
                    raise
                return False
        return True

    def put(self, digest: str, file: Path) -> None:
        """Store the file of a blob, whole or not at all."""
        with self._answering():
            self._library.put(self._store, _path(digest), file)

    def pieces(self, digest: str) -> Iterator[bytes]:
        """Give the content of a blob, taking it back out of the trash where it is there.

        Raises
        ------
        DamagedBlob
            There is none.
        """
        with self._answering():
            try:
                found = self._library.get(self._store, _path(digest))
            except FileNotFoundError as error:
                if _is_bucket_missing(error):
                    raise
                if not self.take_back(digest):
                    raise DamagedBlob(digest, "it is missing in the object store") from None
                found = self._library.get(self._store, _path(digest))
            size = found.meta["size"]
            if size <= _PIECE_BYTES:
                yield bytes(found.bytes())
                return
            for start in range(0, size, _PIECE_BYTES):
                length = min(_PIECE_BYTES, size - start)
                yield bytes(
                    self._library.get_range(self._store, _path(digest), start=start, length=length)
                )

    # --- what nothing refers to --------------------------------------------------------------

    def blobs(self) -> Iterator[StoredObject]:
        """List all blobs."""
        return self._list(_BLOBS)

    def trash(self) -> Iterator[StoredObject]:
        """List the copies that are in the trash; the age is that of the copy."""
        return self._list(_TRASH)

    def put_into_trash(self, blob: StoredObject) -> None:
        """Move a blob to the trash."""
        with self._answering():
            try:
                self._copy(blob, f"{_TRASH}/{blob.digest}/{uuid.uuid4().hex}")
            except FileNotFoundError as error:
                if _is_bucket_missing(error):
                    raise
                return  # another server has moved it
            self._library.delete(self._store, [blob.path])

    def take_back(self, digest: str) -> bool:
        """Copy a blob back out of the trash; returns whether it was there.

        The copy in the trash stays until it is old: another server may be about to move the blob.
        """
        with self._answering():
            for copy in self._list(f"{_TRASH}/{digest}"):
                self._copy(copy, _path(digest))
                self._log.info("took blob %s back out of the trash of the object store", digest)
                return True
        return False

    def delete(self, objects: Sequence[StoredObject]) -> None:
        """Delete objects for good."""
        with self._answering():
            for first in range(0, len(objects), _MAX_DELETED):
                paths = [each.path for each in objects[first : first + _MAX_DELETED]]
                try:
                    self._library.delete(self._store, paths)
                except FileNotFoundError as error:
                    if _is_bucket_missing(error):
                        raise

    def _list(self, folder: str) -> Iterator[StoredObject]:
        now = self._clock()
        with self._answering():
            for some in self._library.list(self._store, folder):
                for each in some:
                    parts = each["path"].split("/")
                    # ``blobs/ab/abcd…`` or ``trash/abcd…/RANDOM``; whatever else is not ours.
                    if len(parts) == len(_path("").split("/")):
                        digest = parts[2] if parts[0] == _BLOBS else parts[1]
                        age = now - each["last_modified"].timestamp()
                        yield StoredObject(each["path"], digest, each["size"], age)

    def _copy(self, source: StoredObject, target: str) -> None:
        if source.size < _MAX_COPIED_BYTES:
            self._library.copy(self._store, source.path, target)
        else:
            self._library.put(self._store, target, self._library.get(self._store, source.path))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Tell an outage from all else, and log it."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            self._log.warning("object store %s: %s", self.url, _cause(error))
            raise ObjectStoreUnavailable from error


def _path(digest: str) -> str:
    return f"{_BLOBS}/{digest[:2]}/{digest}"


def _is_bucket_missing(error: BaseException) -> bool:
    return any(each in str(error) for each in _NO_BUCKET)


def _cause(error: BaseException) -> str:
    """Say in a few words what an object store, or the way to it, says is wrong."""
    text = str(error).partition("\n\nDebug source")[0]
    if (message := _MESSAGE.search(text)) is not None:
        return message[1].strip().rstrip(".")
    return text.partition("\n")[0].rpartition(" - ")[2].strip().rstrip(".")
