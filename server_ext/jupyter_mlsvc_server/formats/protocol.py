"""What the server and the processes that run services say to each other.

Two kinds of links, both local stream sockets. On a *control* link the server tells the forkserver
or a template to fork and to kill; messages are length-prefixed msgpack, and the one that asks for
a fork carries the child's own link as a file descriptor. On a *request* link the server sends a
worker the bodies of requests as they came and gets whole answers back, in order, but for those of
requests that run together when some of them can't.
"""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct as Layout
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from jupyter_mlsvc_server.formats.blobs import Stamp
from jupyter_mlsvc_server.formats.manifest import Manifest
from jupyter_mlsvc_server.formats.pieces import Body, after, beginning
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec

# --- control links: from the server ----------------------------------------------------------


class ForkserverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the forkserver does before its first fork.

    Attributes
    ----------
    preload : tuple of str
        Modules to import; those that aren't installed are passed over.
    heavy : tuple of str
        Further ones, whose cost is measured.
    sklearn_1d : bool
        Whether scikit-learn takes a single 1-D sample; see ``patches.sklearn_1d``.
    max_processes : int
        Processes and threads that a template and all below it may have; 0 for any number.
    """

    preload: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    sklearn_1d: bool = True
    max_processes: int = 0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service version on a machine: all that a template needs to know.

    Attributes
    ----------
    spec : ServiceSpec
        What was published.
    manifest, blobs
        Content of its snapshot and the folder of the blobs; None without a snapshot.
    stamps : dict
        Stamps of blobs that were found whole.
    work : str
        An existing empty folder for working directories.
    r_command : str
        The program that runs code in R.
    memory_limit, console_limit, answer_limit : int
        Bytes that a worker may allocate on top of the snapshot (0: any number); characters of
        console output of a request that are kept; bytes of an answer (0: as many as can be sent).
    is_traced : bool
        Whether each answer has notes of when its code ran.
    lenient_json : bool
        Whether bodies that are no strict JSON are read leniently.
    policy : str
        How the template and its workers are confined (see ``confine``); empty where they are not.
    environment : dict
        Variables to set before.
    is_shared : bool
        Whether workers of other revisions are forked from the template, too. Each has files of its
        own then.
    threads : int
        Threads of numeric libraries in a worker; 0 for one a core. The template has one.
    restores_in_workers : bool
        Whether each worker restores the snapshot for itself, as threads survive no fork.
    is_host : bool
        Whether the process forks nothing: it loads models and answers for them itself.
    """

    spec: ServiceSpec
    manifest: Manifest | None
    blobs: str | None
    work: str
    memory_limit: int
    console_limit: int
    answer_limit: int = 0
    lenient_json: bool = True
    is_traced: bool = False
    r_command: str = "R"
    stamps: dict[str, Stamp] = {}
    policy: str = ""
    environment: dict[str, str] = {}
    is_shared: bool = False
    threads: int = 1
    restores_in_workers: bool = False
    is_host: bool = False


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Restore the content of this; the first message to a template."""

    service: Service


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Fork a child that takes the file descriptor sent along as its link.

    One for a trial answers a single :class:`Trial`, and no requests. A second descriptor is its
    standard error. A host forks nothing and loads a model: there it is the model's file, and the
    process ids that it tells are numbers of its own.

    Attributes
    ----------
    spec : ServiceSpec or None
        The revision that a worker serves; None for a template.
    folder : str
        Where the files of its workers are, below those of the template; empty for the same place.
    """

    ticket: int
    is_trial: bool = False
    has_output: bool = False
    spec: ServiceSpec | None = None
    folder: str = ""


class Kill(msgspec.Struct, frozen=True, tag=True):
    """End a child and what it has started, at once. Says nothing when it has ended already."""

    pid: int


# --- control links: to the server ------------------------------------------------------------


