"""Route of the metrics: on the API for who may read them, and on an address of its own."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

from starlette.responses import Response

from jupyter_mlsvc_server.api.authentication import Authentication, bearer_token
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import bytes_response
from jupyter_mlsvc_server.api.routing import Routes, public, route
from jupyter_mlsvc_server.api.score import ScoreEntry
from jupyter_mlsvc_server.auth.errors import UnusableSecretFile
from jupyter_mlsvc_server.auth.passwords import read_password_file
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.monitoring.metrics import MetricsReporter

_MIN_KEY: Final = 24  # characters


class MetricsAccess:
    """Lets owners read the metrics, and who has the key of a monitor.

    Parameters
    ----------
    authentication
        Finds out who asks.
    key
        Bearer token of monitors; empty where there is none.
    """

    def __init__(self, authentication: Authentication, key: str = "") -> None:
        self._authentication = authentication
        self._key = key.encode()

    async def check(self, request: ApiRequest) -> None:
        """Refuse who may not read the metrics.

        Raises
        ------
        Unauthorized, Forbidden
            The caller is not known, or no owner.
        """
        token = bearer_token(request.headers.get("authorization", "")) or ""
        if self._key and hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._key):
            return
        request.principal = await self._authentication.identify(request)
        require(request.principal, Action.ADMINISTER, None, "read the metrics of the server")


class MetricsRoutes:
    """Writes the metrics for a monitor.

    Parameters
    ----------
    metrics
        Collects them.
    access
        Who may read them; None lets everybody who reaches the address.
    """

    def __init__(self, *, metrics: MetricsReporter, access: MetricsAccess | None) -> None:
        self._metrics = metrics
        self._access = access

    def table(self) -> Routes:
        """Return the routes."""
        return [route("/metrics", get=public(self.metrics))]

    async def metrics(self, request: ApiRequest) -> Response:
        """Write all metrics in the format of Prometheus (our addition)."""
        if self._access is not None:
            await self._access.check(request)
        text, media_type = await self._metrics.report(request.headers.get("accept", ""))
        return bytes_response(text, media_type)


class NoCalls(ScoreEntry):
    """Takes no calls of services; for addresses where there are none."""

    def __init__(self) -> None:
        """Know nothing."""

    def read(self, url: bytes, headers: object) -> None:
        """Leave every request to the application."""


def read_metrics_key(path: Path) -> str:
    """Read the bearer token of monitors from a file that nobody else can read.

    Raises
    ------
    UnusableSecretFile
        It can't be read, others may read it, or the key is too short.
    """
    key = read_password_file(path).strip()
    if len(key) < _MIN_KEY:
        raise UnusableSecretFile(
            path, f"should have a key of {_MIN_KEY} characters or more on its first line."
        )
    return key
