"""Watch for changes that other servers of the same database make to services."""

from __future__ import annotations

from typing import Any

from traitlets import Float, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.repeated import Repeated


class RevisionWatch(LoggingConfigurable):
    """Compares what is loaded here with what the database has.

    A revision that another server replaced or deleted is given up, so that no call is answered
    with it from then on. What runs finishes.
    """

    interval = Float(
        min=0,
        help="Seconds between two looks for services that another server of the same database "
        "changed or deleted. 0 never looks. Default: 0.5, and 0 with SQLite, which one server has "
        "for itself.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        database: Database,
        store: ServiceStore,
        services: ServiceManager,
        scoring: ScoringEngine,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._store = store
        self._services = services
        self._scoring = scoring
        self._looking = Repeated(
            self.look,
            seconds=self.interval,
            failure="services of other servers could not be looked at",
            log=self.log,
        )

    @default("interval")
    def _default_interval(self) -> float:
        return 0.0 if self._database.kind == "sqlite" else 0.5

    async def start(self) -> None:
        """Begin to look."""
        self._looking.start()

    async def stop(self) -> None:
        """Look no more; may be called twice."""
        await self._looking.stop()

    def look_soon(self) -> None:
        """Look now; another server has said that it changed something."""
        self._looking.soon()

    async def look(self) -> None:
        """Give up what is not as the database has it.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        loaded = await self._scoring.loaded()
        if not loaded:
            return
        current = await self._store.revision_ids()
        for key, revision_id in loaded.items():
            if current.get(key) != revision_id:
                await self._services.refresh(*key, revision_id)
