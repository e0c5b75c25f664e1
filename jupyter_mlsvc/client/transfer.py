"""Large things on their way: read while they are sent, written while they come, with progress."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc.client.api import body_chunks
from jupyter_mlsvc.client.transport import ApiResponse
from jupyter_mlsvc.errors import MlsvcError

Progress = Callable[[int, int | None], object]
"""Called with the bytes so far and in all, which is None where it is not known."""

_CHUNK_BYTES: Final = 256 * 1024
_OCTETS: Final = "application/octet-stream"


def no_progress(_done: int, _total: int | None) -> None:
    """Show nothing."""


class Bytes:
    """Bytes whose sending can be watched."""

    def __init__(self, data: bytes, progress: Progress) -> None:
        self._data = data
        self._progress = progress

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), _CHUNK_BYTES):
            yield self._data[start : start + _CHUNK_BYTES]
            self._progress(min(start + _CHUNK_BYTES, len(self)), len(self))


class FileForm:
    """A form with a file that is read while it is sent, so it need not fit into memory.

    Parameters
    ----------
    path : pathlib.Path
        The file; it becomes the part ``file``.
    name : str
        Its name in the form.
    fields : mapping
        Texts that go with it.
    progress : callable
        Told of the file's bytes.

    Attributes
    ----------
    content_type : str
        Type of the whole.
    """

    def __init__(
        self, path: Path, name: str, fields: Mapping[str, str], progress: Progress
    ) -> None:
        from urllib3.filepost import encode_multipart_formdata

        boundary = uuid.uuid4().hex
        # The library writes the headers, around an empty file that ends the form.
        encoded: Any = {**fields, "file": (name, b"", _OCTETS)}
        body, self.content_type = encode_multipart_formdata(encoded, boundary)
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._head = body.removesuffix(self._tail)
        self._path = path
        self._size = path.stat().st_size
        self._progress = progress

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        done = 0
        with self._path.open("rb") as file:
            while done < self._size:
                # A file that grows meanwhile is sent as long as it was announced.
                chunk = file.read(min(_CHUNK_BYTES, self._size - done))
                if not chunk:
                    raise MlsvcError(f"{self._path} became shorter while it was sent.")
                yield chunk
                done += len(chunk)
                self._progress(done, self._size)
        yield self._tail


def read(response: ApiResponse, progress: Progress) -> bytes:
    """Read a body and tell how far it is."""
    return b"".join(_watched(response, progress))


def save(response: ApiResponse, path: Path, progress: Progress) -> Path:
    """Write a body to a file, which exists only if all of it arrived."""
    part = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            for chunk in _watched(response, progress):
                file.write(chunk)
        part.replace(path)
    finally:
        response.close()
        part.unlink(missing_ok=True)
    return path


def _watched(response: ApiResponse, progress: Progress) -> Iterator[bytes]:
    announced = response.headers.get("Content-Length", "")
    total = int(announced) if announced.isdecimal() else None
    done = 0
    for chunk in body_chunks(response):
        yield chunk
        done += len(chunk)
        progress(done, total)
