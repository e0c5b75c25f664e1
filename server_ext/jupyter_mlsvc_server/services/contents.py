"""What the snapshots behind service versions hold, for those who may change the versions."""

from __future__ import annotations

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.snapshots.contents import members
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager


class ServiceContentReader:
    """Reads what versions hold, which is in nobody's list where a notebook or model made it."""

    def __init__(self, *, services: ServiceManager, snapshots: SnapshotManager) -> None:
        self._services = services
        self._snapshots = snapshots

    async def read(self, principal: Principal, name: str, version: str) -> models.ServiceContents:
        """Return objects, files and packages of a version, without any value.

        Raises
        ------
        Forbidden
            The caller may not change the version: names of objects are a part of its code.
        ServiceNotFound
            There is no such version.
        """
        require(principal, Action.READ_SERVICE, None, "read services")
        record = await self._services.record(name, version)
        what = f"read the contents of version {version!r} of service {name!r}"
        require(principal, Action.CHANGE_SERVICE, record.owner, what)
        if record.spec.content_id is None:
            return models.ServiceContents(
                name=name,
                version=version,
                size=0,
                runtime_type=record.spec.runtime_type,
                runtime_version="",
                objects=[],
                files=[],
                skipped_files=[],
                packages={},
            )
        manifest = await self._snapshots.manifest(record.spec.content_id)
        return models.ServiceContents(
            name=name, version=version, size=manifest.size, **members(manifest)
        )
