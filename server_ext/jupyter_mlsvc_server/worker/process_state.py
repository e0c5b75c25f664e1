"""Puts back what a call has changed of its process: settings, libraries, figures, logs, files.

Whatever can be put back is; what can't has the worker retired. How each thing is treated, and what
nobody sees, is in the page ``docs/explanation/isolation.md``.
"""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import importlib
import logging
import os
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final

from jupyter_mlsvc_server.worker.attributes import LibraryGuard
from jupyter_mlsvc_server.worker.code_facts import CodeFacts
from jupyter_mlsvc_server.worker.dict_version import version_of
from jupyter_mlsvc_server.worker.settings import SETTINGS, SettingsGuard

_LOGGING_WORDS: Final = frozenset({
    "basicConfig", "addHandler", "removeHandler", "setLevel", "addFilter", "removeFilter",
    "dictConfig", "fileConfig", "disable", "captureWarnings", "addLevelName", "handlers",
    "setFormatter", "propagate", "disabled", "filters",
})  # fmt: skip
_DRAWING: Final = frozenset({"backend", "backend_fallback"})
"""Parameters of matplotlib that it finds out by itself."""

_OF_DECIMAL: Final = "decimal_context"


class ProcessState:
    """Knows how the process was before the first request, and puts that back after each.

    Parameters
    ----------
    facts
        What the code of the service names.
    namespace
        The names that the code finds.
    own
        Modules of the user's own.
    """

    def __init__(
        self, facts: CodeFacts, namespace: Mapping[str, Any], own: Iterable[types.ModuleType]
    ) -> None:
        _import_changed(facts)
        self._libraries = LibraryGuard(facts, namespace, own)
        self._settings = SettingsGuard(facts)
        self._environment = _Environment()
        self._logs = _Logs(always=facts.may_use(_LOGGING_WORDS))
        self._drawing: _Drawing | None = None
        self._is_ready = False
        self._threads = _thread._count()  # noqa: SLF001 - also counts those that threading does not know
        self._context = _context_of_calls()
        self.note_imports()
        self._is_ready = True

    @property
    def has_threads(self) -> bool:
        """Whether threads run that did not before."""
        return _thread._count() > self._threads  # noqa: SLF001 - as above

    def new_context(self) -> contextvars.Context:
        """Give the context variables for a call: as they were, whatever other calls have set."""
        return self._context.copy()

    def note_imports(self) -> None:
        """Look after libraries that are there now."""
        self._libraries.note_imports()
        self._settings.note_imports()
        if self._drawing is None and "matplotlib" in sys.modules:
            self._drawing = _Drawing(is_new=self._is_ready)

    def put_back_libraries(self) -> None:
        """Put attributes of libraries back, so that what follows a call runs on the real ones."""
        self._libraries.put_back()

    def put_back(self) -> str:
        """Put everything back; gives what could not be, in a few words, and nothing else."""
        if self.has_threads:
            return "a thread was left running"
        self._environment.put_back()
        self._logs.put_back()
        if self._drawing is not None:
            self._drawing.put_back()
        if changed := self._settings.put_back() or self._libraries.put_back():
            return f"this can't be put back: {changed}"
        return ""


def _import_changed(facts: CodeFacts) -> None:
    """Import what the code imports and may change, so that it is known as it was before."""
    wanted = facts.modules
    if not (facts.stored or facts.runs_texts):
        changed = {"matplotlib"} | {row.library for row in SETTINGS if facts.may_use(row.words)}
        packages = {library.partition(".")[0] for library in changed}
        wanted = frozenset(name for name in wanted if name.partition(".")[0] in packages)
    for name in sorted(wanted):
        # What is missing shows where the code uses it.
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _context_of_calls() -> contextvars.Context:
    """Copy the current context variables, but let each call have a decimal context of its own."""
    context = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable.name == _OF_DECIMAL:
            _make_usual(value)
        else:
            context.run(variable.set, value)
    return context


def _make_usual(decimal_context: Any) -> None:
    """Have new decimal contexts be as this one, which is changed in place."""
    usual = sys.modules["decimal"].DefaultContext
    for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps"):
        setattr(usual, name, getattr(decimal_context, name))


