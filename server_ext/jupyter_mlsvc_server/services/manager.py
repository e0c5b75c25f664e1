"""Publishing, changing, listing and deleting services."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import UnsetType
from traitlets import Enum, Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.model_input import ModelInput
from jupyter_mlsvc.wire.names import ServiceName, Version, service_name
from jupyter_mlsvc.wire.names import version as checked_version
from jupyter_mlsvc.wire.suggestions import MAX_NAMES
from jupyter_mlsvc_server.auth.policy import Action, may, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest, MlsvcServerError
from jupyter_mlsvc_server.events.record import EventAction, PublishEvent, drop_event
from jupyter_mlsvc_server.formats.realtime import RUNTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, ServiceDefinition
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.services import realtime
from jupyter_mlsvc_server.services.bodies import (
    LANGUAGES,
    RuntimeRule,
    first_spec,
    next_spec,
    view,
)
from jupyter_mlsvc_server.services.descriptions import with_example
from jupyter_mlsvc_server.services.errors import (
    NotInGroup,
    ServiceExists,
    ServiceHasAnswered,
    ServiceNotFound,
    SnapshotIsNotYours,
    SnapshotOfOtherRuntime,
)
from jupyter_mlsvc_server.services.model_content import stream, workspace
from jupyter_mlsvc_server.services.publish_check import (
    CheckCall,
    judge,
    runs_alike,
    with_streams,
    with_types,
)
from jupyter_mlsvc_server.services.realtime import RealtimeRequest
from jupyter_mlsvc_server.services.record import (
    GivenGroup,
    ServiceKey,
    ServiceRecord,
    made_up_first,
    new_revision_id,
)
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.snapshots.errors import ContentNotFound, SnapshotNotFound
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.turns import in_turns

_LONGEST_GROUP: Final = 320  # characters, with the prefix of a provider
_STORE_AGAIN_SECONDS: Final = 5.0
"""Seconds until the first answer of a version is stored again where that failed."""


class ServiceManager(LoggingConfigurable):
    """Keeps service versions and tells the scoring engine what to run."""

    default_runtime = Enum(
        list(LANGUAGES),
        default_value="Python",
        help="Runtime of a service whose publisher names none (the original took R).",
    ).tag(config=True)

    max_versions_per_user = Integer(
        1000, min=0, help="Versions of services that one person may have. 0 sets no limit."
    ).tag(config=True)

    def __init__(
        self,
        *,
        store: ServiceStore,
        snapshots: SnapshotManager,
        scoring: ScoringEngine,
        publish_event: PublishEvent = drop_event,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._snapshots = snapshots
        self._scoring = scoring
        self._publish_event = publish_event
        self._answered: set[ServiceKey] = set()
        """Versions that have just answered; the database may not know yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: WeakValueDictionary[ServiceKey, asyncio.Lock] = WeakValueDictionary()

    async def publish(
        self,
        principal: Principal,
        name: str,
        version: str | None,
        request: models.PublishWebServiceRequest,
    ) -> ServiceRecord:
        """Publish a version; without one it gets a GUID (contract: ``publishWebService``).

        What runs before each request runs once, and where the request asks for a check the code is
        called once.

        Raises
        ------
        Forbidden
            The caller may not publish, the name is another user's, or the snapshot is.
        ServiceExists, ServiceHasAnswered
            The version exists, or can't be replaced.
        SnapshotNotFound
            There is no such snapshot.
        BadRequest
            The definition or its code cannot run; the message says why.
        """
        key = self._new_key(principal, name, version)
        spec = first_spec(key, request, RuntimeRule(default=self.default_runtime))
        async with self._changing(key):
            old = await self._require_free(principal, key, may_replace=bool(request.replace))
            spec = await self._with_content(principal, spec)
            group = _group(principal, request.group)
            return await self._insert(principal, spec, request.check or None, old, group)

    async def publish_realtime(
        self, principal: Principal, name: str, version: str | None, request: RealtimeRequest
    ) -> ServiceRecord:
        """Publish a model (contract: ``publishRealtimeWebServiceByNameVersion``).

        Raises
        ------
        Forbidden, ServiceExists, ServiceHasAnswered
            As for :meth:`publish`.
        BadRequest
            There is no model, or none that can be served; the message says why.
        """
        key = self._new_key(principal, name, version)
        spec = realtime.first_spec(key, request)
        async with self._changing(key):
            old = await self._require_free(principal, key, may_replace=request.replace)
            spec = await self._with_model(spec, request)
            group = _group(principal, request.group)
            return await self._insert(principal, spec, request.check or None, old, group)

    async def change(
        self,
        principal: Principal,
        name: str,
        version: str,
        request: models.PublishWebServiceRequest,
    ) -> ServiceRecord:
        """Change parts of a version at once for all callers (contract: ``patchWebServiceVersion``).

        Requests that are being answered finish on the old content.

        Raises
        ------
        ServiceNotFound, Forbidden, SnapshotNotFound, BadRequest
            As for :meth:`publish`; nothing has changed then.
        """
        key = _key(name, version)
        async with self._changing(key):
            current = await self._found(key)
            self._require_change(principal, current)
            spec = next_spec(current.spec, request)
            group = _group(principal, request.group)
            if spec.snapshot_id != current.spec.snapshot_id:
                spec = await self._with_content(principal, spec)
            record = await self._replace(current, spec, request.check or None, group)
        await self._snapshots.collect_after_deletion()
        self.log.info("changed %s/%s by=%s", *key, principal.name)
        return record

    async def change_realtime(
        self, principal: Principal, name: str, version: str, request: RealtimeRequest
    ) -> ServiceRecord:
        """Change a realtime service (contract: ``patchRealtimeWebServiceByNameVersion``).

        Raises
        ------
        ServiceNotFound, Forbidden, BadRequest
            As for :meth:`publish_realtime`; nothing has changed then.
        """
        key = _key(name, version)
        async with self._changing(key):
            current = await self._found(key)
            self._require_change(principal, current)
            spec = realtime.next_spec(current.spec, request)
            group = _group(principal, request.group)
            spec = await self._with_model(spec, request)
            record = await self._replace(current, spec, request.check or None, group)
        await self._snapshots.collect_after_deletion()
        self.log.info("changed %s/%s by=%s", *key, principal.name)
        return record

    async def delete(self, principal: Principal, name: str, version: str) -> None:
        """Take a version away (contract: ``deleteWebServiceVersion``).

        Raises
        ------
        ServiceNotFound, Forbidden
            There is no such version, or the caller may not delete it.
        """
        key = _key(name, version)
        async with self._changing(key):
            record = await self._found(key)
            self._require_change(principal, record)
            await self._store.delete(key)
            await self._scoring.remove(*key)
            self._answered.discard(key)
        self._publish_event(record.change(EventAction.DELETED))
        await self._snapshots.collect_after_deletion()
        self.log.info("deleted %s/%s by=%s", *key, principal.name)

    async def list(self, principal: Principal, name: str | None = None) -> list[models.WebService]:
        """List all versions, or those of a name, oldest first.

        Of a name the last one is the newest. Versions that are GUIDs come before all others of
        their name, because clients take the last one where no version is named.
        """
        require(principal, Action.READ_SERVICE, None, "list services")
        records = made_up_first(await self._store.list(None if name is None else ServiceName(name)))
        failing = await self._scoring.failing()
        known = [record for record in records if principal.knows_of(*record.key)]
        return await in_turns(lambda record: self._view(record, principal, failing), known)

    async def get(self, principal: Principal, name: str, version: str) -> models.WebService:
        """Describe one version (contract: ``getWebServiceVersion``).

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        require(principal, Action.READ_SERVICE, None, "read services")
        record = await self._found(_key(name, version))
        return self._view(record, principal, await self._scoring.failing())

    async def definition(self, name: str, version: str) -> ServiceDefinition:
        """Give the scoring engine what a worker needs.

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        while True:
            record = await self._found(_key(name, version))
            try:
                return await self._define(record)
            except ContentNotFound:
                await self._require_changed(record)

    async def _require_changed(self, record: ServiceRecord) -> None:
        """Raise where a version's content is missing though nobody changed or deleted it."""
        now = await self._found(record.key)
        if now.spec.revision_id == record.spec.revision_id:
            raise ContentNotFound

    async def model_input(self, name: str, version: str) -> ModelInput | None:
        """Tell what columns a realtime service takes; None for others, and where it is not known.

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        spec = (await self._found(_key(name, version))).spec
        if spec.runtime_type != RUNTIME or spec.content_id is None:
            return None
        content = await self._snapshots.content(spec.content_id)
        return await asyncio.to_thread(realtime.model_input, content)

    async def records(self, principal: Principal) -> Sequence[ServiceRecord]:
        """Give all versions that somebody may see, oldest first."""
        require(principal, Action.READ_SERVICE, None, "list services")
        return await self._store.list()

    async def keys(self, principal: Principal) -> Sequence[ServiceKey]:
        """Name all versions that somebody may see, oldest first."""
        require(principal, Action.READ_SERVICE, None, "list services")
        return await self._store.keys()

    async def record(self, name: str, version: str) -> ServiceRecord:
        """Give a version as the server keeps it.

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        return await self._found(_key(name, version))

    def note_answered(self, name: str, version: str) -> None:
        """Take note that a version has given an answer."""
        key = _key(name, version)
        if key not in self._answered:
            self._answered.add(key)
            task = asyncio.create_task(self._store_answered(key, now_text()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _store_answered(self, key: ServiceKey, at: str) -> None:
        while True:
            try:
                await self._store.note_answered(key, at)
            except MlsvcServerError as error:
                # Until it is written down, this process knows.
                self.log.warning("the first answer of %s/%s is not stored yet: %s", *key, error)
                await asyncio.sleep(_STORE_AGAIN_SECONDS)
            else:
                return

    @asynccontextmanager
    async def changing(self, name: str, version: str) -> AsyncIterator[ServiceRecord]:
        """Give a version that nobody else changes in the block.

        Raises
        ------
        ServiceNotFound
            There is no such version.
        """
        key = _key(name, version)
        async with self._changing(key):
            yield await self._found(key)

    async def refresh(self, name: str, version: str, loaded: str) -> None:
        """Serve a version as it is in the database, where another server has changed it there.

        Parameters
        ----------
        loaded
            Id of the revision that is loaded here.
        """
        key = _key(name, version)
        # Where a change is on its way here, the revision of before is loaded for a moment.
        async with self._changing(key):
            record = await self._store.find(key)
            if record is None:
                await self._scoring.remove(*key)
                self._answered.discard(key)
                self.log.info("another server deleted %s/%s", *key)
            elif record.spec.revision_id != loaded:
                await self._scoring.unload(*key, loaded)
                self.log.info("another server changed %s/%s", *key)

    def _changing(self, key: ServiceKey) -> asyncio.Lock:
        """Make changes of one version happen one after the other."""
        return self._locks.setdefault(key, asyncio.Lock())

    def _new_key(self, principal: Principal, name: str, version: str | None) -> ServiceKey:
        key = ServiceKey(service_name(name), checked_version(version or str(uuid.uuid4())))
        require(principal, Action.PUBLISH, None, f"publish service {name!r}")
        return key

    async def _require_free(
        self, principal: Principal, key: ServiceKey, *, may_replace: bool
    ) -> ServiceRecord | None:
        """Give the version that a new one may replace; there is none most often."""
        record = await self._store.find(key)
        if record is None:
            return None
        is_own, has_answered = principal.owns(record.owner), self._has_answered(record)
        if not may_replace or not is_own:
            raise ServiceExists(*key, may_be_replaced=is_own and not has_answered)
        if has_answered:
            raise ServiceHasAnswered(*key)
        return record

    def _has_answered(self, record: ServiceRecord) -> bool:
        return record.answered_at is not None or record.key in self._answered

    async def _insert(
        self,
        principal: Principal,
        spec: ServiceSpec,
        check: models.PublishCheckRequest | None,
        old: ServiceRecord | None,
        group: GivenGroup | None = None,
    ) -> ServiceRecord:
        """Try a new version, write it down, and serve it."""
        record = ServiceRecord(
            spec=spec,
            owner=principal.owner if old is None else old.owner,
            created_at=now_text(),
            pool=None if old is None else old.pool,
        )
        record = await self._checked(record, check)
        if old is None:
            record = await self._store.insert(
                record,
                may_use=partial(may, principal, Action.CHANGE_SERVICE),
                group=group,
                most=self.max_versions_per_user,
            )
        else:
            await self._store.replace_unanswered(
                record, group=group, has_answered=lambda: record.key in self._answered
            )
            record = record if group is None else record.in_group(group.name)
        await self._scoring.put(await self._define(record))
        self._publish_event(record.change(EventAction.CHANGED if old else EventAction.CREATED))
        if old is not None:
            await self._snapshots.collect_after_deletion()
        self.log.info(
            "published %s owner=%s snapshot=%s", spec.label, principal.name, spec.snapshot_id
        )
        return record

    async def _replace(
        self,
        current: ServiceRecord,
        spec: ServiceSpec,
        check: models.PublishCheckRequest | None,
        group: GivenGroup | None = None,
    ) -> ServiceRecord:
        """Try a new revision, write it down, and serve it.

        What is said of a version is in its documents alone: where nothing else changes, the same
        processes go on. Those of a version that fails are started anew all the same.
        """
        said = with_types(spec, {})
        is_alike = check is None and runs_alike(current.spec, said)
        if is_alike and DefinitionKey(*current.key) not in await self._scoring.failing():
            said = msgspec.structs.replace(said, revision_id=current.spec.revision_id)
            record = replace(current, spec=said)
            if await self._store.describe(record, group=group):
                record = record if group is None else record.in_group(group.name)
                self._publish_event(record.change(EventAction.CHANGED))
                return record
        record = await self._checked(replace(current, spec=spec), check)
        if is_alike:
            record = replace(record, publish_check=current.publish_check)
        await self._store.replace(record, group=group)
        record = record if group is None else record.in_group(group.name)
        await self._scoring.put(await self._define(record))
        self._publish_event(record.change(EventAction.CHANGED))
        return record

    async def _checked(
        self, record: ServiceRecord, check: models.PublishCheckRequest | None
    ) -> ServiceRecord:
        """Try a revision in a clean process, and complete it with what that found.

        Raises
        ------
        BadRequest
            It can't run, or failed.
        """
        spec = record.spec
        call = CheckCall.of(spec, check)
        if call.body is None:
            spec = with_types(spec, {})
        definition = await self._define(replace(record, spec=spec))
        outcome = await self._scoring.check(definition, call.body)
        found = judge(outcome, call, check)
        typed = with_streams(with_types(spec, outcome.types), outcome, call)
        typed = with_example(typed, check, found)
        if typed is not spec:
            # What was tried did not know the types yet; the next revision starts with them.
            typed = msgspec.structs.replace(typed, revision_id=new_revision_id())
        return replace(record, spec=typed, publish_check=found)

    async def _found(self, key: ServiceKey) -> ServiceRecord:
        record = await self._store.find(key)
        if record is not None:
            return record
        versions = await self._store.versions(key.name)
        if versions:
            raise ServiceNotFound(*key, known=versions)
        raise ServiceNotFound(key.name, known=await self._store.names(MAX_NAMES))

    async def _with_content(self, principal: Principal, spec: ServiceSpec) -> ServiceSpec:
        if spec.snapshot_id is None:
            return msgspec.structs.replace(spec, content_id=None)
        snapshot = await self._snapshots.find(spec.snapshot_id)
        if snapshot is None:
            raise SnapshotNotFound(spec.snapshot_id)
        if snapshot.owner.id != principal.id:
            raise SnapshotIsNotYours(spec.snapshot_id)
        if snapshot.runtime_type != spec.runtime_type:
            raise SnapshotOfOtherRuntime(snapshot.runtime_type, spec.runtime_type)
        return msgspec.structs.replace(spec, content_id=snapshot.content_id)

    async def _with_model(self, spec: ServiceSpec, request: RealtimeRequest) -> ServiceSpec:
        if request.model is None:
            return spec
        model = request.mapped()
        content_id = await self._snapshots.add_content(
            RUNTIME, workspace(len(model)), stream(model), [request.model]
        )
        # The contract has a snapshot behind every realtime service; it is in nobody's list.
        return msgspec.structs.replace(spec, snapshot_id=content_id, content_id=content_id)

    async def _define(self, record: ServiceRecord) -> ServiceDefinition:
        content_id = record.spec.content_id
        content = None if content_id is None else await self._snapshots.content(content_id)
        return ServiceDefinition(
            spec=record.spec, content=content, pool=record.pool, owner_id=record.owner.id
        )

    def _view(
        self, record: ServiceRecord, principal: Principal, failing: Mapping[DefinitionKey, str]
    ) -> models.WebService:
        return view(
            record,
            shows_code=may(principal, Action.SEE_CODE, record.owner),
            may_be_changed=may(principal, Action.CHANGE_SERVICE, record.owner),
            has_answered=self._has_answered(record),
            failing=failing.get(DefinitionKey(*record.key)),
        )

    def _require_change(self, principal: Principal, record: ServiceRecord) -> None:
        what = f"change or delete version {record.key.version!r} of service {record.key.name!r}"
        require(principal, Action.CHANGE_SERVICE, record.owner, what)


def _group(principal: Principal, named: str | UnsetType | None) -> GivenGroup | None:
    """Return the group that a request gives a name to; None where it leaves that as it is.

    Raises
    ------
    BadRequest
        It is no name of a group.
    NotInGroup
        It is none of the publisher's groups.
    """
    if named is None or isinstance(named, UnsetType):
        return None
    group = named.strip().casefold()
    if len(group) > _LONGEST_GROUP or not group.isprintable():
        raise BadRequest(
            f"group is {named[:40]!r}; it has to be a name of up to {_LONGEST_GROUP} characters."
        )
    is_theirs = not group or group in principal.groups
    if not is_theirs and not may(principal, Action.CHANGE_SERVICE, None):
        raise NotInGroup(named, principal.groups)
    return GivenGroup(group, partial(may, principal, Action.CHANGE_SERVICE))


def _key(name: str, version: str) -> ServiceKey:
    # Names that could not have been published simply are not there.
    return ServiceKey(ServiceName(name), Version(version))
