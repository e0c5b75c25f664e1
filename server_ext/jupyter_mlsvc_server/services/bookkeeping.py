"""What the Jupyter server's log function does, for calls that have no handler to give it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from jupyter_server.log import log_request
from jupyter_server.prometheus.metrics import HTTP_REQUEST_DURATION_SECONDS

from jupyter_mlsvc_server.web import Endpoint


class Bookkeeping:
    """Does what Jupyter's log function does about requests that handlers answered with 200.

    Parameters
    ----------
    settings
        Those of the Jupyter server's application.
    log
        Where that function writes.
    """

    def __init__(
        self, settings: Mapping[str, Any], log: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        self._settings = settings
        self._log = log.logger if isinstance(log, logging.LoggerAdapter) else log
        self._observers: dict[type[Endpoint], Callable[[float], None]] = {}

    def does(self) -> bool:
        """Whether it can stand in: not for lines in a log, and for no other function."""
        function = self._settings.get("log_function")
        if isinstance(function, partial):
            function = function.func
        return function is log_request and not _is_heard(self._log, logging.DEBUG)

    def note(self, seconds: float, endpoint: type[Endpoint]) -> None:
        """Note a request that was answered with 200, and how long that took."""
        observe = self._observers.get(endpoint)
        if observe is None:
            observe = self._observers[endpoint] = self._observer(endpoint)
        observe(seconds)

    def _observer(self, endpoint: type[Endpoint]) -> Callable[[float], None]:
        keywords = getattr(self._settings["log_function"], "keywords", {})
        if not keywords.get("record_prometheus_metrics", True):
            return lambda _: None
        observe: Callable[[float], None] = HTTP_REQUEST_DURATION_SECONDS.labels(
            method="POST",
            handler=f"{endpoint.__module__}.{endpoint.__name__}",
            status_code=HTTPStatus.OK.value,
        ).observe
        return observe


def _is_heard(log: logging.Logger | None, level: int) -> bool:
    """Whether a line gets anywhere; Jupyter's loggers take all and leave it to their handlers."""
    if log is None or not log.isEnabledFor(level):
        return False
    while log is not None:
        if any(handler.level <= level for handler in log.handlers):
            return True
        log = log.parent if log.propagate else None
    return False
