"""What each job of the program gets to work with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Work:
    """A signed-in client of the SDK, and a serialised model for realtime services."""

    client: Any
    model: bytes = field(repr=False)

    def name(self) -> str:
        """Make up a name that no service has."""
        return f"sdk-{uuid.uuid4().hex[:8]}"


def failure_of(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Call something that has to fail with an HTTP status; give the SDK's exception."""
    from azureml.common.http_client import HttpException

    try:
        call(*args, **kwargs)
    except HttpException as error:
        return error
    raise AssertionError("The call went well.")
