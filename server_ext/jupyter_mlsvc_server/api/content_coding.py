"""Bodies as they come: what ``Content-Encoding`` and ``Content-Type`` say about their bytes.

What is encoded is decoded piece by piece, and no further than the limit for bodies, so that a few
bytes that stand for gigabytes cost no more than a body that is as long as it may be.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.message import Message
from typing import Final, Protocol

from jupyter_mlsvc_server.api.responses import BodyLimit
from jupyter_mlsvc_server.errors import BadRequest, UnsupportedContentCoding, UnsupportedMediaType

PIECE_BYTES: Final = 2**20
"""What is decoded at a time, at most."""

_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_MAX_CODINGS: Final = 3
_WINDOW_LOG: Final = 23
"""Memory that a zstd body may ask for, as a power of two: what every sender has to keep to."""

_GZIP_FORMAT: Final = 31
_ZLIB_FORMAT: Final = 15
_RAW_DEFLATE: Final = -15


def charset_problem(content_type: str) -> UnsupportedMediaType | None:
    """Return the error for a text in an encoding that is not read here, if it is in one.

    Parameters
    ----------
    content_type
        Value of the header.
    """
    if "charset" not in content_type.lower():
        return None
    header = Message()
    header["Content-Type"] = content_type
    charset = header.get_param("charset")
    if not isinstance(charset, str) or charset.strip().lower() in _CHARSETS | {""}:
        return None
    return UnsupportedMediaType(
        f"The charset {charset[:60]!r} is not read here. Send the body in UTF-8."
    )


def codings_of(header: str) -> tuple[str, ...]:
    """Return the codings that a ``Content-Encoding`` names, in the order they were applied.

    Raises
    ------
    UnsupportedContentCoding
        One of them is not known here, or there are too many.
    """
    names = [name.strip().lower() for name in header.split(",")]
    codings = tuple(name for name in names if name not in {"", "identity"})
    for name in codings:
        if name not in _DECODERS:
            raise UnsupportedContentCoding(
                f"The Content-Encoding {name[:60]!r} is not read here. Send the body as it is, or "
                f"encode it with {', '.join(UnsupportedContentCoding.known)}."
            )
    if len(codings) > _MAX_CODINGS:
        raise UnsupportedContentCoding(f"The body is encoded {len(codings)} times. Encode it once.")
    return codings


class BodyDecoder:
    """Decodes a body while it comes.

    Parameters
    ----------
    codings
        As :func:`codings_of` gives them.
    limit
        Bytes that it may have.
    """

    def __init__(self, codings: Sequence[str], limit: BodyLimit) -> None:
        self._stages = [_Stage(name, _DECODERS[name], limit) for name in reversed(codings)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode what came, in pieces.

        Raises
        ------
        BadRequest
            It can't be decoded.
        PayloadTooLarge
            It has more bytes than a body may have.
        """
        pieces: Iterable[bytes] = (data,)
        for stage in self._stages:
            pieces = stage.feed(pieces)
        yield from pieces

    def finish(self) -> None:
        """Check that the end has come.

        Raises
        ------
        BadRequest
            It has not.
        """
        for stage in self._stages:
            stage.finish()


class _Decompressor(Protocol):
    """What decompresses one member or frame, as the standard library's do."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...


class _Stage:
    """One coding of a body, which may be of several members one after the other."""

    def __init__(self, name: str, make: Callable[[bytes], _Decompressor], limit: BodyLimit) -> None:
        self._name = name
        self._make = make
        self._limit = limit
        self._size = 0
        self._decompressor: _Decompressor | None = None
        self._beginning = b""

    def feed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            data = piece
            while data:
                if self._decompressor is None:
                    self._beginning += data
                    if len(self._beginning) < 2:  # too short to tell the formats apart
                        break
                    data, self._beginning = self._beginning, b""
                    self._decompressor = self._make(data)
                yield from self._decompress(self._decompressor, data)
                data = b""
                if self._decompressor.eof:
                    data, self._decompressor = self._decompressor.unused_data, None

    def _decompress(self, decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = decompressor.decompress(data, PIECE_BYTES)
            except Exception as error:
                if not _is_of_codec(error):
                    raise
                raise BadRequest(f"The body is no {self._name} that can be decoded.") from error
            self._size += len(piece)
            if self._size > self._limit.most:
                raise self._limit.exceeded(is_decoded=True)
            if piece:
                yield piece
            if decompressor.eof or decompressor.needs_input:
                return
            data = b""

    def finish(self) -> None:
        if self._decompressor is not None or self._beginning:
            raise BadRequest(f"The body ends before its {self._name} does.")


class _Zlib:
    """A decompressor of zlib with the interface of the others."""

    def __init__(self, window_bits: int) -> None:
        self._object = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


def _gzip(_: bytes) -> _Decompressor:
    return _Zlib(_GZIP_FORMAT)


def _deflate(beginning: bytes) -> _Decompressor:
    # The name means zlib's format; many send what is inside of it.
    has_header = beginning[0] & 0x0F == 8 and int.from_bytes(beginning[:2], "big") % 31 == 0
    return _Zlib(_ZLIB_FORMAT if has_header else _RAW_DEFLATE)


def _zstd(_: bytes) -> _Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    decompressor: _Decompressor = zstd.ZstdDecompressor(options=options)
    return decompressor


def _is_of_codec(error: Exception) -> bool:
    return isinstance(error, zlib.error) or type(error).__name__ == "ZstdError"


_DECODERS: Final[dict[str, Callable[[bytes], _Decompressor]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}
