"""Versions of a service: which of them are people's, and which one comes next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from jupyter_mlsvc.wire.names import is_made_up

FIRST_VERSION: Final = "V1.0"
_LAST_NUMBER: Final = re.compile(r"(\d+)(?!.*\d)")


def named_versions(versions: Sequence[str]) -> list[str]:
    """Leave out the versions that a server made up: unique ids say nothing about their order."""
    return [version for version in versions if not is_made_up(version)]


def _following(number: re.Match[str]) -> str:
    """Write the next number with as many digits, so that 2024-02 follows on 2024-01."""
    return str(int(number[1]) + 1).zfill(len(number[1]))


def next_version(versions: Sequence[str]) -> str:
    """Return the version that follows on some, oldest first: V1.1 after V1.0, 8 after 7."""
    named = named_versions(versions)
    version = named[-1] if named else FIRST_VERSION
    while version in versions:
        version, count = _LAST_NUMBER.subn(_following, version)
        if not count:
            version += ".1"
    return version
