"""Names that the server and its hosts share."""

from __future__ import annotations

import socket
from pathlib import Path

import jwt
import pytest

from jupyter_mlsvc_server.formats.host import (
    ISSUER,
    LOCAL_PREFIX,
    looks_like_ours,
    socket_address,
    socket_path,
)

KEY = "a key that is long enough for the algorithm, and for the library to be content with"


@pytest.mark.parametrize(
    ("token", "is_ours"),
    [
        (LOCAL_PREFIX + "abc", True),
        (jwt.encode({"iss": ISSUER}, KEY), True),
        (jwt.encode({"iss": "somebody"}, KEY), False),
        (jwt.encode({}, KEY), False),
        ("0123456789abcdef", False),
        ("a.b.c", False),
        ("..", False),
        ("a." + "W10" + ".c", False),
        ("ä.ö.ü", False),
        ("x" * 5000, False),
    ],
)
def test_token_of_ours_is_known_by_its_looks(token: str, is_ours: bool) -> None:
    assert looks_like_ours(token) is is_ours


def test_socket_in_a_deep_folder_can_be_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = socket_path(folder)
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        with socket_address(path) as address:
            listening.bind(address)
        listening.listen()
        with socket_address(path) as address:
            client.connect(address)
    assert path.is_socket()
