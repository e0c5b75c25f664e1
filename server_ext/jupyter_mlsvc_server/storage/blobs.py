"""Content-addressed files: a file's name is the SHA-256 of what is in it.

A blob is written elsewhere, flushed and renamed into place, so it is whole or not there. It never
changes afterwards, and whoever uses one has it checked first (see ``formats.blobs``).

What nothing refers to is moved to a trash folder, and deleted from there days later
(:meth:`BlobStore.collect`). A database that was lost, or is an older one, refers to too little: so
nothing is collected in the first time after a start, and a large share of all only after a wait
with warnings. What is in the trash and needed again is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import itertools
import os
import re
import shutil
import stat
import sys
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
from traitlets import Float, Integer, Unicode, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.formats.blobs import DamagedBlob, LocalBlobs, Stamp, check_blob
from jupyter_mlsvc_server.formats.private_files import (
    private_directory,
    sync_file,
    sync_file_system,
    write_all,
    write_atomic,
)
from jupyter_mlsvc_server.storage.copying import (
    Blob,
    Hasher,
    copy,
    feed,
    has_writer,
    read_up_to,
)
from jupyter_mlsvc_server.storage.paths import FolderPath, default_data_dir

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 1 << 16
"""Size up to which a file is hashed before it is written, as it is in memory then."""

_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})
"""Errors of file systems that can't give a file a second name."""

_MODE: Final = 0o400
_SHARED_MODE: Final = 0o440
_NEW: Final = ".new-"
"""Beginning of the names of blobs that are being written."""

TRASH: Final = "trash"
"""Folder of what is to be deleted."""

_MAX_STAMPS: Final = 2**17
"""Blobs whose stamps are kept, some 300 bytes each; others are hashed again."""
_STAMPS: Final = "checked-blobs.json"
"""File of the data folder with the stamps, from one run of the server to the next."""

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_FEW: Final = 16
"""Files up to which each is flushed by itself. One takes some milliseconds; all that was written to
the file system takes as long as several."""

_SMALL_SHARE: Final = 50
"""Blobs that may be collected together whatever their share is."""


class BlobUsage(NamedTuple):
    """How many blobs there are, and their bytes."""

    blobs: int
    size: int


@dataclass(slots=True)
class Intake:
    """Blobs that are written one after the other, and get their names together.

    Attributes
    ----------
    written : dict
        Files of those that have no name yet, by their digests.
    folders : set
        Where names are that may not have reached the disk.
    digests : set
        What was taken in, where it is to go further than to the disk.
    """

    written: dict[str, str] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)


