"""A single-threaded process that forks children at the server's request and buries them.

The forkserver and every template are one. No child outlives the server, however that ends: the
parent sees the end of its control link and kills its children, and a child whose parent is killed
is killed by the system. The forkserver has a guard above it, which ends all below when the
forkserver is killed; where the guard is, the forkserver does so itself.

Nor does what a child has started outlive the child, be it in a session of its own or forked twice
(Linux). An orphan becomes a child of the worker, the template or the forkserver above it, whichever
still lives. So all children of a template that it did not fork are leftovers of workers that have
ended, and are killed. The same goes for the forkserver and its templates.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

from jupyter_mlsvc_server.formats.guard import (
    OomScores,
    ProcessLimit,
    adopt_orphans,
    children_of_this,
    die_with,
    end_children,
    end_tree,
)
from jupyter_mlsvc_server.formats.protocol import (
    Exited,
    Fork,
    Forked,
    Inbox,
    Kill,
    ToChild,
    ToServer,
    pack,
)

Child = Callable[[socket.socket, Fork], None]

_PIECE: Final = 2**16
_CRASHED: Final = 70
"""Exit code of a child whose own code (not the user's) failed; sysexits' EX_SOFTWARE."""

_STANDARD_ERROR: Final = 2

_LEFTOVERS_PAUSE: Final = 0.5
"""Seconds after a child's end until its leftovers are looked for."""


class Control:
    """A child's end of its control link."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._inbox: Inbox[ToChild] = Inbox(ToChild)
        self._waiting: list[ToChild] = []

    def receive(self) -> list[ToChild] | None:
        """Wait for messages; None at the end of the link."""
        if self._waiting:
            messages, self._waiting = self._waiting, []
            return messages
        try:
            data, descriptors, _, _ = socket.recv_fds(self.link, _PIECE, 8)
        except ConnectionError:
            return None
        return list(self._inbox.feed(data, descriptors)) if data else None

    def receive_one(self) -> ToChild | None:
        """Wait for one message; None at the end of the link."""
        while (messages := self.receive()) is not None:
            if messages:
                self._waiting = messages[1:]
                return messages[0]
        return None

    def descriptor(self) -> int:
        """Take the file descriptor that came with the message at hand."""
        descriptor = self._inbox.descriptor()
        os.set_inheritable(descriptor, False)
        return descriptor

    def send(self, message: ToServer) -> None:
        """Tell the server; a server that is gone is found out on receiving."""
        with contextlib.suppress(ConnectionError):
            self.link.sendall(pack(message))


class Parent:
    """Forks, kills and buries children until the control link ends.

    Parameters
    ----------
    control
        The link to the server.
    child
        What a child does with its own link and the message that asked for it; the process ends when
        it returns.
    trial
        The same for a child that is forked for a trial.
    buried
        Called after a child has ended, with the process id and the folder of its files.
    limit
        Of the processes below a child; one that exceeds it is ended.
    exit_timeout
        Seconds that children get to end by themselves when the link has ended.
    ends_at
        A signal at which the process ends its children at once, and itself.
    oom_scores
        Whether children end before this process where memory runs out.
    """

    def __init__(
        self,
        control: Control,
        child: Child,
        *,
        trial: Child | None = None,
        buried: Callable[[int, str], None] | None = None,
        exit_timeout: float = 0.0,
        limit: ProcessLimit | None = None,
        ends_at: signal.Signals | None = None,
        oom_scores: OomScores | None = None,
    ) -> None:
        self._control = control
        self._child = child
        self._trial = trial or child
        self._buried = buried
        self._exit_timeout = exit_timeout
        self._limit = limit or ProcessLimit(0)
        self._ends_at = ends_at
        self._oom_scores = oom_scores
        self._children: dict[int, str] = {}
        """Process ids, with the folders of their files."""
        self._spared: set[int] = set()
        """Children that restoring or importing has started; they end with this process."""
        self._is_over = False
        self._leftovers_at = math.inf
        """When to look for what ended children have left."""
        self._limit_at = 0.0

    def run(self) -> None:
        """Serve until the control link ends, then end what is left of the children."""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        if self._ends_at is not None:
            signal.signal(self._ends_at, self._end_at_once)
        poll = select.poll()
        poll.register(self._control.link, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        adopt_orphans()
        self._spared = children_of_this()
        while not self._is_over:
            ready = {descriptor for descriptor, _ in poll.poll(self._timeout())}
            self._keep_limit()
            if time.monotonic() >= self._leftovers_at:
                self._leftovers_at = math.inf
                self._kill_leftovers()
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, _PIECE)
                self._bury()
            if self._control.link.fileno() in ready:
                messages = self._control.receive()
                if messages is None:
                    break
                for message in messages:
                    self._obey(message)
        self._end_children()

    def _end_at_once(self, *_: object) -> None:
        self._is_over = True
        self._exit_timeout = 0.0

    def _timeout(self) -> float | None:
        """Return the milliseconds until something is to be looked for."""
        next_look = self._leftovers_at
        if self._limit.most and self._children:
            next_look = min(next_look, self._limit_at)
        if next_look == math.inf:
            return None
        return max(next_look - time.monotonic(), 0.0) * 1000

    def _keep_limit(self) -> None:
        """End the children that have too many processes."""
        if not self._limit.most or time.monotonic() < self._limit_at:
            return
        self._limit_at = time.monotonic() + self._limit.pause
        for pid in self._children:
            if self._limit.is_exceeded_below(pid):
                os.write(2, b"A service was ended: it had too many processes.\n")
                end_tree(pid)

    def _kill_leftovers(self) -> None:
        for pid in children_of_this() - self._children.keys() - self._spared:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _obey(self, message: ToChild) -> None:
        if isinstance(message, Fork):
            link = socket.socket(fileno=self._control.descriptor())
            output = self._control.descriptor() if message.has_output else None
            pid = self._fork(link, message, output)
            link.close()
            if output is not None:
                os.close(output)
            self._control.send(Forked(message.ticket, pid))
        elif isinstance(message, Kill) and message.pid in self._children:
            _kill(message.pid)

    def _fork(self, link: socket.socket, message: Fork, output: int | None) -> int:
        child = self._trial if message.is_trial else self._child
        me, scores = os.getpid(), self._oom_scores
        if scores is not None:
            scores.fork_begins()
        pid = os.fork()
        if pid:
            self._children[pid] = message.folder
            if scores is not None:
                scores.forked()
            return pid
        code = _CRASHED
        try:
            self._become_child(me)
            if output is not None:
                os.dup2(output, _STANDARD_ERROR)
                os.close(output)
            child(link, message)
            code = 0
        except BaseException:  # noqa: BLE001  # this process ends here, whatever it was
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)

    def _become_child(self, parent: int) -> None:
        die_with(parent)
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *([] if self._ends_at is None else [self._ends_at])):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._oom_scores is not None:
            self._oom_scores.close()
        self._control.link.close()
        self._children.clear()
        self._spared.clear()
        # A group of its own, so that what it starts can be ended with it.
        os.setsid()

    def _bury(self) -> None:
        while (found := _ended_child()) is not None:
            pid, status = found
            # One look for all that end at about the same time: it reads the list of processes.
            self._leftovers_at = min(self._leftovers_at, time.monotonic() + _LEFTOVERS_PAUSE)
            if pid not in self._children:
                self._spared.discard(pid)
                continue
            folder = self._children.pop(pid)
            # Whatever the child has started and left behind in its own session.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._control.send(Exited(pid, os.waitstatus_to_exitcode(status)))
            if self._buried is not None:
                self._buried(pid, folder)

    def _end_children(self) -> None:
        deadline = time.monotonic() + self._exit_timeout
        self._bury()
        while self._children and time.monotonic() < deadline:
            time.sleep(0.01)
            self._bury()
        for pid in self._children:
            _kill(pid)
        while self._children:
            self._bury()
            time.sleep(0.002)
        self._spared.clear()
        end_children()


def _ended_child() -> tuple[int, int] | None:
    """Bury a child that has ended: its process id and status; None where none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _kill(pid: int) -> None:
    """Kill an unburied child and its group; it may not have got as far as having one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
