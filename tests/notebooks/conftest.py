"""A server for the notebooks alone: they list what is there, and compare it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.notebooks.record import new_server


@pytest.fixture(scope="session")
def notebook_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server with nothing in it."""
    with new_server(tmp_path_factory.mktemp("notebooks")) as server:
        yield server