class _Environment:
    """The environment variables."""

    def __init__(self) -> None:
        self._data: dict[Any, Any] = vars(os.environ)["_data"]
        self._copy = dict(self._data)
        self._version = version_of(self._data)
        self._seen = self._version() if self._version else 0

    def put_back(self) -> None:
        if self._version is not None and self._version() == self._seen:
            return
        if self._data != self._copy:
            wanted = {os.fsdecode(key): os.fsdecode(value) for key, value in self._copy.items()}
            zone = os.environ.get("TZ")
            for name in os.environ.keys() - wanted.keys():
                del os.environ[name]
            for name, value in wanted.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
            if zone != os.environ.get("TZ"):
                import time

                time.tzset()
        if self._version is not None:
            self._seen = self._version()


class _Logs:
    """Loggers and their handlers.

    Parameters
    ----------
    always
        Whether the code may change them; else only a handler that is new gives reason to look.
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._handlers = logging._handlerList  # type: ignore[attr-defined]  # noqa: SLF001
        self._count = len(self._handlers)
        self._root_handlers = tuple(logging.root.handlers)
        self._state = self._read()

    def put_back(self) -> None:
        if not (
            self._always
            or len(self._handlers) != self._count
            or len(logging.root.handlers) != len(self._root_handlers)
        ):
            return
        if self._read() != self._state:
            self._write()
        del self._handlers[self._count :]
        self._count = len(self._handlers)

    def _read(self) -> tuple[Any, ...]:
        manager = logging.root.manager
        loggers = {"": logging.root} | {
            name: logger
            for name, logger in manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        }
        states = {name: _state_of(logger) for name, logger in loggers.items()}
        usual = (logging.NOTSET, (), (), True, False, ())
        # One that was made and not changed is as if it were not there.
        return (
            {name: state for name, state in states.items() if state != usual},
            manager.disable,
            dict(logging._levelToName),  # noqa: SLF001 - no public way
            logging.raiseExceptions,
        )

    def _write(self) -> None:
        states, disabled, levels, logging.raiseExceptions = self._state
        logging.disable(disabled)
        logging._levelToName.clear()  # noqa: SLF001 - no public way
        logging._levelToName.update(levels)  # noqa: SLF001
        logging._nameToLevel.clear()  # noqa: SLF001
        logging._nameToLevel.update({name: level for level, name in levels.items()})  # noqa: SLF001
        usual = (logging.NOTSET, (), (), True, False, ())
        for name in self._read()[0].keys() | states.keys():
            logger = logging.getLogger(name) if name else logging.root
            level, handlers, filters, logger.propagate, logger.disabled, of_handlers = states.get(
                name, usual
            )
            for handler in set(logger.handlers) - set(handlers):
                handler.close()
            logger.handlers[:] = handlers
            logger.filters[:] = filters
            logger.setLevel(level)
            for handler, (of_level, formatter, of_filters) in zip(
                handlers, of_handlers, strict=True
            ):
                handler.setLevel(of_level)
                handler.setFormatter(formatter)
                handler.filters[:] = of_filters


def _state_of(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = tuple(logger.handlers)
    return (
        logger.level,
        handlers,
        tuple(logger.filters),
        logger.propagate,
        logger.disabled,
        tuple((each.level, each.formatter, tuple(each.filters)) for each in handlers),
    )


class _Drawing:
    """Figures and parameters of matplotlib.

    Parameters
    ----------
    is_new
        Whether a call has imported it, and may have changed it since.
    """

    def __init__(self, *, is_new: bool) -> None:
        library = sys.modules["matplotlib"]
        self._parameters: dict[str, Any] = library.rcParams
        original = library.rcParamsOrig if is_new else library.rcParams
        self._copy = dict(dict.items(original))
        self._version = version_of(self._parameters)
        self._seen = -1
        self._figures: Mapping[int, Any] | None = None
        self._backend = ""
        if not is_new and "matplotlib.pyplot" in sys.modules:
            self._backend = library.get_backend()  # finds one out, where none was asked for

    def put_back(self) -> None:
        if self._figures is None and "matplotlib._pylab_helpers" in sys.modules:
            self._figures = sys.modules["matplotlib._pylab_helpers"].Gcf.figs
        if self._figures:
            sys.modules["matplotlib._pylab_helpers"].Gcf.destroy_all()
        if self._version is not None and self._version() == self._seen:
            return
        now = dict(dict.items(self._parameters))
        changed = {
            name: value
            for name, value in self._copy.items()
            if name not in _DRAWING and now.get(name) != value
        }
        dict.update(self._parameters, changed)
        if self._backend and str(now.get("backend")).lower() != self._backend.lower():
            sys.modules["matplotlib.pyplot"].switch_backend(self._backend)
        if self._version is not None:
            self._seen = self._version()
