"""The helpers inside kernels, as the server asks them: over a comm in Python, by files in R."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from jupyter_mlsvc.wire.values import ValueProblem
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.r_inputs import r_request, write_apart
from jupyter_mlsvc_server.sessions.channel import KernelChannel, refusal
from jupyter_mlsvc_server.sessions.errors import AgentRefused, FileNotFound
from jupyter_mlsvc_server.sessions.files import open_file
from jupyter_mlsvc_server.storage.machine_faults import machine_fault, writing_fault

Answer = dict[str, Any]
"""Members of an answer."""


class Agent(Protocol):
    """The helper in one kernel; ``kernel.agent`` has the operations."""

    async def ask(
        self,
        op: str,
        data: dict[str, Any],
        *,
        source: Path | None = None,
        target: Path | None = None,
    ) -> Answer:
        """Let it do something.

        Parameters
        ----------
        source
            A file with the bytes that the operation takes; it may be gone afterwards.
        target
            Where the operation writes the bytes that it gives; there is no file yet.

        Raises
        ------
        AgentRefused
            It could not; the message says why.
        KernelDied
            The kernel ended before or meanwhile.
        """


class CommAgent:
    """Asks over a Jupyter comm.

    Parameters
    ----------
    channel
        The kernel's.
    folder
        A private folder that the kernel may write into, for what the helper takes and leaves.
    user
        The user that the kernel runs as; 0 for the server's own.
    """

    def __init__(self, channel: KernelChannel, folder: Path, user: int = 0) -> None:
        self._user = user
        self._channel = channel
        self._folder = folder

    async def ask(
        self,
        op: str,
        data: dict[str, Any],
        *,
        source: Path | None = None,
        target: Path | None = None,
    ) -> Answer:
        """Send a message and wait for the one that answers it."""
        if source is None and target is None:
            return await self._channel.ask_comm(op, data)
        file = self._folder / uuid.uuid4().hex
        try:
            if source is not None:
                await asyncio.to_thread(_move, source, file, self._user)
            answer = await self._channel.ask_comm(op, {**data, "file": str(file)})
            if target is not None:
                # A short answer is in the message.
                with contextlib.suppress(FileNotFoundError):
                    await asyncio.to_thread(os.rename, file, target)
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)
        return answer


class FileAgent:
    """Asks by files and a silent execution, for kernels whose comms carry no bytes (IRkernel).

    Parameters
    ----------
    channel
        The kernel's.
    folder
        A private folder, where the helper looks for requests and leaves answers.
    user
        The user that the kernel runs as; 0 for the server's own.
    """

    CALL: Final = ".mlsvc({number})"
    """The code that makes the helper look."""

    def __init__(self, channel: KernelChannel, folder: Path, user: int = 0) -> None:
        self._user = user
        self._channel = channel
        self._folder = folder
        self._numbers = itertools.count(1)

    async def ask(
        self,
        op: str,
        data: dict[str, Any],
        *,
        source: Path | None = None,
        target: Path | None = None,
    ) -> Answer:
        """Write the request, have it done, and read the answer."""
        number = next(self._numbers)
        try:
            if op == "set" and source is not None:
                await self._write_apart(number, source)
            else:
                await asyncio.to_thread(self._write, number, r_request(op, data), source)
            await self._channel.execute(self.CALL.format(number=number), silent=True)
            answer = await asyncio.to_thread(self._read, number, target)
        except ValueProblem as problem:
            raise AgentRefused("ValueProblem", str(problem)) from problem
        except (FileNotFoundError, FileNotFound):
            written_to = Path(data.get("staging", self._folder))
            raise await asyncio.to_thread(self._unanswered, number, written_to) from None
        except msgspec.MsgspecError as error:
            raise AgentRefused("Unreadable", "The session has not answered in its form.") from error
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            await asyncio.to_thread(self._remove, number)
        if answer.get("ok"):
            return answer
        raise refusal(answer)

    async def _write_apart(self, number: int, inputs: Path) -> None:
        # A link at the name, which code of the user's may have put there, is not followed.
        if problem := await asyncio.to_thread(write_apart, inputs, self._path(number, "json")):
            raise AgentRefused("ValueProblem", problem)
        give(self._path(number, "json"), self._user)

    def _write(self, number: int, body: bytes, source: Path | None) -> None:
        # Code of the user's may have put a link there, which must lead nowhere.
        with self._path(number, "json").open("xb") as file:
            file.write(body)
        give(self._path(number, "json"), self._user)
        if source is not None:
            _move(source, self._path(number, "in"), self._user)

    def _read(self, number: int, target: Path | None) -> Answer:
        with open_file(self._path(number, "answer")).stream as file:
            answer: Answer = msgspec.json.decode(file.read())
        if target is not None and answer.get("ok") and "values" not in answer:
            self._path(number, "out").rename(target)
        return answer

    def _unanswered(self, number: int, written_to: Path) -> MlsvcServerError:
        """Say why there is no answer: the helper was interrupted, or could not write."""
        if self._path(number, "unwritten").exists():
            return writing_fault(written_to)
        return AgentRefused("Interrupted", "The session was interrupted while it did this.")

    def _remove(self, number: int) -> None:
        for suffix in ("json", "in", "part", "answer", "out", "unwritten"):
            self._path(number, suffix).unlink(missing_ok=True)

    def _path(self, number: int, suffix: str) -> Path:
        return self._folder / f"{number}.{suffix}"


def give(path: Path, user: int) -> None:
    """Give a file or folder to the user of a kernel; a link stays what it is."""
    if user:
        os.chown(path, user, user, follow_symlinks=False)


def _move(source: Path, target: Path, user: int) -> None:
    # Before: where it goes, code may put another file in its place.
    give(source, user)
    shutil.move(source, target)


def _unwritable(error: OSError) -> MlsvcServerError:
    return machine_fault(error) or AgentRefused(
        "Unwritable", f"The server could not hand this to the session ({error.strerror or error})."
    )
