"""Folders of kernels, and who may have connected to the sockets in them."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jupyter_mlsvc_server.sessions.kernels import Folders


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory() as short:
        found = Folders(tmp_path / "home", Path(short) / "s")
        found.create()
        yield found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of connections")
@pytest.mark.parametrize("connections", [1, 2])
def test_a_kernel_that_others_listen_to_is_not_used(folders: Folders, connections: int) -> None:
    with ExitStack() as stack:
        output = folders.sockets / "k-2"
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(output))
        listening.listen()
        for _ in range(connections):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(output))
        if connections > 1:
            with pytest.raises(ConnectionError, match="another process"):
                folders.close_sockets(output)
        else:
            folders.close_sockets(output)
    assert list(folders.sockets.iterdir()) == [folders.temporary]
