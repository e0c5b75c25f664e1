"""The scoring engine of one machine: a pool of worker processes for each service version."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from jupyter_mlsvc_server.confinement import Confinement
from jupyter_mlsvc_server.errors import MlsvcServerError, NotFound
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.formats.protocol import ENDED_FROM_OUTSIDE
from jupyter_mlsvc_server.formats.service_spec import Part
from jupyter_mlsvc_server.scoring import process_memory
from jupyter_mlsvc_server.scoring.budget import Budget, Loaded
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.engine import Answered, Definitions, Outcome, ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import (
    NoMemoryLeft,
    ServiceUnavailable,
    StartInterrupted,
    UnservableCode,
    ending,
)
from jupyter_mlsvc_server.scoring.forkserver_client import LinkLost, NotStarted
from jupyter_mlsvc_server.scoring.forkservers import Forkservers
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.health import END_AT_START, KEEP_ENDING, Health
from jupyter_mlsvc_server.scoring.hosted_pool import HostedPool
from jupyter_mlsvc_server.scoring.hosting import (
    APART_SECONDS,
    FOR_GOOD,
    Hosting,
    HostProcess,
)
from jupyter_mlsvc_server.scoring.loaded_file import LoadedFile
from jupyter_mlsvc_server.scoring.pool import Pool
from jupyter_mlsvc_server.scoring.quota import WorkerQuota, least_recently_used
from jupyter_mlsvc_server.scoring.recent_calls import Caller, RecentCall, RecentCallStore
from jupyter_mlsvc_server.scoring.request import Ended, PendingRequest
from jupyter_mlsvc_server.scoring.scheduler_settings import HealthSettings
from jupyter_mlsvc_server.scoring.service_log import LogEntry, ServiceLogs
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.shared_templates import SharedTemplates
from jupyter_mlsvc_server.scoring.statistics import (
    EngineCounters,
    Figures,
    State,
    Timings,
    VersionCounters,
)
from jupyter_mlsvc_server.scoring.stream import AnswerStream
from jupyter_mlsvc_server.scoring.template import Template
from jupyter_mlsvc_server.scoring.template_process import TemplateProcess
from jupyter_mlsvc_server.scoring.trial import TrialOutcome
from jupyter_mlsvc_server.storage.machine_faults import machine_fault

_AT_A_TIME: Final = 50
"""Versions that are described in one turn of the loop."""
_ATTEMPTS: Final = 3
"""Pools that a request may find gone before it is given up."""

_CHECKED_SECONDS: Final = 60.0
"""How long a checked definition is kept ready to be served."""

_EARLY: Final[tuple[Part, ...]] = ("setupCode", "initCode")
"""What runs before the code of a service."""

_MAX_UNCALLED: Final = 4
"""Templates that are kept of versions that were published and not called yet."""

_MEASURE_SECONDS: Final = 10.0
"""Between two measurements of the memory of a version that is in use."""

_DESCRIPTOR_SHARE: Final = 8
"""What part of the descriptors of the server's process loaded versions may have."""

_OF_TEMPLATE: Final = 2
"""Descriptors for a template; each worker takes another one."""

_REPORT_SECONDS: Final = 60.0
"""Between two lines in the log about one person's workers."""

_STOPPING: Final = "The server is stopping."

_SWEEP_SECONDS: Final = 5.0


_LOOK_SECONDS: Final = 0.25
"""Between two looks at whether models are too busy for where they are."""

ProcessT = TypeVar("ProcessT", bound=TemplateProcess)


async def _unset(name: str, version: str) -> ServiceDefinition:
    raise ServiceUnavailable(DefinitionKey(name, version), "The engine was given no definitions.")


def _ignore(outcome: Outcome) -> None:
    """Stand in where nobody waits."""


def _tell_nobody(name: str, version: str) -> None:
    """Stand in where nobody wants to know."""


