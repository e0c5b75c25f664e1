"""What the server and the forkserver of session kernels say to each other.

On a local socket that keeps messages apart (``SOCK_SEQPACKET``) the server sends a request, with
the descriptor of what is to be the kernel's standard output and error, and gets an answer. There is
one request at a time.
"""

from __future__ import annotations

from typing import Final

import msgspec

MODULE: Final = "jupyter_mlsvc_server.kernel.forkserver"
"""What the forkserver runs, with the number of its socket as the only argument."""

LAUNCHERS: Final = frozenset({"ipykernel_launcher", "ipykernel"})
"""Modules that a kernel spec runs for what the forkserver does in their place."""

LARGEST: Final = 2**20
"""Bytes that a message may have at most."""


class KernelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a kernel is to be like.

    Attributes
    ----------
    arguments : tuple of str
        Arguments of the kernel's application.
    environment : dict
        All of its environment variables.
    directory : str
        Its working directory.
    policy : str
        What it is confined by, as text; empty where it is not.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    policy: str = ""


class KernelForked(msgspec.Struct, frozen=True, kw_only=True):
    """Word of the forkserver: it is ready, or has done what was asked for.

    Attributes
    ----------
    pid : int
        Process id of the guard of the new kernel; 0 where there is none.
    problem : str
        Why there is none, in a sentence.
    """

    pid: int = 0
    problem: str = ""
