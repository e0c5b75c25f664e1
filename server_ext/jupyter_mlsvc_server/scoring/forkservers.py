"""Which forkserver a template is forked from: one that has imported what the template needs.

- The usual one has the libraries that nearly all services need (``ScoringSettings.preload``).
- While it imports them, one without libraries serves versions that need none.
- Versions whose snapshot needs a heavy library, such as torch, share one that has it, too. It is
  started for the second of them: one alone gains nothing by it. It has nothing of anybody but the
  libraries that the operator names (``ScoringSettings.heavy_modules``), so all people share it.

A heavy one is not used where a library has started threads, as these do not survive a fork, nor
where it saves little. Both show once it is there, and are remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic
from typing import Any, Final

from jupyter_mlsvc_server.formats.protocol import Preloaded
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.scoring import process_memory
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.forkserver import Forkserver
from jupyter_mlsvc_server.scoring.forkserver_client import LinkLost
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.template_process import TemplateProcess

Modules = tuple[str, ...]

_MAX_HEAVY: Final = 4
"""Forkservers with heavy libraries at a time, each with other ones."""

_UNUSED_SECONDS: Final = 300.0
"""How long one is kept that no template is of."""

_LIGHT_BYTES: Final = 40 * 2**20
_LIGHT_SECONDS: Final = 0.5
"""Libraries that take less of both are left to each template: a forkserver takes 130 MB itself."""


def heavy_modules(definition: ServiceDefinition, names: Iterable[str]) -> Modules:
    """Return those of the modules whose packages a version's snapshot was taken with."""
    content = definition.content
    if content is None or definition.spec.runtime_type == R:
        return ()
    packages = {name.lower().replace("-", "_") for name in content.manifest.workspace.packages}
    return tuple(sorted({name for name in names if name.partition(".")[0].lower() in packages}))


def why_not_shared(imported: Preloaded) -> str:
    """Say why no template is forked from one with these heavy libraries; empty if some are."""
    if imported.heavy_threads:
        return f"they start {imported.heavy_threads} threads, which a fork ends"
    if imported.heavy_bytes < _LIGHT_BYTES and imported.heavy_seconds < _LIGHT_SECONDS:
        return "they take little"
    return ""