class Preloaded(msgspec.Struct, frozen=True, tag=True):
    """The forkserver is ready.

    Attributes
    ----------
    missing : dict
        Modules that could not be imported, and why.
    pid : int
        Its process id.
    heavy_threads, heavy_bytes, heavy_seconds
        Threads that the heavy modules started, memory of its own and processor time that they took;
        no memory where that is not known.
    """

    missing: dict[str, str]
    pid: int = 0
    heavy_threads: int = 0
    heavy_bytes: int = 0
    heavy_seconds: float = 0.0


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """The template is ready.

    Attributes
    ----------
    lost : dict
        Names of the snapshot that were lost on restoring, and why.
    has_threads : bool
        Whether restoring has started threads. Its workers would lack them, and wait for them.
    """

    lost: dict[str, str]
    has_threads: bool = False


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The template can't serve this, and ends.

    ``cause`` is ``code`` where the publisher has to change the code, ``snapshot`` where the
    snapshot can't be restored, ``machine`` where the system did not let it, by error number
    ``errno``; ``message`` is a sentence for the publisher.
    """

    cause: Literal["code", "snapshot", "machine"]
    message: str
    errno: int = 0


class Forked(msgspec.Struct, frozen=True, tag=True):
    """A child runs."""

    ticket: int
    pid: int


class Exited(msgspec.Struct, frozen=True, tag=True):
    """A child has ended: its exit code, or minus the signal."""

    pid: int
    code: int


ToChild = Prepare | Fork | Kill
ToServer = Preloaded | Prepared | Refused | Forked | Exited

ENDED_FROM_OUTSIDE: Final = frozenset(
    {None, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
)
"""How a process ends that somebody ended, as for want of memory; None: nobody knows."""

OWN_FOLDER: Final = "own"
TEMPORARY_FOLDER: Final = "tmp"
"""Folders of a template for what libraries keep and for temporary files, below its others."""

_LENGTH: Final = Layout("<I")

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def pack(message: msgspec.Struct) -> bytes:
    """Frame a control message, or one of a trial."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


class Inbox(Generic[T]):
    """Puts the pieces that arrive on a control link together."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._bytes = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: list[int]) -> Iterator[T]:
        """Take what was received and give the messages that are whole now."""
        self._bytes += data
        self._descriptors.extend(descriptors)
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield self._decoder.decode(body)

    def descriptor(self) -> int:
        """Take the file descriptor that came with the message at hand."""
        return self._descriptors.popleft()


# --- trials ----------------------------------------------------------------------------------


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Run a service once, as part of the publish check.

    Attributes
    ----------
    body : bytes or None
        A request; None runs the code that comes before it, initCode, and nothing else.
    start_seconds, seconds : float
        What getting ready and the run may take.
    only_compiles : bool
        Whether nothing is run: the code is compiled, and the names that it needs are looked up.
    """

    body: bytes | None
    start_seconds: float
    seconds: float
    only_compiles: bool = False


