"""The process that session kernels are forked from: ipykernel and our helper, imported once.

Started as ``python -m jupyter_mlsvc_server.kernel.forkserver DESCRIPTOR``. It has one thread, and
imports what a kernel imports on its way to the first cell, nothing else: no library of the user's,
no sockets, no event loop. So a session can't tell by what is there whether it was forked.

A request makes two processes. The first becomes the guard of the kernel (``formats.guard``). It is
made as a sibling, not as a child (``CLONE_PARENT``): it and the kernel belong to the server, which
waits for them, and live on when the forkserver ends. The guard forks the second one, which confines
itself as templates do and then runs the kernel's application.

What all kernels of a forkserver have in common is the seed of the hashes of texts. Random numbers
differ: Python seeds its own generator anew after a fork, and no other one is imported here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import Final

import msgspec

from jupyter_mlsvc_server.formats.guard import die_with, watch_over_child
from jupyter_mlsvc_server.formats.kernel_fork import (
    LARGEST,
    LAUNCHERS,
    KernelForked,
    KernelRequest,
)

_PRELOADED: Final = (
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "ipykernel.eventloops",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "IPython.utils.wildcard",
    "encodings.ascii",
    "encodings.idna",
    "faulthandler",
    "tornado.platform.asyncio",
    "tornado.queues",
    "jupyter_mlsvc_server.kernel.startup",
    "jupyter_mlsvc_server.patches.sklearn_1d",
)
"""What a kernel imports until it has run its first cell; a test compares it with one."""

_CLONE: Final = {"x86_64": 56, "aarch64": 220}
"""Number of the system call by machine."""
_CLONE_PARENT: Final = 0x00008000
_FAILED: Final = 70
_ANY_PARENT: Final = 1


def main(descriptor: str) -> None:
    """Import what kernels need, then fork them until the server is gone."""
    # The working directory, which no kernel has on its path.
    del sys.path[0]
    die_with(os.getppid(), signal.SIGKILL)
    link = socket.socket(fileno=int(descriptor))
    link.set_inheritable(False)
    # It would say how to debug it.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    before = dict(os.environ)
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):  # another release, which needs other modules
            importlib.import_module(name)
    added = {name: value for name, value in os.environ.items() if name not in before}
    gc.collect()
    gc.freeze()
    _tell(link, KernelForked())
    while (received := _next(link)) is not None:
        request, output = received
        if _fork(link, request, output):
            _run(request, added)
            return


def _next(link: socket.socket) -> tuple[KernelRequest, int] | None:
    data, descriptors, _, _ = socket.recv_fds(link, LARGEST, 1)
    if not data:
        return None
    return msgspec.json.decode(data, type=KernelRequest), descriptors[0]


def _tell(link: socket.socket, message: KernelForked) -> None:
    link.send(msgspec.json.encode(message))


def _fork(link: socket.socket, request: KernelRequest, output: int) -> bool:
    """Return in this process, and with True in the new kernel."""
    server = os.getppid()
    own, guards = os.pipe()
    try:
        pid = _clone()
    except OSError as error:
        pid, message = -1, KernelForked(problem=f"{error.strerror}.")
    if not pid:
        os.close(own)
        link.close()
        _become_kernel(request, output, server, ready=guards)
        return True
    os.close(guards)
    os.close(output)
    if pid > 0:
        os.read(own, 1)  # it is in a session of its own now, or gone
        message = KernelForked(pid=pid)
    os.close(own)
    _tell(link, message)
    return False


def _clone() -> int:
    """Fork a sibling of this process, which has one thread.

    Neither Python nor the C library is told, so the sibling forks again before it does much.
    """
    number = _CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(0, f"kernels can't be forked on {os.uname().machine}")
    # PyDLL, which keeps the interpreter's lock.
    libc = ctypes.PyDLL(None, use_errno=True)
    pid: int = libc.syscall(number, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return pid


def _become_kernel(request: KernelRequest, output: int, server: int, *, ready: int) -> None:
    """Return in the kernel's process, confined; this one is its guard."""
    try:
        os.setsid()
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        os.close(ready)
        os.chdir(request.directory)
        watch_over_child(server, request.policy, is_kernel=True)
    except BaseException as error:  # noqa: BLE001  # it must not go on as a forkserver
        os.write(2, f"{error}\n".encode())
        os._exit(_FAILED)


def _run(request: KernelRequest, added: dict[str, str]) -> None:
    """Run the kernel's application, as its module does in an interpreter of its own.

    Parameters
    ----------
    request
        What it is to be like.
    added
        Variables that modules have set when they were imported.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    # ipykernel has read this one when it was imported; others may look for it.
    parent = {"JPY_PARENT_PID": str(os.getppid())}
    os.environ.update(added | request.environment | parent)
    time.tzset()
    tempfile.tempdir = None
    launcher = next(iter(sorted(LAUNCHERS, reverse=True)))
    spec = find_spec(launcher)
    sys.argv = [spec.origin if spec and spec.origin else launcher, *request.arguments]
    sys.orig_argv = [sys.executable, "-m", launcher, *request.arguments]
    from ipykernel.kernelapp import launch_new_instance

    # As the child of a program: it says nothing of how to connect to it. The guard ends it with the
    # server, so it need not look every second whether its parent is there.
    launch_new_instance(parent_handle=_ANY_PARENT)


if __name__ == "__main__":
    main(sys.argv[1])
