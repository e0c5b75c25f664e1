"""What the server does in a session's kernel before its user gets it.

Called once by silent execution; it leaves nothing in the user's namespace.
"""

from __future__ import annotations

import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_mlsvc.wire.sources import let_inspect_find_classes
from jupyter_mlsvc_server.formats import packages
from jupyter_mlsvc_server.formats.packages import SessionPackages
from jupyter_mlsvc_server.formats.shown_paths import shorten_warnings
from jupyter_mlsvc_server.kernel import agent

if TYPE_CHECKING:
    from ipykernel.zmqshell import ZMQInteractiveShell


_PIECE: Final = 2**16
"""Characters that are printed with one message."""


def start(shell: ZMQInteractiveShell, *, sklearn_1d: bool, largest_output: int) -> None:
    """Prepare a kernel.

    Parameters
    ----------
    shell
        The kernel's shell.
    sklearn_1d
        Whether a 1-D sample is understood by scikit-learn's estimators; see ``patches.sklearn_1d``.
    largest_output
        Length above which the server reads only the beginning of an output.
    """
    agent.load(shell)
    SessionPackages(shell, Path.cwd() / packages.FOLDER).register()
    let_inspect_find_classes()
    shorten_warnings(str(Path.cwd()))
    if sklearn_1d:
        from jupyter_mlsvc_server.patches.sklearn_1d import install

        install()
    _keep_running_on_exit(shell)
    _lose_no_output(shell.kernel)
    _print_in_pieces(shell.kernel, largest_output)
    _end_without_waiting(shell.kernel)
    # ipykernel has read it; code in the session has no use for the server's process id.
    os.environ.pop("JPY_PARENT_PID", None)


def _keep_running_on_exit(shell: Any) -> None:
    """Turn ``exit()`` and ``quit()`` into an error of the code, as ``sys.exit()`` is one."""

    def ask_exit() -> None:
        raise SystemExit("exit is not for sessions; close the session to end it.")

    shell.ask_exit = ask_exit
    warnings.filterwarnings("ignore", message="To exit: use", category=UserWarning)


def _lose_no_output(kernel: Any) -> None:
    """Make output wait for a server that is slower, instead of dropping it.

    A publishing socket drops messages when its reader lags by a thousand. Waiting instead holds
    the code that prints, so neither side's memory grows.
    """
    import zmq

    thread = kernel.iopub_thread
    thread.schedule(lambda: thread.socket.setsockopt(zmq.XPUB_NODROP, 1))


def _print_in_pieces(kernel: Any, largest_output: int) -> None:
    """Send a long text with several messages, between which the server has time for others."""

    def split(stream: Any, message: dict[str, Any]) -> dict[str, Any]:
        content = message["content"]
        text = content["text"]
        if not _PIECE < len(text) <= largest_output:
            return message
        *first, content["text"] = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
        for piece in first:
            part = {**content, "text": piece}
            sent = stream.session.msg("stream", part, parent=message["parent_header"])
            stream.session.send(stream.pub_thread, sent, ident=stream.topic)
        return message

    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        # A hook is one of the thread that registers it, and this one sends.
        kernel.iopub_thread.schedule(partial(stream.register_hook, partial(split, stream)))


def _end_without_waiting(kernel: Any) -> None:
    """Flush no output any more once the kernel is told to end.

    ipykernel may have ended the thread that sends output when it flushes for the last time, and
    would wait for it in vain until the server gives the kernel up.
    """
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    do_shutdown = kernel.do_shutdown

    def end(restart: bool) -> Any:
        for stream in streams:
            stream.flush()
            stream.flush = lambda: None
        return do_shutdown(restart)

    kernel.do_shutdown = end
