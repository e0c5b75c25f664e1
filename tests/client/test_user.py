"""What a client shows of who one is."""

from __future__ import annotations

import pytest

from jupyter_mlsvc.client.user import User
from jupyter_mlsvc.wire.models import UserResponse


@pytest.mark.parametrize(
    ("may_run_code", "level", "shown"),
    [
        (False, "", "runs code  no\n"),
        (True, "sandbox", "runs code  yes, confined at level sandbox\n"),
        (True, "none", "runs code  yes, and nothing keeps it from the server's files\n"),
        (True, "", "runs code  yes\n"),  # by a server of before
    ],
)
def test_it_says_how_code_is_confined(may_run_code: bool, level: str, shown: str) -> None:
    answer = UserResponse(
        name="ann",
        role="contributor",
        server_version="0.1.0",
        public_url="",
        may_run_code=may_run_code,
        confinement=level,
    )
    assert shown in repr(User(answer, "http://localhost:12800"))
