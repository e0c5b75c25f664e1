"""The scoring engine as the server sees it: it asks the one in the front."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.front.link import Link, LinkEnded
from jupyter_mlsvc_server.front.many import Outcomes
from jupyter_mlsvc_server.front.messages import (
    AskFigures,
    Check,
    Consume,
    ConsumeMany,
    Definition,
    HasSize,
    Known,
    MemoryOf,
    Message,
    Put,
    Reject,
    Remove,
    Resize,
    Statistics,
)
from jupyter_mlsvc_server.front.supervisor import FrontNotThere, Supervisor
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.engine import Answered, Definitions, Outcome, ScoringAnswer
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.request import Ended
from jupyter_mlsvc_server.scoring.statistics import Figures, State
from jupyter_mlsvc_server.scoring.trial import TrialOutcome

_CHECK_ATTEMPTS = 2


class FrontEnded(MlsvcServerError):
    """The front ended in the middle."""

    def __init__(self) -> None:
        super().__init__(
            "The process that runs services ended unexpectedly while it answered this request. "
            "It is started again."
        )


class Question:
    """A request that the front was asked to answer."""

    __slots__ = ("_link", "_told", "number")

    def __init__(self, link: Link, ended: Ended) -> None:
        self._link = link
        self._told = ended
        self.number = 0

    def tell(self, outcome: Any) -> None:
        """Pass on how it ended."""
        self._told(FrontEnded() if isinstance(outcome, LinkEnded) else outcome)

    def abandon(self) -> None:
        """Forget about the caller, who left."""
        self._link.give_up(self.number)


class Waiting:
    """A request that waits for a front that can be asked."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def abandon(self) -> None:
        """Forget about the caller, who left."""
        self._task.cancel()


