"""Ids of sessions, which show by themselves that they are of this server and of a person.

So a session of an earlier run is distinguished from one that never was, and nothing has to be kept
for it: half of an id is random, the other half a keyed digest of that and of the owner's id.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from typing import Final

_HALF: Final = 8
_PURPOSE: Final = b"session id\0"


class SessionIds:
    """Issues and recognises ids.

    Parameters
    ----------
    key
        Secret of this server, the same after a restart.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, owner_id: str) -> str:
        """Return a new id for a session of a person."""
        return self._signed(secrets.token_bytes(_HALF), owner_id)

    def is_of(self, session_id: str, owner_id: str) -> bool:
        """Whether an id was issued here for a session of a person."""
        try:
            chance = uuid.UUID(session_id).bytes[:_HALF]
        except ValueError:
            return False
        return hmac.compare_digest(self._signed(chance, owner_id), session_id)

    def _signed(self, chance: bytes, owner_id: str) -> str:
        # Some bits say that it is a random UUID; they are set before the digest is taken.
        chance = uuid.UUID(bytes=chance + bytes(_HALF), version=4).bytes[:_HALF]
        digest = hmac.digest(self._key, _PURPOSE + chance + owner_id.encode(), "sha256")
        return str(uuid.UUID(bytes=chance + digest[:_HALF], version=4))