class BlobStore(LoggingConfigurable):
    """Keeps blobs in a folder; those of the same content are one."""

    data_dir = FolderPath(help="Folder of everything that the server keeps.")
    url = Unicode(
        help="URL of an object store that several servers share, such as s3://bucket/prefix, "
        "az://container/prefix, gs://bucket/prefix, or file:///folder for a file system that they "
        "share. Needs the extra object-store. Credentials come from the environment. By default "
        "blobs are in data_dir alone."
    ).tag(config=True)
    cache_bytes = Integer(
        20 * 2**30,
        min=0,
        help="Bytes that blobs of an object store may take in data_dir, where they are read from. "
        "Those that were used least recently make room for others, and what services in use need "
        "stays. 0 sets no limit.",
    ).tag(config=True)
    grace_seconds = Float(
        3600.0,
        min=0,
        help="Seconds that a blob nothing refers to is kept: whoever stored it may be about to "
        "refer to it. Nothing is collected before the server has run for so long.",
    ).tag(config=True)
    trash_seconds = Float(
        7 * 86400.0,
        min=0,
        help="Seconds that a blob nothing refers to is kept in the folder blobs/trash before it is "
        "deleted; less while the disk is short of room. 0 deletes it at once.",
    ).tag(config=True)
    max_collected_share = Float(
        0.5,
        min=0,
        max=1,
        help="Share of all blobs that may be moved to the trash together, where they are more than "
        "50. More may mean that the database is not the one that belongs to the blobs.",
    ).tag(config=True)
    large_share_seconds = Float(
        86400.0,
        min=0,
        help="Seconds that a larger share is left where it is, with a warning at each search, "
        "before it is moved to the trash all the same.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_disk_short: Callable[[], bool] = lambda: False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._clock = clock
        self.is_disk_short = is_disk_short
        self._started = clock()
        self._renewed: dict[str, float] = {}
        self._writing: set[str] = set()
        self._folders: dict[str, Path] = {}
        self._own_name = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._stamps: OrderedDict[str, Stamp] = OrderedDict()
        self._large_since: float | None = None
        self._group: int | None = None
        self._unflushed = Counter[Path]()
        """Folders with blobs whose names may not have reached the disk."""
        # Storing what is there already, and taking it away as unused, exclude each other.
        self._lock = threading.Lock()

    @default("data_dir")
    def _default_data_dir(self) -> Path:
        return default_data_dir()

    @functools.cached_property
    def folder(self) -> Path:
        """Where the blobs are; that of digest ``abcd…`` is ``ab/abcd…`` in it."""
        return self.data_dir / "blobs"

    def path(self, digest: str) -> Path:
        """Name the file of a blob, which need not exist.

        Raises
        ------
        ValueError
            It is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no SHA-256 in hexadecimal.")
        return Path(self._place_of(digest))

    def _place_of(self, digest: str) -> str:
        # No path, which takes longer than what is asked of the file system: there may be thousands.
        return f"{self.folder}/{digest[:2]}/{digest}"

    def _folder_of(self, digest: str) -> Path:
        """Name the folder of a blob, as the same object each time: its hash is worked out once."""
        found = self._folders.get(digest[:2])
        if found is None:
            found = self._folders[digest[:2]] = self.folder / digest[:2]
        return found

    async def open(self) -> None:
        """Take the stamps that :meth:`close` has left, so that no blob is read again for nothing.

        A server that was killed leaves none: after a loss of power all blobs are checked.
        """
        await asyncio.to_thread(self._private_directory, self.folder)
        await asyncio.to_thread(self._load_stamps)

    async def close(self) -> None:
        """Leave the stamps for the next run; may be called twice."""
        await asyncio.to_thread(self._save_stamps)

    async def share_with(self, group: int | None) -> None:
        """Let the members of a group read each blob whose digest they know; None lets nobody."""
        self._group = group
        if group is not None:
            await asyncio.to_thread(self._share, group)

    async def ingest(self, path: Path, *others: Hasher) -> Blob:
        """Move a file of the same file system into the store.

        Parameters
        ----------
        path
            The file.
        others
            Get the same bytes as the hash by which the blob is named.

        Raises
        ------
        OSError
            It is not a regular file, such as a symbolic link, or cannot be read.
        """
        return await asyncio.to_thread(self._ingest, path, *others)

    def take_in(
        self,
        intake: Intake,
        source: BinaryIO,
        limit: int | None,
        *others: Hasher,
        expected: Blob | None = None,
    ) -> Blob:
        """Write a copy of what can be read from an open file, in the thread that calls.

        It is no blob before :meth:`settle`.

        Parameters
        ----------
        intake
            Those that get their names together.
        source
            Read up to its end.
        limit
            Bytes above which it is not stored.
        others
            As for :meth:`ingest`.
        expected
            What it should be. If that is there, the copy is compared and not written.

        Raises
        ------
        OverflowError
            There are more bytes than the limit.
        """
        first = read_up_to(source, _SMALL_BYTES)
        if len(first) < _SMALL_BYTES:
            return self._take_in_small(intake, first, limit, *others)
        chunks = itertools.chain([first], iter(lambda: source.read(_CHUNK_BYTES), b""))
        if expected is not None and self._is_renewed(expected, intake):
            return copy(chunks, None, limit, *others)
        temporary, blob = self._copy_in(chunks, limit, *others)
        is_new = False
        try:
            is_new = not self._is_renewed(blob, intake) and _is_added(intake, blob, temporary)
        finally:
            if not is_new:
                self._drop(temporary)
        return blob

    async def settle(self, intake: Intake) -> None:
        """Flush what was taken in, and give it its names."""
        await asyncio.to_thread(self._settle_all, intake)

    async def give_up(self, intake: Intake) -> None:
        """Remove what was not settled; may be called after it was."""
        await asyncio.to_thread(self._give_up, intake)

    async def put(self, data: bytes) -> Blob:
        """Store bytes."""
        return await asyncio.to_thread(self._put, data)

    async def renew(self, blobs: Collection[Blob]) -> set[Blob]:
        """Begin the grace time of blobs anew.

        Returns
        -------
        set of Blob
            Those that are there and whole.
        """
        return await asyncio.to_thread(self._renew, blobs)

    async def verify(self, digests: Iterable[str]) -> dict[str, Stamp]:
        """Check blobs; those that have not changed since they were checked are not read again.

        Returns
        -------
        dict
            Stamps by the digests.

        Raises
        ------
        DamagedBlob
            One is missing, or not what its name says.
        """
        return await asyncio.to_thread(lambda: {each: self._verify(each) for each in digests})

    async def probe(self) -> None:
        """Find out whether blobs can be had; on this machine's disk they can.

        Raises
        ------
        ObjectStoreUnavailable
            They are elsewhere, and there is no answer.
        """

    async def hold(self, digests: Collection[str]) -> LocalBlobs:
        """Return blobs as files that stay for as long as what is returned is referred to.

        Raises
        ------
        DamagedBlob
            As for :meth:`verify`.
        """
        return LocalBlobs(self.folder, await self.verify(digests))

    @contextlib.asynccontextmanager
    async def lent(
        self, digests: Collection[str], parent: Path, user: int = 0
    ) -> AsyncIterator[Path]:
        """Have blobs in another folder for a while, for a process that may not see all.

        They are the same files, in the same layout; where the file system can't do that, copies.

        Parameters
        ----------
        digests
            Which blobs.
        parent
            Where the folder is made.
        user
            The user that the process runs as; 0 for this one's.

        Yields
        ------
        Path
            The folder.
        """
        folder = parent / uuid.uuid4().hex
        try:
            await asyncio.to_thread(self._lend, digests, folder, user or None)
            yield folder
        finally:
            await asyncio.to_thread(self._end_loan, digests, folder)

    async def collect(self, referenced: Collection[str]) -> int:
        """Move blobs to the trash that are not referenced and older than the grace time.

        What has been there for long enough is deleted, and what is referenced is taken back.

        Returns
        -------
        int
            How many were moved.
        """
        return await asyncio.to_thread(self._collect, frozenset(referenced))

    async def usage(self) -> BlobUsage:
        """Measure all blobs, which takes a look at each file."""
        return await asyncio.to_thread(self._usage)

    # --- in a thread -------------------------------------------------------------------------

    def _share(self, group: int) -> None:
        private_directory(self.folder, group)
        for path in self._all_files():
            if path.name.startswith(".") or path.is_dir():
                continue
            private_directory(path.parent, group)
            if (found := path.lstat()).st_gid != group or found.st_mode & 0o777 != _SHARED_MODE:
                os.chown(path, -1, group, follow_symlinks=False)
                path.chmod(_SHARED_MODE, follow_symlinks=False)

    def _private_directory(self, path: Path) -> Path:
        return private_directory(path, self._group)

    def _lend(self, digests: Collection[str], folder: Path, group: int | None) -> None:
        private_directory(folder, group)
        for digest in digests:
            private_directory(folder / digest[:2], group)
            with self._same_content(digest) as path:
                try:
                    os.link(path, folder / digest[:2] / digest)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    copy = folder / digest[:2] / digest
                    shutil.copyfile(path, copy)
                    if group is not None:
                        os.chown(copy, -1, group)
                        copy.chmod(_SHARED_MODE)

    def _end_loan(self, digests: Collection[str], folder: Path) -> None:
        for digest in digests:
            with self._same_content(digest):
                (folder / digest[:2] / digest).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _same_content(self, digest: str) -> Iterator[str]:
        """Keep the stamp of a blob, whose file gets or loses a name: that sets its ctime."""
        path = self._place_of(digest)
        with self._lock:
            known = self._stamps.get(digest)
            is_known = known is not None and known == _stamp_of(path)
            yield path
            if is_known and (stamp := _stamp_of(path)) is not None:
                self._keep_stamp(digest, stamp)

    def _load_stamps(self) -> None:
        path = self.data_dir / _STAMPS
        # What can't be read is no loss but of time.
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found = msgspec.json.decode(path.read_bytes(), type=dict[str, Stamp])
            path.unlink()
            with self._lock:
                self._stamps.update(found)

    def _save_stamps(self) -> None:
        with self._lock:
            data = msgspec.json.encode(self._stamps)
        try:
            write_atomic(self.data_dir / _STAMPS, data)
        except OSError as error:
            self.log.warning("the next start checks all blobs again: %s", error.strerror)

    def _ingest(self, path: Path, *others: Hasher) -> Blob:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path.name} is no regular file")
            if sys.platform == "linux" and has_writer(descriptor):
                # Whoever has it open could change it once it is checked.
                return self._write(iter(lambda: file.read(_CHUNK_BYTES), b""), *others)
            hasher = hashlib.sha256()
            size = feed(file, hasher, *others)
            blob = Blob(hasher.hexdigest(), size)
            self._own(descriptor)
            self._settle(str(path), blob)
        return blob

    def _put(self, data: bytes) -> Blob:
        return self._write(iter([data]))

    def _write(self, chunks: Iterator[bytes], *others: Hasher) -> Blob:
        temporary, blob = self._copy_in(chunks, None, *others)
        try:
            self._settle(temporary, blob)
        finally:
            self._drop(temporary)
        return blob

    def _take_in_small(
        self, intake: Intake, data: bytes, limit: int | None, *others: Hasher
    ) -> Blob:
        blob = copy([data], None, limit, *others)
        if blob.digest not in intake.written and not self._is_renewed(blob, intake):
            with self._new_file() as (temporary, descriptor):
                write_all(descriptor, data)
            if not _is_added(intake, blob, temporary):
                self._drop(temporary)
        return blob

    def _copy_in(
        self, chunks: Iterator[bytes], limit: int | None, *others: Hasher
    ) -> tuple[str, Blob]:
        """Write a file that is to be a blob; it is not flushed."""
        with (
            self._new_file() as (temporary, descriptor),
            os.fdopen(descriptor, "wb", closefd=False) as file,
        ):
            blob = copy(chunks, file, limit, *others)
        return temporary, blob

    @contextlib.contextmanager
    def _new_file(self) -> Iterator[tuple[str, int]]:
        """Open a file that is to be a blob; removed if it can't be written."""
        # Not in a subfolder: what a crash leaves is recognised by where it is. Names are numbers of
        # this store, and no paths: to make these up takes as long as to make a file.
        name = f"{_NEW}{self._own_name}-{next(self._numbers)}"
        temporary = f"{self.folder}/{name}"
        self._writing.add(name)
        try:
            descriptor = self._open_new(temporary)
            try:
                yield temporary, descriptor
                if self._group is not None:
                    self._own(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            self._drop(temporary)
            raise

    def _open_new(self, temporary: str) -> int:
        try:
            return os.open(temporary, _CREATE, _MODE)
        except FileNotFoundError:
            self._private_directory(self.folder)
            return os.open(temporary, _CREATE, _MODE)

    def _drop(self, temporary: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108  # a path takes longer than the rest
        self._writing.discard(_name(temporary))

    def _own(self, descriptor: int) -> None:
        """Make an open file nobody's to change, and only a group's to read."""
        if self._group is None:
            os.fchmod(descriptor, _MODE)
        else:
            # It may be from somebody else, and should not be theirs any more.
            os.fchown(descriptor, os.geteuid(), self._group)
            os.fchmod(descriptor, _SHARED_MODE)

    def _settle(self, temporary: str, blob: Blob) -> None:
        """Flush a file and give it its place, unless the same content is there already."""
        if self._is_renewed(blob):
            # What is not kept need not reach the disk.
            self._drop(temporary)
        else:
            sync_file(temporary)
            self._place(temporary, blob.digest)

    def _settle_all(self, intake: Intake) -> None:
        self._flush(intake.written.values())
        for digest, temporary in list(intake.written.items()):
            self._place(temporary, digest, intake)
            self._writing.discard(_name(temporary))
            del intake.written[digest]
        self._flush_names(intake)

    def _give_up(self, intake: Intake) -> None:
        for temporary in intake.written.values():
            self._drop(temporary)
        intake.written.clear()
        self._flush_names(intake)

    def _flush_names(self, intake: Intake) -> None:
        self._flush(intake.folders)
        with self._lock:
            self._unflushed.subtract(intake.folders)
            self._unflushed += Counter()
        intake.folders.clear()

    def _flush(self, paths: Collection[Path | str]) -> None:
        if len(paths) <= _FEW or not sync_file_system(self.folder):
            for path in paths:
                sync_file(path)

    def _place(self, temporary: str, digest: str, intake: Intake | None = None) -> None:
        """Give a file that is flushed its name; the name is flushed with those of an intake."""
        folder, target = self._folder_of(digest), self._place_of(digest)
        folders = {folder}
        # Its age is counted from now.
        os.utime(temporary)
        with self._lock:
            if (intake is None or folder not in intake.folders) and not folder.exists():
                self._private_directory(folder)
                folders.add(self.folder)
            try:
                os.replace(temporary, target)  # noqa: PTH105  # a path takes longer than the rest
            except IsADirectoryError:
                os.rename(target, self._in_trash(f"{digest}.folder"))  # noqa: PTH104
                os.replace(temporary, target)  # noqa: PTH105
            if intake is None:
                for folder in folders:
                    sync_file(folder)
            elif not folders <= intake.folders:
                self._unflushed.update(folders - intake.folders)
                intake.folders |= folders
            self._keep_stamp(digest, Stamp.of(os.lstat(target)))

    def _renew(self, blobs: Collection[Blob]) -> set[Blob]:
        return {blob for blob in blobs if self._is_renewed(blob)}

    def _is_renewed(self, blob: Blob, intake: Intake | None = None) -> bool:
        """Begin the grace time of a blob anew, if it is there and whole."""
        with self._lock:
            # Nobody takes it away while it is read.
            self._renewed[blob.digest] = self._clock()
        if not self._is_anywhere(blob.digest):
            return False
        try:
            is_whole = self._verify(blob.digest).size == blob.size
        except DamagedBlob:
            return False
        if is_whole and self._unflushed:
            # Who stored it has yet to do so, and may be later than who refers to it now.
            own = set() if intake is None else intake.folders
            for folder in (self._folder_of(blob.digest), self.folder):
                if folder in self._unflushed and folder not in own:
                    sync_file(folder)
        return is_whole

    def _is_anywhere(self, digest: str) -> bool:
        """Whether a blob has a file, be it in the trash; most of a first snapshot have none."""
        return os.path.lexists(self._place_of(digest)) or os.path.lexists(
            f"{self.folder}/{TRASH}/{digest}"
        )

    def _verify(self, digest: str) -> Stamp:
        with self._lock:
            known = self._stamps.get(digest)
            if known is not None and known == _stamp_of(self._place_of(digest)):
                self._keep_stamp(digest, known)
                return known
        path = self.path(digest)
        try:
            stamp = check_blob(path, known)
        except DamagedBlob as damage:
            if self._take_back(digest):
                return self._verify(digest)
            if path.exists():
                self.log.warning("%s", damage)
            raise
        with self._lock:
            self._keep_stamp(digest, stamp)
        return stamp

    def _keep_stamp(self, digest: str, stamp: Stamp) -> None:
        self._stamps[digest] = stamp
        self._stamps.move_to_end(digest)
        if len(self._stamps) > _MAX_STAMPS:
            self._stamps.popitem(last=False)

    # --- what nothing refers to --------------------------------------------------------------

    def _collect(self, referenced: frozenset[str]) -> int:
        since = self._clock() - self.grace_seconds
        if self._started > since:
            return 0
        unused, total = self._find_unused(referenced)
        moved = 0
        if not self._is_large_share(len(unused), total):
            moved = sum(self._take_away(path, since) for path in unused)
        if moved:
            self.log.info("moved %d blobs that nothing refers to into the trash", moved)
        self._sort_trash(referenced)
        self._forget_renewed(since)
        return moved

    def _find_unused(self, referenced: frozenset[str]) -> tuple[list[Path], int]:
        """Return blobs that may be collected, and how many there are; remove half-written ones."""
        unused, total = [], 0
        for path in self._all_files():
            is_old = path.name not in referenced and _age(path) >= self.grace_seconds
            if not path.name.startswith("."):
                total += 1
                if is_old:
                    unused.append(path)
            elif is_old and path.name.startswith(_NEW) and path.name not in self._writing:
                path.unlink(missing_ok=True)
        return unused, total

    def _forget_renewed(self, since: float) -> None:
        with self._lock:
            self._renewed = {name: at for name, at in self._renewed.items() if at > since}

    def _is_large_share(self, unused: int, total: int) -> bool:
        """Whether so many are suspicious, and have to wait."""
        if unused <= max(_SMALL_SHARE, self.max_collected_share * total):
            self._large_since = None
            return False
        now = self._clock()
        self._large_since = since = now if self._large_since is None else self._large_since
        left = since + self.large_share_seconds - now
        if left <= 0:
            return False
        self.log.warning(
            "%d of %d blobs are referred to by nothing in the database. Is it the one that belongs "
            "to this data folder? They stay for another %d s, then they are moved into the trash "
            "(BlobStore.max_collected_share, BlobStore.large_share_seconds)",
            *(unused, total, left),
        )
        return True

    def _take_away(self, path: Path, since: float) -> bool:
        with self._lock:
            if self._renewed.get(path.name, since) > since:
                return False
            try:
                if not self.trash_seconds:
                    path.unlink()
                else:
                    os.utime(path)
                    path.rename(self._in_trash(path.name))
            except FileNotFoundError:
                return False
            except OSError as error:
                # It stays until the next time; whoever deleted something has nothing to do with it.
                self.log.warning("blob %s can't be taken away: %s", path.name, error.strerror)
                return False
            self._stamps.pop(path.name, None)
        return True

    def _take_back(self, digest: str) -> bool:
        """Take a blob back out of the trash, if it is missing and there."""
        path = self.path(digest)
        with self._lock:
            left = self.folder / TRASH / digest
            if not left.exists() or path.exists():
                return False
            self._private_directory(path.parent)
            left.rename(path)
            self._renewed[digest] = self._clock()
        self.log.info("took blob %s back out of the trash", digest)
        return True

    def _sort_trash(self, referenced: frozenset[str]) -> None:
        """Take back what is referenced, and delete what has been in the trash for long enough.

        While the disk is short of room the rest goes as well, the oldest first.
        """
        for path in sorted(_entries(self.folder / TRASH), key=_age, reverse=True):
            if path.name in referenced:
                self._take_back(path.name)
            elif _age(path) >= self.trash_seconds or self.is_disk_short():
                with self._lock:
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)

    def _in_trash(self, name: str) -> Path:
        return private_directory(self.folder / TRASH) / name

    def _usage(self) -> BlobUsage:
        sizes = []
        for path in self._all_files():
            # Others are stored and deleted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return BlobUsage(len(sizes), sum(sizes))

    def _all_files(self) -> Iterator[Path]:
        """List the blobs, and what writers that were killed left behind."""
        for entry in _entries(self.folder):
            if entry.name == TRASH:
                continue
            if entry.is_dir():
                yield from _entries(entry)
            else:
                yield entry


def _is_added(intake: Intake, blob: Blob, temporary: str) -> bool:
    """Have a file become a blob with others; not if another thread has written the same."""
    return intake.written.setdefault(blob.digest, temporary) is temporary


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stamp_of(path: str) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _age(path: Path) -> float:
    """Seconds since a file was written, or moved to the trash; none of one that is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
