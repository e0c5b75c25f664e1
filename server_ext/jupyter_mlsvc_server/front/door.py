"""The public door and the scoring engine of a server that has a front."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from logging import Logger, LoggerAdapter
from typing import Any

import msgspec
from tornado.web import Application

from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.front.engine import FrontEngine
from jupyter_mlsvc_server.front.link import Link
from jupyter_mlsvc_server.front.messages import (
    Answered,
    Definition,
    FindDefinition,
    Start,
    Trusted,
    Verify,
)
from jupyter_mlsvc_server.front.receiver import Receiver
from jupyter_mlsvc_server.front.supervisor import Supervisor
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.settings import ScoringSettings


class FrontDoor:
    """What ``app`` needs of the front.

    Parameters
    ----------
    settings
        The engine that the front is to run; here it is not started.
    data_dir, max_body_bytes, cors_origins, any_case_paths, certfile, keyfile
        As in :class:`~.messages.Start`.
    log
        For the operator.
    """

    def __init__(
        self,
        *,
        settings: LocalEngine,
        data_dir: str,
        max_body_bytes: int,
        cors_origins: Sequence[str],
        any_case_paths: bool,
        certfile: str,
        keyfile: str,
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self._settings = settings
        self._start = Start(
            data_dir=data_dir,
            settings={
                name: getattr(settings, name) for name in ScoringSettings.class_traits(config=True)
            },
            doors=(),
            max_body_bytes=max_body_bytes,
            cors_origins=tuple(cors_origins),
            any_case_paths=any_case_paths,
            certfile=certfile,
            keyfile=keyfile,
            log_level=log.getEffectiveLevel(),
        )
        self._receiver: Receiver | None = None
        self._tokens: TokenManager | None = None
        self._supervisor = Supervisor(
            options=self._options,
            asked={FindDefinition: self._find_definition, Verify: self._verify},
            told={Answered: lambda each: settings.answered(each.name, each.version)},
            receive=self._receive,
            restarted=self._restarted,
            log=log,
        )
        self.engine = FrontEngine(supervisor=self._supervisor, settings=settings)

    def trust(self, tokens: TokenManager) -> None:
        """Say who knows the tokens."""
        self._tokens = tokens
        tokens.on_revoked(self._supervisor.forget_tokens)

    def bind(self, doors: Sequence[socket.socket]) -> None:
        """Hand over the listening sockets, before the engine starts."""
        self._supervisor.doors = doors

    async def open(self, application: Application, scheme: str) -> None:
        """Open the door; ``application`` answers all but calls of services."""
        self._receiver = Receiver.of(application, scheme)
        await self._supervisor.open()

    async def close(self) -> None:
        """Close the door and all connections."""
        await self._supervisor.close()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close_all_connections()

    def _options(self) -> Start:
        doors = tuple(door.fileno() for door in self._supervisor.doors)
        return msgspec.structs.replace(self._start, doors=doors)

    def _restarted(self, link: Link) -> None:
        self.engine.restarted(link)

    def _receive(self, connection: socket.socket, address: bytes) -> None:
        if self._receiver is None:
            connection.close()
        else:
            self._receiver.receive(connection, address)

    async def _find_definition(self, question: FindDefinition) -> Definition:
        return Definition.of(await self._settings.definitions(question.name, question.version))

    async def _verify(self, question: Verify) -> Trusted:
        assert self._tokens is not None
        return Trusted(*await self._tokens.trusted(question.token))