class Line(msgspec.Struct, frozen=True):
    """A line of what was published; ``part`` is ``code``, ``initCode`` or ``setupCode``."""

    part: str
    number: int
    text: str


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial came to.

    Attributes
    ----------
    kind : Kind
        As of an answer to a request.
    body : bytes
        The answer.
    line : Line or None
        Where the code raised.
    types : dict
        Types of the outputs that are declared without one.
    streams : tuple of str
        Outputs that are streams.
    needs_inputs : bool
        Whether initCode failed for want of an input, which it has in a call.
    retired_for : str
        What was changed that can't be put back, so that a worker would have been replaced.
    notes : tuple of str
        What else the publisher may want to know.
    """

    kind: int
    body: bytes
    line: Line | None = None
    types: dict[str, str] = {}
    streams: tuple[str, ...] = ()
    needs_inputs: bool = False
    retired_for: str = ""
    notes: tuple[str, ...] = ()


def unpack_length(header: bytes) -> int:
    """Read how long a message is, of its first four bytes."""
    (length,) = _LENGTH.unpack(header)
    return int(length)


def receive_struct(link: socket.socket, kind: type[S]) -> S:
    """Wait for a message of a trial.

    Raises
    ------
    ConnectionError
        The other end is gone.
    """
    length = unpack_length(_receive_exactly(link, _LENGTH.size))
    return msgspec.msgpack.decode(_receive_exactly(link, length), type=kind)


def _receive_exactly(link: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        data = link.recv(count - len(parts))
        if not data:
            raise ConnectionError
        parts += data
    return bytes(parts)


# --- request links ---------------------------------------------------------------------------


class Kind(IntEnum):
    """What an answer is."""

    SUCCESS = 0
    FAILURE = 1
    """The user's code failed: a result all the same."""
    INVALID_INPUT = 2
    """The request does not fit the inputs: an Error body."""
    FAULT = 3
    """The worker itself failed; nothing that a caller should read."""
    WITH_NOTES = 4
    """An answer of another kind with what the server is to know of it: a :class:`Notes`."""
    ITEM = 5
    """A part of an answer, which comes when all its items have: JSON that callers get as it is."""
    RETIRED = 6
    """No answer: the code has changed what can't be put back, and the worker ends. Requests that
    it got and did not answer have not run, or with others in a call that came to nothing. The body
    says what has changed."""
    READY = 7
    """No answer: the worker has started. In the place of a number is how many requests it answers
    together."""
    NOT_SET_UP = 8
    """No answer: the code that runs once in each worker has failed. The body says how."""
    READY_CONCURRENT = 9
    """No answer: as ``READY``, of a worker that begins with each request when it comes and answers
    them in any order."""


class Notes(msgspec.Struct, frozen=True, array_like=True):
    """What the server is to know of a request beside its answer.

    Attributes
    ----------
    kind : Kind
        Of the answer.
    printed : bytes
        What the code has printed, as text, with the traceback where it raised.
    problem : bytes
        Why it has failed, in a line; empty for a success.
    began, ended : float
        When the code ran, by the monotonic clock; 0 where the service is not traced.
    """

    kind: int
    printed: bytes = b""
    problem: bytes = b""
    began: float = 0.0
    ended: float = 0.0


def with_notes(notes: Notes, body: bytes) -> bytes:
    """Return the body of a ``Kind.WITH_NOTES``."""
    head = msgspec.msgpack.encode(notes)
    return b"".join((_LENGTH.pack(len(head)), head, body))


def split_notes(body: Body) -> tuple[Notes, Body]:
    """Return the notes and the answer of a ``Kind.WITH_NOTES``.

    Raises
    ------
    ValueError
        It is none, but something that the user's code has written.
    """
    if len(body) < _LENGTH.size:
        raise ValueError
    end = _LENGTH.size + unpack_length(beginning(body, _LENGTH.size))
    notes = msgspec.msgpack.decode(beginning(body, end)[_LENGTH.size :], type=Notes)
    return notes, after(body, end)


def without_notes(kind: Kind, body: bytes) -> tuple[Kind, bytes]:
    """Return kind and body of an answer that may have notes."""
    if kind is not Kind.WITH_NOTES:
        return kind, body
    notes, answer = split_notes(body)
    return Kind(notes.kind), bytes(answer)


class Flush(IntEnum):
    """When an answer is sent: others than ``NOW`` may wait for the next answers."""

    NOW = 0
    """None wait behind it: its caller should have it at once."""
    SOON = 1
    """More wait behind it, so that its caller has it sooner if the server is not woken for each."""
    BULK = 2
    """More wait, and it is one of many that nobody waits for one by one."""
    STREAM = 3
    """As ``NOW``, and the items of its outputs that are streams are sent as they come."""
    CANCEL = 4
    """No request: the caller of the one with this number, which wanted a stream, has left. A worker
    that runs several at a time gets it of any, also of one that is too late. It answers it all the
    same."""
    PAUSE = 5
    """No request: the caller of the one with this number reads slowly, and its items are to wait.
    For workers that run several at a time; others wait as soon as nothing is read from them."""
    RESUME = 6
    """No request: its items may come again."""