class FrontEngine:
    """Has a front run service versions.

    A front that starts knows no service: it asks for the definition of each one that is called. So
    what is to be served is told to a front that runs, and need not be told to one that does not.

    Parameters
    ----------
    supervisor
        Has the front.
    settings
        An engine that is not started, for its settings.
    """

    def __init__(self, *, supervisor: Supervisor, settings: LocalEngine) -> None:
        self._supervisor = supervisor
        self._settings = settings
        self._kept: dict[DefinitionKey, PoolSize] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def definitions(self) -> Definitions:
        """Where the definition of a version is found."""
        return self._settings.definitions

    @definitions.setter
    def definitions(self, definitions: Definitions) -> None:
        self._settings.definitions = definitions

    @property
    def answered(self) -> Answered:
        """What is told of the first answer of a version."""
        return self._settings.answered

    @answered.setter
    def answered(self, answered: Answered) -> None:
        self._settings.answered = answered

    async def start(self) -> None:
        """Start the front."""
        await self._supervisor.start()

    async def stop(self) -> None:
        """End all that runs."""
        await self._supervisor.stop()

    def restarted(self, link: Link) -> None:
        """Tell a new front which workers to keep."""
        for key, size in self._kept.items():
            link.tell(Resize(*key, size))

    async def check(self, definition: ServiceDefinition, call: bytes | None = None) -> TrialOutcome:
        """Try whether a definition can be served, and run it once."""
        question = Check(Definition.of(definition), call)
        # Code runs once: it is not called again where the front ended in the middle.
        for _ in range(_CHECK_ATTEMPTS if call is None else 1):
            with contextlib.suppress(LinkEnded):
                outcome: TrialOutcome = await self._supervisor.ask(question, TrialOutcome)
                return outcome
        raise FrontEnded

    async def put(self, definition: ServiceDefinition) -> None:
        """Serve a revision from now on."""
        self._note(definition.key, definition.pool)
        await self._change(Put(Definition.of(definition)))

    async def remove(self, name: str, version: str) -> None:
        """Serve a version no longer."""
        self._note(DefinitionKey(name, version), None)
        await self._change(Remove(name, version))

    async def _change(self, message: Message) -> None:
        # Where there is no front, the next one asks for what there is.
        with contextlib.suppress(LinkEnded, FrontNotThere):
            await self._supervisor.ask(message)

    @property
    def usual_size(self) -> PoolSize:
        """Size of a pool that nobody asked another size for."""
        return self._settings.usual_size

    def reject(self, name: str, version: str) -> None:
        """Count a request that was refused before it came here; see the interface."""
        self._supervisor.tell(Reject(name, version))

    def resize(self, name: str, version: str, size: PoolSize | None) -> None:
        """Change how many workers a version has."""
        self._note(DefinitionKey(name, version), size)
        self._supervisor.tell(Resize(name, version, size))

    def _note(self, key: DefinitionKey, size: PoolSize | None) -> None:
        if size is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = size

    async def has_size(self, name: str, version: str, size: PoolSize) -> bool:
        """Whether a pool has this size, with all the workers that are to be kept."""
        return bool(await self._asked(HasSize(name, version, size), bool, otherwise=False))

    async def consume(self, name: str, version: str, body: bytes) -> ScoringAnswer:
        """Answer one request."""
        try:
            answer: ScoringAnswer = await self._supervisor.ask(
                Consume(name, version, body), ScoringAnswer
            )
        except LinkEnded:
            raise FrontEnded from None
        return answer

    async def consume_many(
        self, key: DefinitionKey, bodies: Sequence[bytes], at_a_time: int
    ) -> list[Outcome]:
        """Answer several requests."""
        try:
            outcomes: Outcomes = await self._supervisor.ask(
                ConsumeMany(*key, list(bodies), at_a_time), Outcomes
            )
        except LinkEnded:
            raise FrontEnded from None
        return outcomes.unpacked()

    def submit(self, key: DefinitionKey, body: bytes, ended: Ended) -> Question | Waiting:
        """Answer one request through a callback, which may come at once."""
        link = self._supervisor.link
        if link is None:
            return Waiting(self._spawn(self._submit_later(key, body, ended)))
        question = Question(link, ended)
        try:
            question.number = link.submit(Consume(*key, body), ScoringAnswer, question.tell)
        except LinkEnded as error:
            question.tell(error)
        return question

    async def _submit_later(self, key: DefinitionKey, body: bytes, ended: Ended) -> None:
        outcome: ScoringAnswer | MlsvcServerError
        try:
            outcome = await self.consume(*key, body)
        except MlsvcServerError as error:
            outcome = error
        ended(outcome)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def statistics(self) -> dict[str, Any]:
        """Count what is loaded."""
        nothing: dict[str, Any] = {
            **dict.fromkeys(("services", "workers", "r_workers"), 0),
            "versions": {},
            "last_call": None,
        }
        found: dict[str, Any] = await self._asked(Statistics(), dict[str, Any], nothing)
        return found

    async def known(self) -> Collection[DefinitionKey]:
        """List the versions that are loaded, or were called."""
        found: list[DefinitionKey] = await self._asked(Known(), list[DefinitionKey], [])
        return frozenset(found)

    async def figures(self, name: str, version: str, *, with_history: bool = False) -> Figures:
        """Tell how a version is and what it did."""
        starting = Figures(state=State.STARTING)
        found: Figures = await self._asked(
            AskFigures(name, version, with_history), Figures, starting
        )
        return found

    async def memory_of(self, name: str, version: str) -> int:
        """Measure the memory of a version's processes."""
        found: int = await self._asked(MemoryOf(name, version), int, 0)
        return found

    async def _asked(self, question: Message, kind: Any, otherwise: Any) -> Any:
        """Ask a front that is there; nobody waits for one to be told how it does."""
        if not self._supervisor.is_up:
            return otherwise
        try:
            return await self._supervisor.ask(question, kind)
        except (LinkEnded, FrontNotThere):
            return otherwise
