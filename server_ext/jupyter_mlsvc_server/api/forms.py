"""Forms with files (``multipart/form-data``), whose files go to disk while they come in."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Final

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from jupyter_mlsvc.wire.members import UnknownMember, spelled
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.storage.body_file import BodyFile
from jupyter_mlsvc_server.storage.staging import Staging

_FORM: Final = "multipart/form-data"
_TEXT_BYTES: Final = 2**20
"""What the texts of a form may hold together; they stay in memory."""
_PARTS: Final = 64


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form, which is there until the request ends; it may be moved away."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Form:
    """Texts and files by the names of their parts; of several of one name the last counts."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, UploadedFile] = field(default_factory=dict)


class FormReader:
    """Takes a form apart while it is received.

    Parameters
    ----------
    content_type
        Of the request; it has the boundary.
    folder
        Where the files go; it is removed by :meth:`discard`.
    """

    def __init__(self, content_type: str, folder: Path) -> None:
        self._folder = folder
        self._form = Form()
        self._problem: Exception | None = None
        self._parser: PushMultipartParser | None = None
        self._text = bytearray()
        self._text_size = 0
        self._segment: MultipartSegment | None = None
        self._begun = 0
        self._file_name = ""
        self._file: BodyFile | None = None
        _, options = parse_options_header(content_type)
        try:
            self._parser = PushMultipartParser(
                options.get("boundary", ""), max_segment_count=_PARTS
            )
        except MultipartError as error:
            self._problem = error

    async def write(self, chunk: bytes) -> None:
        """Take a piece of the body; :meth:`finish` raises what is wrong with it."""
        if self._problem is not None or self._parser is None:
            return
        try:
            for event in self._parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    await self._end()
                else:
                    await self._take(event)
        except (MultipartError, BadRequest) as error:
            self._problem = error

    async def finish(self) -> Form:
        """Give the form.

        Raises
        ------
        BadRequest
            It is none, or it is not whole.
        """
        if self._problem is None and self._parser is not None:
            try:
                self._parser.close()
            except MultipartError as error:
                self._problem = error
        if isinstance(self._problem, BadRequest):
            raise self._problem
        if self._problem is not None:
            raise BadRequest(f"The multipart body cannot be read: {self._problem}.")
        return self._form

    def discard(self) -> None:
        """Remove what is left of it; may be called twice."""
        if self._file is not None:
            self._file.discard()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- a part ------------------------------------------------------------------------------

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        self._begun += 1
        self._file_name = segment.filename or _extended_name(segment)
        if self._file_name:
            self._file = BodyFile(self._folder / str(self._begun))
        else:
            self._file = None
            self._text.clear()

    async def _take(self, piece: bytes | bytearray) -> None:
        if self._file is None:
            self._text_size += len(piece)
            if self._text_size > _TEXT_BYTES:
                raise BadRequest(
                    f"The texts of the form are longer than this server takes ({_TEXT_BYTES:,} "
                    "bytes). Send content as a file."
                )
            self._text += piece
        else:
            await self._file.write(piece)

    async def _end(self) -> None:
        assert self._segment is not None
        name = self._segment.name or ""
        if self._file is None:
            self._form.fields[name] = self._text.decode("utf-8", "replace")
            return
        await self._file.finish()
        self._form.files[name] = UploadedFile(self._file_name, self._file.path)


class FormUploads:
    """Reads the forms of requests, with their files in the staging folder.

    Parameters
    ----------
    staging
        Where folders for the files are made.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    async def read_file(self, request: ApiRequest) -> Path:
        """Write the whole body to a file, which is there until the request has been answered.

        Raises
        ------
        BadRequest, PayloadTooLarge
            As :meth:`ApiRequest.pieces`.
        """
        folder = await asyncio.to_thread(self._staging.folder)
        request.ended.push_async_callback(asyncio.to_thread, shutil.rmtree, folder, True)
        file = BodyFile(folder / "body")
        request.ended.push_async_callback(asyncio.to_thread, file.discard)
        async for piece in request.pieces():
            await file.write(piece)
        await file.finish()
        return file.path

    async def read(self, request: ApiRequest, *known: str) -> Form:
        """Read the form that was sent, which may have the parts that are named.

        Its files are there until the request has been answered.

        Raises
        ------
        BadRequest
            The body is not ``multipart/form-data``, or not whole, or has an unknown part.
        PayloadTooLarge
            It went over the limit.
        """
        content_type = request.headers.get("content-type", "")
        if not content_type.lower().startswith(_FORM):
            raise BadRequest(f"Send this as {_FORM}.")
        folder = await asyncio.to_thread(self._staging.folder)
        reader = FormReader(content_type, folder)
        request.ended.push_async_callback(asyncio.to_thread, reader.discard)
        async for piece in request.pieces():
            await reader.write(piece)
        form = await reader.finish()
        is_lenient = request.settings.lenient_json
        try:
            return Form(
                fields=spelled(form.fields, known, is_lenient=is_lenient),
                files=spelled(form.files, known, is_lenient=is_lenient),
            )
        except UnknownMember as error:
            raise BadRequest(f"The form does not fit: {error}") from None


def _extended_name(segment: MultipartSegment) -> str:
    """Read the form of file names that older clients send (RFC 2231), such as Microsoft's."""
    header = Message()
    header["Content-Disposition"] = dict(segment.headerlist).get("Content-Disposition", "")
    return header.get_filename("") if "filename*" in header["Content-Disposition"] else ""