REQUEST: Final = Layout("<IQB")
"""Header of a request: length of the body, number of the request, when its answer is sent."""

ANSWER: Final = Layout("<IQB")
"""Header of an answer: length of the body, number of the request, kind."""

MAX_ANSWER_BYTES: Final = 2**32 - 1
"""Bytes of an answer that its header can tell of."""

_ROOM: Final = 2**16
_ALL: Final = 2**32
_CANCEL: Final = int(Flush.CANCEL)


Request = tuple[int, int, bytes]
"""Number of a request, when its answer is to be sent, and its body."""


class RequestReader:
    """Reads requests from a worker's end of its link."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        # One buffer for all requests: getting a large one from the system for each costs more
        # than reading into it.
        self._buffer = bytearray(_ROOM)
        self._begin = 0
        self._end = 0
        self._kept: list[Request] = []
        """Requests that came while another one was answered item by item."""
        self._cancelled: set[int] = set()
        self._has_ended = False

    def read(self, most: int) -> list[Request]:
        """Wait for requests, and give those that are here.

        Returns
        -------
        list
            One at least and so many at most; empty at the end of the link.
        """
        if self._kept:
            requests, self._kept = self._kept[:most], self._kept[most:]
            return requests
        while True:
            requests, wanted = self._whole(most)
            if requests:
                return requests
            self._make_room(wanted)
            with memoryview(self._buffer) as view:
                received = self._link.recv_into(view[self._end :])
            if not received:
                return []
            self._end += received

    def is_cancelled(self, number: int) -> bool:
        """Return whether the caller of a request that is answered now has left."""
        while not self._has_ended:
            requests, wanted = self._whole(_ALL)
            self._kept += requests
            self._make_room(wanted)
            with memoryview(self._buffer) as view:
                try:
                    received = self._link.recv_into(view[self._end :], 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
            self._end += received
            self._has_ended = not received
        return self._has_ended or number in self._cancelled

    @property
    def is_at_hand(self) -> bool:
        """Whether a whole request has been received, so that :meth:`read` gives it at once."""
        left = self._end - self._begin
        if self._kept or left < REQUEST.size:
            return bool(self._kept)
        length: int = REQUEST.unpack_from(self._buffer, self._begin)[0]
        return left >= REQUEST.size + length

    def forget(self, number: int) -> None:
        """Take note that a request, and all before it, have been answered."""
        self._cancelled = {other for other in self._cancelled if other > number}

    def _whole(self, most: int) -> tuple[list[Request], int]:
        """Take the requests that are whole; tell how long the next one is, as far as is known."""
        requests: list[Request] = []
        head, begin, last = REQUEST.size, self._begin, self._end
        size = head
        with memoryview(self._buffer) as view:
            while len(requests) < most:
                size = head
                if last - begin < size:
                    break
                length, number, flush = REQUEST.unpack_from(view, begin)
                size += length
                if last - begin < size:
                    break
                if flush == _CANCEL:
                    self._cancelled.add(number)
                else:
                    requests.append((number, flush, bytes(view[begin + head : begin + size])))
                begin += size
        self._begin = begin
        return requests, size

    def _make_room(self, size: int) -> None:
        """Move what is left to the front of a buffer that holds so much."""
        left = self._end - self._begin
        if left == 0 and size <= _ROOM == len(self._buffer):
            self._begin = self._end = 0
        elif self._begin + size > len(self._buffer) or len(self._buffer) > max(size, _ROOM):
            buffer = bytearray(max(size, _ROOM))
            buffer[:left] = memoryview(self._buffer)[self._begin : self._end]
            self._buffer, self._begin, self._end = buffer, 0, left