class LocalEngine(ScoringSettings):
    """Runs service versions in processes of this machine.

    Parameters
    ----------
    data_dir
        The server's data folder; working directories are made below it.
    definitions
        Where the definition of a version is found that has no pool yet; may be set later.
    confinement
        What the code of services may reach.
    answered
        Called when a call of a version succeeds, the first one since its workers were started.
    is_traced
        Whether answers say when they were where.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        definitions: Definitions = _unset,
        answered: Answered = _tell_nobody,
        confinement: Confinement | None = None,
        is_traced: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._confinement = confinement or Confinement(data_dir=data_dir, parent=self)
        self.answered = answered
        self.is_traced = is_traced
        self.definitions = definitions
        self._work = data_dir / "work" / "scoring"
        self._pools: dict[DefinitionKey, Pool] = {}
        self._leaving: set[Pool] = set()
        self._loads: dict[DefinitionKey, asyncio.Task[Pool]] = {}
        self._timings: dict[DefinitionKey, Timings] = {}
        self._logs = ServiceLogs(self.log_bytes)
        self._calls = RecentCallStore(self.recent_calls, self.recent_call_bytes)
        self._kept: set[DefinitionKey] = set()
        self._health: dict[DefinitionKey, Health] = {}
        self._budget: Budget[DefinitionKey] = Budget(self.memory_budget, _possible_descriptors())
        self._measured_at: dict[DefinitionKey, float] = {}
        self._uncalled: dict[DefinitionKey, float] = {}
        """Versions that were published and not called yet, and since when they are loaded."""
        self._quotas: WeakValueDictionary[str, WorkerQuota] = WeakValueDictionary()
        self._checked: dict[str, tuple[float, Template]] = {}
        self._locks: WeakValueDictionary[DefinitionKey, asyncio.Lock] = WeakValueDictionary()
        self._loaded_file = LoadedFile(data_dir / "loaded.json")
        self._templates = SharedTemplates(
            self._started_template,
            self,
            lambda process: not self._forkservers.is_of_bare(process),
            is_sharing=self._confinement.may_share,
        )
        self._hosting = Hosting(self._started_host, self, is_possible=self._confinement.may_share)
        self._forkservers = Forkservers(
            self,
            lambda: self._confinement.process_limit,
            lambda: self._templates.processes,
            self._spawn,
        )
        self._unloaded = 0
        self._is_warm = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_running = False

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Sweep what an earlier run left. The forkserver starts with the first version."""
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        for folder in (self._work.parent.parent, self._work.parent, self._work):
            await asyncio.to_thread(self._confinement.make_enterable, folder)
        self._is_running = True
        self._spawn(self._sweep())
        self._spawn(self._look_at_hosted())

    async def stop(self) -> None:
        """End all processes."""
        if self._is_running:
            await self._note_loaded()
        self._is_running = False
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._loads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pools = [*self._pools.values(), *self._leaving]
        self._pools.clear()
        templates = [template for _, template in self._checked.values()]
        self._checked.clear()
        await asyncio.gather(
            *(pool.stop() for pool in pools), *(template.stop() for template in templates)
        )
        await self._forkservers.stop()
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)

    def warm_up(self, published: Collection[DefinitionKey]) -> None:
        """Import libraries where anything is published, then load versions; both on their own."""
        self._spawn(self._warm_up(published))

    def expect_publish(self) -> None:
        """Import libraries, unless that was begun already."""
        if self._is_running and self._forkservers.usual is None:
            self._forkservers.live()

    async def until_warm(self) -> None:
        """Wait until all is loaded that is to be, or can't be."""
        await self._is_warm.wait()

    @property
    def is_ready(self) -> bool:
        """Whether the start is over, and the forkserver is there where one was needed."""
        forkserver = self._forkservers.usual
        is_lost = forkserver is not None and forkserver.link.is_lost
        return self._is_running and self._is_warm.is_set() and not is_lost

    async def _warm_up(self, published: Collection[DefinitionKey]) -> None:
        try:
            if published or self.preload_at_start:
                with contextlib.suppress(LinkLost):
                    await self._forkservers.live().missing()
            wanted = set(published)
            if self.warm == "recent":
                wanted &= await self._loaded_file.read()
            elif self.warm == "none":
                wanted.clear()
            turns = asyncio.Semaphore(os.cpu_count() or 1)
            await asyncio.gather(*(self._load_in_turn(key, turns) for key in wanted | self._kept))
        finally:
            self._is_warm.set()

    async def _load_in_turn(self, key: DefinitionKey, turns: asyncio.Semaphore) -> None:
        async with turns:
            # What can't be loaded is logged, and told to its callers.
            await asyncio.wait({self._loading(key)})

    async def _note_loaded(self) -> None:
        """Keep on disk what is loaded, for the next start."""
        if self.warm == "recent" and self._is_warm.is_set():
            try:
                await self._loaded_file.write(self._pools.keys())
            except OSError as error:
                self.log.warning("what is loaded can't be noted: %s", error.strerror)

    # --- the interface -----------------------------------------------------------------------

    async def check(self, definition: ServiceDefinition, call: bytes | None = None) -> TrialOutcome:
        """Restore and compile in a fresh process, which is kept for :meth:`put` to use."""
        if 0 < self.longest_deadline < definition.spec.deadline_seconds:
            raise UnservableCode(
                f"deadlineSeconds is {definition.spec.deadline_seconds:g}; it can be "
                f"{self.longest_deadline:g} at most here (ScoringSettings.max_deadline_seconds)."
            )
        template = await self._template(definition)
        try:
            outcome = await template.try_once(
                call, self, only_compiles=call is None and not _has_early_code(definition)
            )
        except BaseException as error:
            await template.stop(at_once=True)
            if isinstance(error, LinkLost):
                raise ServiceUnavailable(definition.key, END_AT_START) from None
            raise
        await self._drop_checked(definition.spec.revision_id)
        self._checked[definition.spec.revision_id] = (self._now() + _CHECKED_SECONDS, template)
        return outcome

    async def put(self, definition: ServiceDefinition) -> None:
        """Serve a revision from now on."""
        key = definition.key
        self._note_kept(key, definition.pool)
        async with self._lock(key):
            _, template = self._checked.pop(definition.spec.revision_id, (0.0, None))
            if template is not None and template.link.is_lost:
                await template.stop()
                template = None
            self._health.pop(key, None)
            old = self._pools.get(key)
            # Callers of the old revision do not wait for a worker of the new one.
            waits_for_call = definition.pool is None and not (old is not None and old.pids)
            new = await self._pool(definition, template, waits_for_call=waits_for_call)
            old = self._pools.get(key)
            self._pools[key] = new
        if old is not None:
            self._retire(old)
        self._spawn(self._measure(new))
        if waits_for_call:
            self._uncalled.pop(key, None)
            self._uncalled[key] = self._now()
            self._end_uncalled()

    async def remove(self, name: str, version: str) -> None:
        """Serve a version no longer."""
        key = DefinitionKey(name, version)
        self._kept.discard(key)
        async with self._lock(key):
            old = self._pools.pop(key, None)
            self._timings.pop(key, None)
            self._logs.drop(key)
            self._calls.drop(key)
            self._health.pop(key, None)
        if old is not None:
            self._retire(old)

    async def loaded(self) -> Mapping[DefinitionKey, str]:
        """List the versions that are loaded, with the ids of their revisions."""
        return {key: pool.template.revision_id for key, pool in self._pools.items()}

    async def unload(self, name: str, version: str, revision_id: str) -> None:
        """Give up a revision that is loaded, unless another one has taken its place."""
        key = DefinitionKey(name, version)
        async with self._lock(key):
            old = self._pools.get(key)
            if old is None or old.template.revision_id != revision_id:
                return
            del self._pools[key]
            self._health.pop(key, None)
        self._retire(old)
        self._start_kept()

    @property
    def usual_size(self) -> PoolSize:
        """Size of a pool that nobody asked another size for."""
        return PoolSize(self.workers_min, self.workers_max)

    def resize(self, name: str, version: str, size: PoolSize | None) -> None:
        """Change how many workers a version has, on its own."""
        key = DefinitionKey(name, version)
        self._note_kept(key, size)
        self._spawn(self._resize(key, size))

    async def has_size(self, name: str, version: str, size: PoolSize) -> bool:
        """Whether the pool has this size and all the workers that are to be kept."""
        pool = self._pools.get(DefinitionKey(name, version))
        if pool is None:
            return not size.initial
        return pool.size == size and pool.is_full

    async def consume(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> ScoringAnswer:
        """Answer one request."""
        future: asyncio.Future[ScoringAnswer] = asyncio.get_running_loop().create_future()

        def ended(outcome: ScoringAnswer | MlsvcServerError) -> None:
            if future.done():  # the caller left
                return
            if isinstance(outcome, ScoringAnswer):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        request = self.submit(DefinitionKey(name, version), body, ended, caller, request_id)
        try:
            return await future
        finally:
            request.abandon()

    def stream(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> AnswerStream:
        """Answer one request item by item."""
        stream = AnswerStream()
        key = DefinitionKey(name, version)
        request = PendingRequest(key, body, stream.end, None, caller, request_id, stream)
        stream.request = request
        self._submit(request)
        return stream

    async def consume_many(
        self,
        key: DefinitionKey,
        bodies: Sequence[bytes],
        at_a_time: int,
        caller: Caller | None = None,
        numbers: Sequence[int] = (),
    ) -> list[Outcome]:
        """Answer several requests, when workers have time for them."""
        if not bodies:
            return []
        try:
            pool = self._pools.get(key) or await self._loaded_pool(key)
        except MlsvcServerError as error:
            return [error] * len(bodies)
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

        def ended(outcomes: list[Outcome]) -> None:
            if not future.done():  # the caller left
                future.set_result(outcomes)

        group = Group(key, bodies, at_a_time, ended, caller, numbers)
        pool.submit_many(group)
        try:
            return await future
        finally:
            group.abandon()

    def submit(
        self,
        key: DefinitionKey,
        body: Body,
        ended: Ended,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> PendingRequest:
        """Answer one request through a callback, which may come at once.

        This is :meth:`consume` for those who have thousands of requests a second.
        """
        request = PendingRequest(key, body, ended, None, caller, request_id)
        self._submit(request)
        return request

    def _submit(self, request: PendingRequest) -> None:
        pool = self._pools.get(request.key)
        if pool is None:
            self._load_for(request)
        else:
            pool.submit(request)

    def _load_for(self, request: PendingRequest) -> None:
        def fail_if_cancelled(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                request.end(ServiceUnavailable(request.key, _STOPPING))

        loading = self._loading(request.key)
        self._spawn(self._submit_when_loaded(request, loading)).add_done_callback(fail_if_cancelled)

    async def _submit_when_loaded(
        self, request: PendingRequest, loading: asyncio.Task[Pool]
    ) -> None:
        try:
            pool = await self._loaded_pool(request.key, loading)
        except MlsvcServerError as error:
            if error.status >= 500:
                self._keep_failure(request, error)
            request.end(error)
        else:
            pool.submit(request)

    async def _loaded_pool(
        self, key: DefinitionKey, loading: asyncio.Task[Pool] | None = None
    ) -> Pool:
        """Wait for the pool of a version that has none; what goes wrong counts as a request."""
        loading = loading or self._loading(key)
        # A caller that goes away does not end the loading for the others.
        await asyncio.wait({loading})
        if loading.cancelled():
            raise ServiceUnavailable(key, _STOPPING)
        try:
            return loading.result()
        except MlsvcServerError as error:
            if error.status >= 500:
                self._timings_of(key).add_failure()
            raise
        except Exception as error:
            self.log.exception("service %s can't be started", key)
            raise machine_fault(error) or MlsvcServerError("") from None

    def _submit_again(self, request: PendingRequest) -> None:
        """Take back a request that a pool could not answer."""
        if not self._is_running:
            request.end(ServiceUnavailable(request.key, _STOPPING))
            return
        request.attempts += 1
        if request.attempts < _ATTEMPTS:
            self._load_for(request)
        else:
            error = ServiceUnavailable(request.key, END_AT_START)
            self._timings_of(request.key).add_failure()
            self._keep_failure(request, error)
            request.end(error)

    def _keep_failure(self, request: PendingRequest, error: MlsvcServerError) -> None:
        """Keep a call that no pool took, after it was counted."""
        timings = self._timings_of(request.key)
        moment = timings.last_call or 0.0
        self._calls.of(request.key).add_unanswered(timings.count, moment, request, error)

    async def statistics(self) -> dict[str, Any]:
        """Count what is loaded; times are in seconds."""
        return {
            "services": len(self._pools),
            "workers": sum(len(pool.pids) for pool in self._pools.values()),
            "last_call": max(
                (each.last_call for each in self._timings.values() if each.last_call), default=None
            ),
            "r_workers": sum(
                len(pool.pids) for pool in self._pools.values() if pool.runtime_type == "R"
            ),
        }

    def reject(
        self,
        name: str,
        version: str,
        error: MlsvcServerError,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> None:
        """Count a request that was refused before it came here; see the interface."""
        key = DefinitionKey(name, version)
        # Names are the caller's; only those of services may take memory.
        if key in self._timings or key in self._pools:
            timings = self._timings_of(key)
            moment = timings.add_rejection()
            request = PendingRequest(key, b"", _ignore, None, caller, request_id)
            self._calls.of(key).add_unanswered(timings.count, moment, request, error)

    async def known(self) -> Collection[DefinitionKey]:
        """List the versions that are loaded, or were called."""
        called = {key for key, timings in self._timings.items() if timings.count}
        return called | self._pools.keys() | self._loads.keys() | self._failing.keys()

    async def failing(self) -> Mapping[DefinitionKey, str]:
        """Return the versions whose processes keep ending or can't be started, each with why."""
        return self._failing

    async def logs(
        self, name: str, version: str, *, after: int | None, limit: int
    ) -> Sequence[LogEntry]:
        """Return what a version has printed, oldest first; see the interface."""
        return self._logs.of(DefinitionKey(name, version)).entries(after=after, limit=limit)

    async def calls(
        self, name: str, version: str, *, limit: int, only_failed: bool = False
    ) -> Sequence[RecentCall]:
        """Return the newest calls of a version; see the interface."""
        calls = self._calls.of(DefinitionKey(name, version))
        return calls.list(limit=limit, only_failed=only_failed)

    async def call(self, name: str, version: str, number: int) -> RecentCall | None:
        """Return one of these calls; None where it is not kept."""
        return self._calls.of(DefinitionKey(name, version)).find(number)

    async def all_figures(self) -> Mapping[DefinitionKey, Figures]:
        """Tell of all versions that are loaded, or were called."""
        found = {}
        for number, key in enumerate(await self.known()):
            if not number % _AT_A_TIME:
                await asyncio.sleep(0)  # calls are answered meanwhile
            found[key] = self._figures_of(key)
        return found

    async def figures(self, name: str, version: str, *, with_history: bool = False) -> Figures:
        """Tell how a version is and what it did."""
        return self._figures_of(DefinitionKey(name, version), with_history=with_history)

    def _figures_of(self, key: DefinitionKey, *, with_history: bool = False) -> Figures:
        pool = self._pools.get(key)
        state, message = self._state(key, pool)
        timings = self._timings.get(key) or Timings()
        p50, p99 = timings.percentiles(0.5, 0.99)
        return Figures(
            state=state,
            message=message,
            workers=len(pool.pids) if pool else 0,
            waiting=pool.waiting if pool else 0,
            calls=timings.count,
            errors=timings.errors,
            rejected=timings.rejected,
            calls_per_minute=timings.calls_per_minute(),
            p50=p50,
            p99=p99,
            last_call=timings.last_call,
            retired=timings.retired,
            retired_for=timings.retired_for,
            lost_workers=timings.lost_workers,
            history=timings.history() if with_history else (),
        )

    async def counters(self) -> EngineCounters:
        """Return counters of all versions that are loaded or were called."""
        return EngineCounters(
            versions=[self._counters_of(key) for key in sorted(await self.known())],
            unloaded=self._unloaded,
            forkserver_restarts=self._forkservers.restarts,
        )

    def _counters_of(self, key: DefinitionKey) -> VersionCounters:
        pool = self._pools.get(key)
        timings = self._timings.get(key) or Timings()
        return VersionCounters(
            name=key.name,
            version=key.version,
            state=self._state(key, pool)[0],
            workers=len(pool.pids) if pool else 0,
            waiting=pool.waiting if pool else 0,
            calls=timings.count,
            errors=timings.errors,
            rejected=timings.rejected,
            unanswered=timings.unanswered,
            retired=timings.retired,
            lost_workers=timings.lost_workers,
            lost_templates=timings.lost_templates,
            latency=timings.latency(),
        )

    def _state(self, key: DefinitionKey, pool: Pool | None) -> tuple[State, str]:
        if pool is not None:
            return pool.state, pool.failure
        lock = self._locks.get(key)
        if key in self._loads or (lock is not None and lock.locked()):
            return State.STARTING, ""
        reason = self._failing.get(key)
        return (State.IDLE, "") if reason is None else (State.FAILING, reason)

    @property
    def _failing(self) -> dict[DefinitionKey, str]:
        """Versions whose processes keep ending, and why."""
        return {key: health.reason for key, health in self._health.items() if health.is_failing}

    async def memory_of(self, name: str, version: str) -> int:
        """Measure the template and the workers of a version."""
        pool = self._pools.get(DefinitionKey(name, version))
        if pool is None:
            return 0
        return await self._memory_of(pool)

    async def memory(self) -> dict[DefinitionKey, int]:
        """Measure the memory of each version's workers: bytes, shared ones in parts (PSS)."""
        # In a sandbox, ids of processes are others than here.
        is_apart = self._confinement.hides_processes
        pids = {
            key: (pool.template_pid, [] if is_apart else pool.pids)
            for key, pool in self._pools.items()
            if not isinstance(pool, HostedPool)
        }
        hosted = [pool for pool in self._pools.values() if isinstance(pool, HostedPool)]
        return await asyncio.to_thread(
            lambda: (
                {
                    key: process_memory.of_workers_below(template)
                    if is_apart
                    else sum(map(process_memory.of_tree, found))
                    for key, (template, found) in pids.items()
                }
                | {pool.key: pool.template.process.memory_of(()) for pool in hosted}
            )
        )

    # --- pools -------------------------------------------------------------------------------

    def _loading(self, key: DefinitionKey) -> asyncio.Task[Pool]:
        """Start the pool of a version that has none; once, however many requests ask for it."""
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._load(key))
            task.add_done_callback(partial(self._loaded, key))
        return task

    def _loaded(self, key: DefinitionKey, task: asyncio.Task[Pool]) -> None:
        del self._loads[key]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    async def _load(self, key: DefinitionKey) -> Pool:
        async with self._lock(key):
            pool = self._pools.get(key)
            if pool is not None:
                return pool
            health = self._health.get(key)
            if health is not None and not health.may_try(self._now()):
                raise self._unavailable(key, health)
            try:
                pool = await self._new_pool(key)
            except (NotFound, NoMemoryLeft):
                raise
            except MlsvcServerError as error:
                reason = error.why if isinstance(error, ServiceUnavailable) else error.message
                health = self._health_of(key)
                if not isinstance(error, StartInterrupted):
                    health.refused(self._now(), reason)
                self.log.warning("service %s can't be started: %s", key, reason)
                raise self._unavailable(key, health) from error
            self._health_of(key).started()
            self._pools[key] = pool
            self._spawn(self._measure(pool))
            return pool

    async def _new_pool(self, key: DefinitionKey) -> Pool:
        """Make a pool; at once again where its processes were ended from outside, a few times."""
        for last in (*(False,) * (_ATTEMPTS - 1), True):
            try:
                definition = await self.definitions(*key)
                return await self._hosted_pool(definition) or await self._pool(definition, None)
            except StartInterrupted as interrupted:
                health = self._health_of(key)
                health.ended(self._now(), interrupted.why, at_start=True)
                if last or health.is_failing:
                    raise
        raise AssertionError

    def _health_of(self, key: DefinitionKey) -> Health:
        if key not in self._health:
            self._health[key] = Health(HealthSettings(max_pause=self.retry_seconds))
        return self._health[key]

    def _unavailable(self, key: DefinitionKey, health: Health) -> ServiceUnavailable:
        wait = health.retry_after(self._now())
        return ServiceUnavailable(key, health.reason, retry_after=wait)

    async def _pool(
        self,
        definition: ServiceDefinition,
        template: Template | None,
        *,
        waits_for_call: bool = False,
    ) -> Pool:
        key = definition.key
        try:
            for last in (False, True):
                if template is None or template.link.is_lost:
                    template = await self._template(definition)
                pool = Pool(
                    size=definition.pool or self.usual_size,
                    template=template,
                    health=self._health_of(key),
                    quota=self._quota_of(definition.owner_id),
                    **self._of_any_pool(definition),
                )
                pool.may_be_hosted = self._hosting.suits(definition)
                try:
                    await pool.start(waits_for_call=waits_for_call)
                except LinkLost:
                    await pool.stop()
                    if last:
                        raise
                except BaseException:
                    await pool.stop()
                    raise
                else:
                    return pool
        except LinkLost:
            pass
        except NotStarted as problem:
            if str(problem) or problem.code not in ENDED_FROM_OUTSIDE:
                raise ServiceUnavailable(key, str(problem) or END_AT_START) from problem
        raise StartInterrupted(key, END_AT_START)

    def _of_any_pool(self, definition: ServiceDefinition) -> dict[str, Any]:
        """Give what all pools of a version are made with."""
        key = definition.key
        return {
            "key": key,
            "settings": self,
            "timings": self._timings_of(key),
            "service_log": self._logs.of(key),
            "recent_calls": self._calls.of(key),
            "keeps_bodies": definition.spec.keep_bodies,
            "on_no_room": self._make_room,
            "on_lost": self._pool_lost,
            "on_not_run": self._submit_again,
            "on_answered": lambda: self.answered(*key),
            "log": self.log,
        }

    # --- models in a host --------------------------------------------------------------------

    async def _hosted_pool(self, definition: ServiceDefinition) -> Pool | None:
        """Have a model loaded where others are; None where it needs workers of its own."""
        key, revision_id = definition.key, definition.spec.revision_id
        if not self._hosting.may_host(definition, self._now()) or key in self._failing:
            return None
        try:
            template = await self._template(definition, is_hosted=True)
        except NoMemoryLeft:
            raise
        except MlsvcServerError:  # workers of its own tell what is wrong
            self._hosting.keep_apart(revision_id, self._now())
            return None
        pool = HostedPool(
            size=PoolSize(1, 1),
            template=template,
            health=Health(HealthSettings()),
            quota=WorkerQuota(),
            on_trouble=self._hosted_lost,
            **self._of_any_pool(definition),
        )
        try:
            await pool.start()
        except (LinkLost, NotStarted) as problem:
            await pool.stop()
            seconds = FOR_GOOD if isinstance(problem, NotStarted) else APART_SECONDS
            self._hosting.keep_apart(revision_id, self._now(), seconds)
            self.log.info(
                "service %s has processes of its own: %s", key, str(problem) or END_AT_START
            )
            return None
        except BaseException:
            await pool.stop()
            raise
        return None if pool.is_stopped else pool

    def _hosted_lost(self, pool: HostedPool, apart_seconds: float) -> None:
        if self._pools.get(pool.key) is pool:
            del self._pools[pool.key]
        if apart_seconds == FOR_GOOD:
            self.log.warning(
                "service %s has processes of its own from now on: the one that it shared with "
                "others ended while it had a call, or was changed by one",
                pool.key,
            )
        self._hosting.keep_apart(pool.revision_id, self._now(), apart_seconds)
        self._leaving.add(pool)
        self._spawn(self._end(pool, pool.stop))

    async def _look_at_hosted(self) -> None:
        """Give models workers of their own that are busy."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._now()
            for pool in list(self._pools.values()):
                if isinstance(pool, HostedPool) and pool.is_busy(now) and not pool.is_moving:
                    pool.is_moving = True
                    self._spawn(self._move_out(pool))

    async def _move_out(self, pool: HostedPool) -> None:
        key = pool.key
        self._hosting.keep_apart(pool.revision_id, self._now())
        try:
            async with self._lock(key):
                if self._pools.get(key) is not pool:
                    return
                new = self._pools[key] = await self._new_pool(key)
        except MlsvcServerError as error:
            self.log.info("service %s stays where others are: %s", key, error.message)
            pool.is_moving = False
            return
        self._spawn(self._measure(new))
        while not (pool.is_idle or pool.is_overdue(self._now())):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_LOOK_SECONDS)
        if pool.is_idle:
            self._retire(pool)
        else:
            pool.give_up(APART_SECONDS)

    def _quota_of(self, owner_id: str) -> WorkerQuota:
        quota = self._quotas.get(owner_id)
        if quota is None:
            quota = self._quotas[owner_id] = WorkerQuota(self.max_workers_per_user)
        return quota

    def _make_room(self, pool: Pool, is_first: bool) -> None:
        """Let idle workers of the same person's other versions go for one of this version."""
        others = (
            each
            for key, each in self._pools.items()
            if each is not pool and each.quota is pool.quota and key not in self._kept
        )
        now = self._now()
        released = least_recently_used(
            others, unused_since=now if is_first else now - self.idle_seconds
        )
        if released is not None:
            released.release()
        if now - pool.quota.reported_at > _REPORT_SECONDS:
            pool.quota.reported_at = now
            self.log.info(
                "the services of one person have %d workers, which is the limit; %s waits for one, "
                "and %s",
                pool.quota.limit,
                pool.key,
                "none is idle" if released is None else f"idle ones of {released.key} end",
            )

    def _timings_of(self, key: DefinitionKey) -> Timings:
        return self._timings.setdefault(key, Timings())

    async def _template(
        self, definition: ServiceDefinition, *, is_hosted: bool = False
    ) -> Template:
        await self._make_memory(definition.key)
        holder = object()
        self._budget.reserve(holder, definition.key)
        try:
            return await (self._hosting if is_hosted else self._templates).template(definition)
        finally:
            self._budget.release(holder)

    async def _started_template(
        self, definition: ServiceDefinition, is_shared: bool
    ) -> TemplateProcess:
        return await self._started(TemplateProcess, definition, is_shared=is_shared)

    async def _started_host(self, definition: ServiceDefinition) -> HostProcess:
        return await self._started(HostProcess, definition, is_shared=True)

    async def _started(
        self, kind: type[ProcessT], definition: ServiceDefinition, *, is_shared: bool
    ) -> ProcessT:
        user = await self._confinement.user_of(definition.owner_id)
        for last in (False, True):
            work = self._work / uuid.uuid4().hex
            template = kind(definition, work, self._confinement, user, is_shared=is_shared)
            try:
                if not self._is_running:
                    raise ServiceUnavailable(definition.key, _STOPPING)
                forkserver = await self._forkservers.for_template(definition)
                await template.start(forkserver.link, self)
            except LinkLost:
                if last:
                    break
            else:
                return template
        raise StartInterrupted(definition.key, "The forkserver ends as soon as it is started.")

    def _note_kept(self, key: DefinitionKey, size: PoolSize | None) -> None:
        if size is not None and size.initial:
            self._kept.add(key)
        else:
            self._kept.discard(key)

    async def _resize(self, key: DefinitionKey, size: PoolSize | None) -> None:
        # A pool that is being made may have been given the size from before.
        async with self._lock(key):
            pool = self._pools.get(key)
            if pool is not None:
                pool.resize(size or self.usual_size)
        self._start_kept()

    def _start_kept(self) -> None:
        """Start the dedicated pools that are not there, as after the server's start or a crash."""
        for key in self._kept - self._pools.keys():
            self._loading(key)

    def _pool_lost(self, pool: Pool) -> None:
        if self._pools.get(pool.key) is pool:
            del self._pools[pool.key]
        health, began = self._health_of(pool.key), pool.template.began
        health.ended(self._now(), f"{KEEP_ENDING}.", began=began)
        self._leaving.add(pool)
        self._spawn(self._end(pool, partial(self._bury, pool, health)))

    async def _bury(self, pool: Pool, health: Health) -> None:
        await pool.stop()
        if pool.template.exit_code is not None:
            health.explain(ending(pool.template.exit_code))

    def _retire(self, pool: Pool) -> asyncio.Task[None]:
        self._leaving.add(pool)
        return self._spawn(self._end(pool, pool.retire))

    async def _end(self, pool: Pool, ending: Callable[[], Awaitable[None]]) -> None:
        # Made here: of a task that is cancelled before it begins, it would never be awaited.
        await ending()
        self._leaving.discard(pool)

    # --- memory ------------------------------------------------------------------------------

    def _load_of(self, pool: Pool) -> Loaded[DefinitionKey]:
        return Loaded(
            pool.key,
            pool.used_at,
            may_go=pool.is_idle and pool.key not in self._kept,
            descriptors=_OF_TEMPLATE + len(pool.pids),
        )

    async def _make_memory(self, key: DefinitionKey) -> None:
        """Unload what nobody uses, where there is no room for a version."""
        plan = self._budget.plan(map(self._load_of, self._pools.values()), key)
        if not plan.fits:
            self.log.warning("service %s can't be loaded: the memory budget is in use", key)
            raise NoMemoryLeft(key, self._budget.max_bytes)
        if plan.unload:
            await asyncio.wait([self._unload_for_room(each) for each in plan.unload])

    def _unload_for_room(self, key: DefinitionKey) -> asyncio.Task[None]:
        budget, pool = self._budget, self._pools[key]
        self.log.info(
            "unloading service %s, last used %d s ago: versions take %d of %d MB "
            "(ScoringSettings.memory_budget)",
            key,
            self._now() - pool.used_at,
            budget.used(map(self._load_of, self._pools.values())) / 2**20,
            budget.max_bytes / 2**20,
        )
        return self._unload(key)

    def _unload(self, key: DefinitionKey) -> asyncio.Task[None]:
        """End the processes of a version; its next request starts them again."""
        self._unloaded += 1
        self._measured_at.pop(key, None)
        return self._retire(self._pools.pop(key))

    def _end_uncalled(self) -> None:
        """Unload versions that were published and not called, but the newest for a while."""
        now = self._now()
        for key, since in list(self._uncalled.items()):
            pool = self._pools.get(key)
            if pool is None or pool.is_called:
                del self._uncalled[key]
            elif len(self._uncalled) > _MAX_UNCALLED or now - since > _CHECKED_SECONDS:
                del self._uncalled[key]
                self._unload(key)

    async def _measure(self, pool: Pool) -> None:
        self._measured_at[pool.key] = self._now()
        size = await self._memory_of(pool)
        if size:  # it has ended otherwise
            self._budget.measured(pool.key, size)

    async def _memory_of(self, pool: Pool) -> int:
        return await asyncio.to_thread(pool.template.process.memory_of, pool.pids)

    async def _keep_budget(self) -> None:
        """Measure what was in use, and unload where it has become too much."""
        now = self._now()
        for key, pool in list(self._pools.items()):
            measured_at = self._measured_at.get(key, 0.0)
            if pool.used_at > measured_at and now - measured_at > _MEASURE_SECONDS:
                await self._measure(pool)
        plan = self._budget.plan(map(self._load_of, self._pools.values()))
        for key in plan.unload:
            self._unload_for_room(key)

    # --- time --------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Unload what has not been used for long."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self._now()
            await self._forkservers.sweep()
            self._budget.others = await self._forkservers.memory()
            self._calls.make_room()
            self._start_kept()
            await self._note_loaded()
            for revision_id, (until, _) in list(self._checked.items()):
                if until < now:
                    await self._drop_checked(revision_id)
            for key, pool in list(self._pools.items()):
                unused = now - pool.used_at
                if self._may_move_in(pool, now):
                    self._unload(key)
                    continue
                is_due = self.unload_seconds and unused > self.unload_seconds
                if is_due and pool.is_idle and key not in self._kept:
                    self.log.info("unloading service %s after %d s without a request", key, unused)
                    self._unload(key)
            self._end_uncalled()
            await self._keep_budget()

    def _may_move_in(self, pool: Pool, now: float) -> bool:
        """Whether a model that is not called may as well be where others are, once it is."""
        return (
            pool.may_be_hosted
            and pool.is_idle
            and pool.key not in self._kept
            and now - pool.used_at > self.idle_seconds
            and not self._hosting.is_apart(pool.revision_id, now)
        )

    async def _drop_checked(self, revision_id: str) -> None:
        _, template = self._checked.pop(revision_id, (0.0, None))
        if template is not None:
            await template.stop()

    def _lock(self, key: DefinitionKey) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _now(self) -> float:
        return monotonic()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _has_early_code(definition: ServiceDefinition) -> bool:
    """Whether code runs before the code of a service."""
    return any(definition.spec.parts[part].strip() for part in _EARLY)


def _possible_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft // _DESCRIPTOR_SHARE
