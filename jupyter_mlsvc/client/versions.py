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


def next_version(versions: Sequence[str]) -> str:
    """Return the version that follows on some, oldest first: V1.1 after V1.0, 8 after 7."""
    named = named_versions(versions)
    version = named[-1] if named else FIRST_VERSION
    while version in versions:
        version, count = _LAST_NUMBER.subn(lambda found: str(int(found[1]) + 1), version)
        if not count:
            version += ".1"
    return version
