"""A server that made-up calls may do with what they like."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, door_urls, sign_in
from tests.fuzz.calls import Effort
from tests.fuzz.world import World

PASSWORD = "Correct-Horse-1"

EFFORT = Effort.of(os.environ.get("MLSVC_FUZZ_EXAMPLES"))
"""The suite makes few calls and always the same; ``make fuzz`` many, and others each time."""


@pytest.fixture(scope="session")
def fuzzed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: its services have odd names and its sessions odd contents."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("fuzzed"),
        admin_password=PASSWORD,
        base_url="/hub/user%20name/",
        jupyter=True,
        options=["--AccountManager.failed_logins=0"],
    ) as server:
        yield server


@pytest.fixture(scope="session", params=["public", "jupyter"])
def fuzzed_door(request: pytest.FixtureRequest, fuzzed_server: ServerProcess) -> Door:
    """Each door in turn."""
    return sign_in(door_urls(fuzzed_server)[request.param], "admin", PASSWORD)


@pytest.fixture(scope="session")
def world(fuzzed_door: Door) -> World:
    """What the server has."""
    return World(fuzzed_door, PASSWORD)
