"""Processes that end with those that started them, and the process that watches over a kernel.

As a program it runs between the server and a session's kernel::

    python -I -S guard.py SERVER COMMAND…

It runs the command, and ends as that does: by the same exit code, or the same signal. A process
that is forked for a session calls :func:`watch_over_child` in place of that. Whatever the
command has started ends with it, be it in a session of its own or forked twice: such an orphan
becomes a child of the guard. SIGTERM ends all of them at once. So does the end of the server, of
which the guard hears by SIGTERM, too. It imports little, since there is one for each session.

Where the environment has a policy (see ``confine``), the command is confined, and the guard is not:
what is confined can neither end nor read it. The guard ends it when it has more processes than the
policy allows, because the system counts none of root's. In a sandbox (see ``sandbox``) the command
runs below the first process of its namespace, whose end ends all others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_POLICY: Final = "MLSVC_CONFINEMENT"
_SANDBOXED: Final = "\nsandboxed 1"
_OWN_USER: Final = "\nuser 0"

OOM_TEMPLATE: Final = 500
OOM_KERNEL: Final = 600
OOM_WORKER: Final = 800
"""Which processes the system ends where memory runs out: what least depends on goes first."""
_BY_SIGNAL: Final = 128
"""What is added to the number of a signal to make an exit code."""
_OUTSIDE: Final = 0
"""What stands for a parent outside of the own process namespace."""
_LIMIT_PAUSE: Final = 0.25
"""Seconds between two looks at how many processes there are."""
_NEVER: Final = 10**6
_FAILED: Final = 70
"""Exit code of a process that ends before it does what it is for; sysexits' EX_SOFTWARE."""

HAS_GUARDS: Final = sys.platform == "linux"
"""Whether orphans can be adopted here; elsewhere groups of processes have to do."""


def guarded(command: list[str]) -> list[str]:
    """Return the command that runs another one under a guard, for a child of this process."""
    if not HAS_GUARDS:
        return command
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(server: int, command: list[str]) -> None:
    """Run a command, and end with it and with the server."""
    is_kernel = "JPY_PARENT_PID" in os.environ
    watch_over_child(server, os.environ.pop(_POLICY, ""), is_kernel=is_kernel)
    try:
        if is_kernel:  # it ends when this is not its parent any more
            os.environ["JPY_PARENT_PID"] = str(os.getppid())
        os.execvp(command[0], command)  # noqa: S606  # it is the command that was asked for
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_FAILED)


def watch_over_child(server: int, policy: str, *, is_kernel: bool) -> None:
    """Return in a child, while this process is the guard, and ends with it and with the server.

    Parameters
    ----------
    server
        The parent of this process.
    policy
        What the child is confined by; empty where it is not.
    is_kernel
        Whether it is the first to go where memory runs out.
    """
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for the command, which is in the same group
    adopt_orphans()
    die_with(server, signal.SIGTERM)
    me = os.getpid()
    limit = ProcessLimit(_limit_of(policy))
    if limit.most:
        run_before_others()
    if is_sandboxed := _SANDBOXED in policy:
        _beside("sandbox").leave_processes(as_root=_OWN_USER not in policy)
        die_with(server, signal.SIGTERM)  # other rights, and the system has forgotten it
    pid = os.fork()
    if not pid:
        _become_child(me, awaited, policy, is_kernel=is_kernel)
        return
    status = signal.SIGTERM.value
    while (heard := signal.sigtimedwait(awaited, limit.pause)) is None or (
        heard.si_signo == signal.SIGCHLD
    ):
        ended = _bury()
        if pid in ended:
            status = ended[pid]
            break
        if heard is None and limit.is_exceeded_below(pid):
            os.write(2, f"It was ended for having more than {limit.most} processes.\n".encode())
            end_tree(pid)
    end_children()
    code = os.waitstatus_to_exitcode(status)
    if is_sandboxed and _BY_SIGNAL < code < _BY_SIGNAL + signal.NSIG:
        code = _BY_SIGNAL - code
    end_as(code)


def _become_child(
    guard: int, awaited: set[signal.Signals], policy: str, *, is_kernel: bool
) -> None:
    """Have this process, which the guard has forked, be like one that nobody watches over."""
    try:
        die_with(guard)
        if HAS_GUARDS:
            run_among_others()
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores some of them
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        if is_kernel:
            end_early(OOM_KERNEL)
        if policy:
            _confine(policy, guard)
    except OSError as error:
        os.write(2, f"{error.strerror}\n".encode())
        os._exit(_FAILED)


def _confine(policy: str, guard: int) -> None:
    """Confine this process, which the guard has forked."""
    launcher = _beside("confine")
    decoded = launcher.Policy.decoded(policy)
    launcher.join_cgroup(decoded)
    if decoded.sandboxed:
        _beside("sandbox").enter(decoded)
    launcher.confine(decoded)
    if decoded.user:
        die_with(guard)  # another user, and the system has forgotten it
    if decoded.sandboxed:
        _leave_the_first_process()