class Forkservers:
    """Owns the forkservers of an engine.

    Parameters
    ----------
    settings
        The operator's.
    process_limit
        Gives the processes and threads that a template and all below it may have.
    processes
        Gives the template processes that may still be there.
    spawn
        Runs something beside.
    """

    def __init__(
        self,
        settings: ScoringSettings,
        process_limit: Callable[[], int],
        processes: Callable[[], Iterable[TemplateProcess]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._settings = settings
        self._process_limit = process_limit
        self._processes = processes
        self._spawn = spawn
        self.usual: Forkserver | None = None
        self.bare: Forkserver | None = None
        """Another one without libraries, while that one imports them."""
        self.restarts = 0
        """How often the usual one had to be replaced."""
        self.heavy: OrderedDict[Modules, Forkserver] = OrderedDict()
        """Those with heavy libraries, the one that was used last at the end."""
        self._not_shared: set[Modules] = set()
        self._used_at: dict[Modules, float] = {}

    async def for_template(self, definition: ServiceDefinition) -> Forkserver:
        """Give the forkserver for a new template."""
        modules = heavy_modules(definition, self._settings.heavy_modules)
        if modules and (heavy := await self._heavy_with(modules)) is not None:
            return heavy
        forkserver, bare, preload = self.live(), self.bare, self._settings.preload
        if forkserver.link.is_ready or not preload or definition.may_need(preload):
            return forkserver
        if bare is None or bare.link.is_lost:
            if bare is not None:
                self._spawn(bare.stop())
            bare = self.bare = self._started(is_bare=True)
        return bare

    def live(self) -> Forkserver:
        """Give the usual forkserver, a new one where there is none."""
        forkserver = self.usual
        if forkserver is not None and forkserver.link.is_lost:
            self._settings.log.error("the forkserver ended unexpectedly; starting another one")
            self.restarts += 1
            self._spawn(forkserver.stop())
            forkserver = None
        if forkserver is None:
            forkserver = self.usual = self._started()
            self._spawn(self._tell_missing(forkserver))
        return forkserver

    def is_of_bare(self, process: TemplateProcess) -> bool:
        """Whether a process is of the forkserver without libraries, and would better not be."""
        bare, usual = self.bare, self.usual
        is_due = bare is not None and usual is not None and usual.link.is_ready
        return is_due and bare is not None and process.is_of(bare.link)

    async def sweep(self) -> None:
        """Replace the usual one where it was lost, and end those that are of no use any more."""
        if self.usual is not None:
            self.live()
        bare, usual = self.bare, self.usual
        is_due = bare is not None and usual is not None and usual.link.is_ready
        if bare is not None and is_due and not self._is_used(bare):
            self.bare = None
            await bare.stop()
        for modules, forkserver in list(self.heavy.items()):
            if self._is_used(forkserver):
                self._used_at[modules] = monotonic()
            elif monotonic() - self._used_at[modules] > _UNUSED_SECONDS:
                self._end_heavy(modules)

    async def memory(self) -> int:
        """Measure those with heavy libraries, in bytes."""
        pids = [
            ready.pid
            for forkserver in self.heavy.values()
            if forkserver.link.is_ready and (ready := await forkserver.ready()).pid
        ]
        return await asyncio.to_thread(lambda: sum(map(process_memory.of_process, pids)))

    async def stop(self) -> None:
        """End all."""
        found = [each for each in (self.usual, self.bare) if each is not None]
        found += self.heavy.values()
        self.usual = self.bare = None
        self.heavy.clear()
        await asyncio.gather(*(each.stop() for each in found))

    # --- with heavy libraries ----------------------------------------------------------------

    async def _heavy_with(self, modules: Modules) -> Forkserver | None:
        """Give the one with these modules; None where the usual one is to be used."""
        found = self.heavy.get(modules)
        if found is not None and found.link.is_lost:
            self._end_heavy(modules)
            found = None
        if found is None:
            is_wanted = modules not in self._not_shared and self._has_other(modules)
            if not is_wanted or not self._make_room():
                return None
            found = self.heavy[modules] = self._started(heavy=modules)
        self.heavy.move_to_end(modules)
        self._used_at[modules] = monotonic()
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                why = why_not_shared(await found.ready())
        except (LinkLost, TimeoutError):
            why = "importing them ahead failed"
        if not why:
            return found
        if self.heavy.get(modules) is found:
            self._not_shared.add(modules)
            self._settings.log.info(
                "services that need %s import it each for themselves: %s", ", ".join(modules), why
            )
            self._end_heavy(modules)
        return None

    def _has_other(self, modules: Modules) -> bool:
        """Whether another template needs them, too."""
        names = self._settings.heavy_modules
        return any(
            each.is_open and heavy_modules(each.definition, names) == modules
            for each in self._processes()
        )

    def _make_room(self) -> bool:
        """End the one that nobody has used for longest, where there are as many as may be."""
        if len(self.heavy) < _MAX_HEAVY:
            return True
        for modules, forkserver in list(self.heavy.items()):
            if forkserver.link.is_ready and not self._is_used(forkserver):
                self._end_heavy(modules)
                return True
        return False

    def _end_heavy(self, modules: Modules) -> None:
        """End one beside: nobody should wait for it."""
        forkserver = self.heavy.pop(modules)
        self._used_at.pop(modules, None)
        self._spawn(forkserver.stop())

    # --- all ---------------------------------------------------------------------------------

    def _started(self, *, is_bare: bool = False, heavy: Modules = ()) -> Forkserver:
        limit = self._process_limit()
        return Forkserver(self._settings, limit, is_bare=is_bare, heavy=heavy)

    def _is_used(self, forkserver: Forkserver) -> bool:
        return any(each.is_of(forkserver.link) for each in self._processes())

    async def _tell_missing(self, forkserver: Forkserver) -> None:
        with contextlib.suppress(LinkLost):
            for module, reason in (await forkserver.missing()).items():
                self._settings.log.info(
                    "module %s is not preloaded for services: %s", module, reason
                )
