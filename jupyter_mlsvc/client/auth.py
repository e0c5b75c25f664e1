"""Who we are towards the server. Nothing here shows a token in its repr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from jupyter_mlsvc.config import read_connection
from jupyter_mlsvc.errors import NotLoggedIn, Unauthorized
from jupyter_mlsvc.wire.models import AccessTokenResponse

_RENEWAL_SECONDS: Final = 10.0
"""Seconds that the server of this Jupyter may need to be there again."""
_RENEWAL_PAUSE: Final = 0.1
_EARLY_SECONDS: Final = 60.0
_EARLY_SHARE: Final = 0.1


class Auth(Protocol):
    """Gives the token for a request, and a fresh one when the server no longer takes it."""

    user: str | None

    def token(self) -> str | None:
        """Token to send, or None where nobody is logged in."""
        ...

    def renew(self, refused: str) -> bool:
        """Get another token than the refused one; False where that can't be done."""
        ...


class Anonymous:
    """Nobody yet."""

    user: str | None = None

    def token(self) -> str | None:
        """No token."""
        return None

    def renew(self, refused: str) -> bool:
        """Say that there is nothing to renew."""
        return False


class GivenToken:
    """A token that somebody else takes care of, such as one in the environment."""

    def __init__(self, token: str, user: str | None = None) -> None:
        self._token = token
        self.user = user

    def token(self) -> str | None:
        """Return the token as given."""
        return self._token

    def renew(self, refused: str) -> bool:
        """Say that only whoever gave the token can replace it."""
        return False


class FileToken:
    """The token in a file that the server of this Jupyter writes anew when it starts again.

    Parameters
    ----------
    path : str
        The file.
    token : str
        What it holds now.
    """

    user: str | None = None

    def __init__(self, path: str, token: str) -> None:
        self.path = path
        self._token = token

    def token(self) -> str | None:
        """Return the token as it was read last."""
        return self._token

    def renew(self, refused: str) -> bool:
        """Wait until the file holds another token, as it does soon after the server serves again.

        False where it does not, or where its Jupyter server has ended and took the file away.
        """
        deadline = time.monotonic() + _RENEWAL_SECONDS
        while True:
            found = read_connection(self.path).token
            if found and found != refused:
                self._token = found
                return True
            if not found or time.monotonic() >= deadline:
                return False
            time.sleep(_RENEWAL_PAUSE)


class Login:
    """A pair of tokens that renews itself before it expires (contract: ``renewToken``).

    Parameters
    ----------
    user : str
        Who logged in.
    pair : AccessTokenResponse
        What the login answered.
    renew : callable
        Trades a refresh token for a new pair.
    clock : callable
        Seconds, only ever compared with each other.
    """

    def __init__(
        self,
        user: str,
        pair: AccessTokenResponse,
        renew: Callable[[str], AccessTokenResponse],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.user: str | None = user
        self._trade = renew
        self._clock = clock
        self._lock = threading.Lock()
        self._has_ended = False
        self._keep(pair)

    @property
    def refresh_token(self) -> str:
        """The secret that revokes this login."""
        return self._pair.refresh_token

    def token(self) -> str | None:
        """Return the access token, a new one where the old is about to expire."""
        with self._lock:
            if self._clock() >= self._renew_at:
                self._renew()
            return self._pair.access_token

    def renew(self, refused: str) -> bool:
        """Trade the pair, unless another thread did so meanwhile."""
        with self._lock:
            if self._pair.access_token == refused:
                self._renew()
            return True

    def _renew(self) -> None:
        if not self._has_ended:
            try:
                self._keep(self._trade(self._pair.refresh_token))
            except Unauthorized:
                self._has_ended = True
            else:
                return
        raise NotLoggedIn(
            f"The login of {self.user!r} has ended. Log in again with %mlsvc login or Client.login."
        )

    def _keep(self, pair: AccessTokenResponse) -> None:
        lifetime = float(pair.expires_in)
        self._pair = pair
        self._renew_at = self._clock() + lifetime - min(_EARLY_SECONDS, lifetime * _EARLY_SHARE)