def _beside(name: str) -> Any:
    """Import a module of this file's folder.

    As a program, this file is run by an interpreter that finds nothing but its own library.
    """
    if __package__:
        return __import__(f"{__package__}.{name}", fromlist=[name])
    sys.path.append(os.path.dirname(__file__))
    try:
        return __import__(name)
    finally:
        sys.path.pop()


def _leave_the_first_process() -> None:
    """Return in a child, while this process, the first of its namespace, buries all that end.

    It can't end by a signal, so the exit code tells by which one the child did.
    """
    me = os.getpid()
    pid = os.fork()
    if not pid:
        die_with(me)
        return
    while (ended := os.waitpid(-1, 0))[0] != pid:
        pass
    code = os.waitstatus_to_exitcode(ended[1])
    os._exit(code if code >= 0 else _BY_SIGNAL - code)


def stand_for(pid: int) -> NoReturn:
    """Wait for a child that does what this process is for, and end as it does."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _, status = os.waitpid(pid, 0)
    end_as(os.waitstatus_to_exitcode(status))


def _limit_of(policy: str) -> int:
    """Read from a policy how many processes there may be; 0 for any number."""
    _, _, rest = policy.partition("\nlimit processes ")
    return int(rest.partition("\n")[0] or 0)


def _bury() -> dict[int, int]:
    """Bury the children that have ended; gives their status by process id."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended


def end_as(code: int) -> NoReturn:
    """End with an exit code, or by a signal where that is negative."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # of SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else _FAILED)


class ProcessLimit:
    """Finds out whether a tree of processes has grown too large (Linux).

    Attributes
    ----------
    most
        Processes and threads that a tree may have; 0 for any number.
    pause
        Seconds between two looks.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.pause = _LIMIT_PAUSE if most and HAS_GUARDS else _NEVER

    def is_exceeded_below(self, root: int) -> bool:
        """Count the processes and threads of a tree, unless the whole system has fewer."""
        if not self.most or _count_all() <= self.most:
            return False
        return len(_tree(root, self.most)) > self.most


def end_tree(root: int) -> None:
    """Kill a process and all below it."""
    killed: set[int] = set()
    while found := {int(each.partition("/")[0]) for each in _tree(root)} - killed - {root}:
        for pid in found:
            _kill(pid)
        killed |= found
    # The last one: until then it is the parent of those whose parents have ended.
    _kill(root)


def run_before_others() -> None:
    """Let this process run whenever it wants to, where that is allowed: root may.

    Among thousands of processes it would get its turn too late to end them. What it forks calls
    :func:`run_among_others` first. The system could see to that (SCHED_RESET_ON_FORK), but would
    give up the priority that the server has set meanwhile.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def run_among_others() -> None:
    """Let this process take turns again, by the priority that it has among others.

    Raises
    ------
    OSError
        The system refuses; the process must not run the code of others.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def end_early(score: int) -> None:
    """Have the system end this process before others where memory runs out (Linux).

    Without this it would take the largest process, which all others depend on. What this process
    starts has the same score.

    Parameters
    ----------
    score
        From 0 to 1000, the first to go.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


class OomScores:
    """Scores of this process and of those that it forks, as of :func:`end_early`.

    A confined process can't open the file of its score any more. So it is opened before, and the
    score of a child is that of this process at the fork.
    """

    def __init__(self, own: int, child: int) -> None:
        self._own = own
        self._child = child
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        self.forked()

    def fork_begins(self) -> None:
        """Take the score of a child."""
        self._write(self._child)

    def forked(self) -> None:
        """Take the own score again."""
        self._write(self._own)

    def close(self) -> None:
        """Keep the score for good, in a child."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, score: int) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.write(self._file, str(score).encode())


def _tree(root: int, most: int = sys.maxsize) -> set[str]:
    """Name the threads of a process and of all below it, until there are more than enough."""
    found: set[str] = set()
    waiting = [str(root)]
    while waiting and len(found) <= most:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                found.add(f"{pid}/{thread}")
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                    waiting += children.read().split()
    return found


def _count_all() -> int:
    """Return how many processes and threads the system has."""
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def end_children() -> None:
    """Kill and bury all children of this process, and what they leave behind."""
    while children := children_of_this():
        for pid in children:
            _kill(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def adopt_orphans() -> None:
    """Have orphans among the processes below this one become its children (Linux only)."""
    if HAS_GUARDS:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of_this() -> set[int]:
    """List the children of this process, which has one thread; empty where there is no `/proc`."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as children:
            return set(map(int, children.read().split()))
    except OSError:
        pass  # not every Linux has this file
    return {pid for pid in _processes() if _parent_of(pid) == me}


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _parent_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            status = file.read()
    except OSError:
        return 0
    # The name of the program, in parentheses, may have any character.
    return int(status.rpartition(")")[2].split()[1])


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the system send this process a signal when its parent ends (Linux only)."""
    dying_with(parent, number)()


def dying_with(parent: int, number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Give what :func:`die_with` does, prepared before a fork: then it takes no lock."""
    if not HAS_GUARDS:
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def die() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() not in {parent, _OUTSIDE}:  # it ended in between
            os._exit(_FAILED)

    return die


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
