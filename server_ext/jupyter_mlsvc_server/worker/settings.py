"""Settings of a process that a call may change: one row each, with how it is read and put back.

A row costs nothing where the code of a service has none of its words, or its library is not there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc_server.worker.code_facts import CodeFacts


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that a process has one of.

    Attributes
    ----------
    title : str
        What it is, for people.
    library : str
        The module that has it; the row counts while that is imported.
    words : frozenset of str
        Names of what changes it; code that has none of them can't.
    read : callable
        Gives its value, something that can be compared.
    write : callable or None
        Puts a value back; without one, a worker that has another value is retired.
    changes_on_import : bool
        Whether importing a module may change it by right.
    """

    title: str
    library: str
    words: frozenset[str]
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None
    changes_on_import: bool = False


class SettingsGuard:
    """Puts settings back that a call has changed.

    Parameters
    ----------
    facts
        What the code of the service names.
    """

    def __init__(self, facts: CodeFacts) -> None:
        self._facts = facts
        self._known: set[str] = set()
        self._kept: list[tuple[Setting, Any]] = []
        self.note_imports()

    def note_imports(self) -> None:
        """Take on rows of libraries that are there now, and what imports change by right."""
        self._kept = [
            (row, row.read() if row.changes_on_import else value) for row, value in self._kept
        ]
        for row in SETTINGS:
            is_there = row.title not in self._known and row.library in sys.modules
            if is_there and self._facts.may_use(row.words):
                self._known.add(row.title)
                with contextlib.suppress(Exception):  # a library of another version
                    self._kept.append((row, row.read()))

    def put_back(self) -> str:
        """Put everything back; gives the title of what could not be, and nothing else."""
        for row, value in self._kept:
            if row.read() == value:
                continue
            if row.write is None:
                return row.title
            try:
                row.write(value)
            except Exception:  # noqa: BLE001  # whatever it is, it is not as it was
                return row.title
            if row.read() != value:
                return row.title
        return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- the interpreter -------------------------------------------------------------------------


def _write_trace(value: tuple[Any, Any, Any]) -> None:
    sys.settrace(value[0])
    sys.setprofile(value[1])
    threading.settrace(value[2])


def _read_gc() -> tuple[Any, ...]:
    import gc

    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), tuple(gc.callbacks)


def _write_gc(value: tuple[Any, ...]) -> None:
    import gc

    is_enabled, threshold, debug, callbacks = value
    (gc.enable if is_enabled else gc.disable)()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    gc.callbacks[:] = callbacks


def _read_exits() -> int:
    return int(sys.modules["atexit"]._ncallbacks())  # noqa: SLF001 - no public way


def _read_modules() -> dict[str, Any]:
    return _Modules(sys.modules)


class _Modules(dict[str, Any]):
    """Modules by name; another one is the same if it has all of them, and nothing made up."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Modules)
            and all(self.get(name) is module for name, module in other.items())
            and not any(_is_made_up(self[name]) for name in self.keys() - other.keys())
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # it is no key


def _is_made_up(module: Any) -> bool:
    return getattr(module, "__spec__", None) is None


def _write_modules(value: dict[str, Any]) -> None:
    for name in sys.modules.keys() - value.keys():
        if _is_made_up(sys.modules[name]):
            del sys.modules[name]
    sys.modules.update(value)


def _read_tracemalloc() -> int:
    module = sys.modules["tracemalloc"]
    return int(module.get_traceback_limit()) if module.is_tracing() else 0


def _write_tracemalloc(limit: int) -> None:
    module = sys.modules["tracemalloc"]
    module.stop()
    if limit:
        module.start(limit)


# --- the process -----------------------------------------------------------------------------


def _read_threads() -> int:
    import time

    time.sleep(0.005)  # one that was just started is not counted before it has run
    return int(sys.modules["_thread"]._count())  # noqa: SLF001 - no public way


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_SIGNALS: Final = tuple(
    sorted(
        signal.valid_signals() - {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
    )
)
_TIMERS: Final = tuple(
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
)


def _read_signals() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, _SIGNALS))


def _write_signals(value: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, value, strict=True):
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _read_timers() -> bool:
    return any(any(signal.getitimer(timer)) for timer in _TIMERS)


def _write_timers(_value: bool) -> None:
    for timer in _TIMERS:
        signal.setitimer(timer, 0)


def _read_mask() -> frozenset[int]:
    return frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _read_limits() -> dict[int, tuple[int, int]]:
    import resource

    # Its own limit of memory a worker sets later.
    return {
        number: resource.getrlimit(number)
        for name in dir(resource)
        if name.startswith("RLIMIT_") and name != "RLIMIT_DATA"
        for number in [getattr(resource, name)]
    }


def _write_limits(value: dict[int, tuple[int, int]]) -> None:
    import resource

    for number, limits in value.items():
        if resource.getrlimit(number) != limits:
            resource.setrlimit(number, limits)


def _read_descriptors() -> tuple[str, ...]:
    return tuple(sorted(os.listdir("/proc/self/fd")))


def _read_children() -> tuple[str, ...]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    return tuple(found.split())


def _write_children(value: tuple[str, ...]) -> None:
    """Bury those that have ended; one that goes on can't be taken back."""
    for pid in _read_children():
        if pid not in value:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(pid), os.WNOHANG)


def _read_zone() -> tuple[Any, ...]:
    import time

    return time.tzname, time.timezone, time.altzone


def _write_zone(_value: Any) -> None:
    import time

    time.tzset()  # of TZ, which is back already


# --- the standard library --------------------------------------------------------------------


def _library(name: str) -> Any:
    return sys.modules[name]


def _write_table(module: str, name: str) -> Callable[[dict[Any, Any]], None]:
    def write(value: dict[Any, Any]) -> None:
        table = getattr(_library(module), name)
        table.clear()
        table.update(value)

    return write


def _read_dialects() -> tuple[Any, ...]:
    csv = _library("csv")
    return csv.field_size_limit(), *((name, csv.get_dialect(name)) for name in csv.list_dialects())


def _write_dialects(value: tuple[Any, ...]) -> None:
    csv = _library("csv")
    csv.field_size_limit(value[0])
    for name in csv.list_dialects():
        csv.unregister_dialect(name)
    for name, dialect in value[1:]:
        csv.register_dialect(name, dialect)


def _read_log_classes() -> tuple[Any, Any]:
    logging = _library("logging")
    return logging.getLoggerClass(), logging.getLogRecordFactory()


def _write_log_classes(value: tuple[Any, Any]) -> None:
    logging = _library("logging")
    logging.setLoggerClass(value[0])
    logging.setLogRecordFactory(value[1])


def _read_loop() -> tuple[Any, Any]:
    policy = getattr(_library("asyncio.events"), "_event_loop_policy", None)
    return policy, getattr(getattr(policy, "_local", None), "_loop", None)


def _write_loop(value: tuple[Any, Any]) -> None:
    left = _read_loop()[1]
    _library("asyncio.events")._event_loop_policy = value[0]  # noqa: SLF001 - no public way for None
    if value[1] is not None:
        value[0].set_event_loop(value[1])
    if left is not None and left is not value[1]:
        left.close()


# --- other libraries -------------------------------------------------------------------------


def _read_numpy_errors() -> tuple[Any, ...]:
    numpy = _library("numpy")
    return numpy.geterr(), numpy.geterrcall(), numpy.getbufsize()


def _write_numpy_errors(value: tuple[Any, ...]) -> None:
    numpy = _library("numpy")
    numpy.seterr(**value[0])
    numpy.seterrcall(value[1])
    numpy.setbufsize(value[2])


def _read_pandas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = [("", _library("pandas._config.config")._global_config)]  # noqa: SLF001 - no public way
    while waiting:
        prefix, options = waiting.pop()
        for name, value in options.items():
            if isinstance(value, dict):
                waiting.append((f"{prefix}{name}.", value))
            else:
                found[prefix + name] = value
    return found


def _write_pandas(value: dict[str, Any]) -> None:
    now, pandas = _read_pandas(), _library("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, setting in value.items():
            if now.get(name) != setting:
                pandas.set_option(name, setting)


def _read_pools() -> tuple[Any, ...]:
    # Found anew each time: libraries with threads may be loaded at any time.
    found = _library("threadpoolctl").ThreadpoolController().lib_controllers
    return tuple((each.filepath, each.num_threads) for each in found)


def _write_pools(value: tuple[Any, ...]) -> None:
    wanted = dict(value)
    for each in _library("threadpoolctl").ThreadpoolController().lib_controllers:
        if each.filepath in wanted:
            each.set_num_threads(wanted[each.filepath])


def _read_parallel() -> Any:
    return getattr(_library("joblib.parallel")._backend, "config", None)  # noqa: SLF001 - no public way


def _write_parallel(value: Any) -> None:
    backend = _library("joblib.parallel")._backend  # noqa: SLF001 - no public way
    if value is None:
        del backend.config
    else:
        backend.config = value


def _write_arrow(value: tuple[int, int]) -> None:
    _library("pyarrow").set_cpu_count(value[0])
    _library("pyarrow").set_io_thread_count(value[1])


def _write_colours(value: tuple[str, ...]) -> None:
    maps = _library("matplotlib").colormaps
    for name in tuple(maps):
        if name not in value:
            maps.unregister(name)


SETTINGS: Final = (
    # --- the interpreter
    Setting("recursion limit", "sys", _words("setrecursionlimit"),
            sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("switch interval of threads", "sys", _words("setswitchinterval"),
            sys.getswitchinterval, sys.setswitchinterval),
    Setting("trace and profile functions", "sys", _words("settrace setprofile"),
            lambda: (sys.gettrace(), sys.getprofile(), threading.gettrace()), _write_trace),
    Setting("longest text that becomes an integer", "sys", _words("set_int_max_str_digits"),
            sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    Setting("hooks of asynchronous generators", "sys", _words("set_asyncgen_hooks"),
            sys.get_asyncgen_hooks, lambda value: sys.set_asyncgen_hooks(*value)),
    Setting("sys.path", "sys", frozenset({"path", "site", "addsitedir"}),
            lambda: tuple(sys.path), lambda value: sys.path.__setitem__(slice(None), value)),
    Setting("import hooks", "sys", _words("meta_path path_hooks"),
            lambda: (*sys.meta_path, None, *sys.path_hooks),
            lambda value: (
                sys.meta_path.__setitem__(slice(None), value[: value.index(None)]),
                sys.path_hooks.__setitem__(slice(None), value[value.index(None) + 1 :]),
            )[0]),
    Setting("modules in sys.modules", "sys", _words("modules"), _read_modules, _write_modules),
    Setting("garbage collector", "sys", _words("gc"), _read_gc, _write_gc),
    Setting("functions at exit", "atexit", _words("atexit"),
            _read_exits, None, True),
    Setting("tracing of allocations", "tracemalloc", _words("tracemalloc"),
            _read_tracemalloc, _write_tracemalloc),
    Setting("subclasses registered with abstract classes", "abc", _words("register"),
            lambda: _library("abc").get_cache_token(), None, True),
    # --- the process
    Setting("umask", "os", _words("umask"), _read_umask, os.umask),
    Setting("priority", "os", _words("nice setpriority"),
            lambda: os.getpriority(os.PRIO_PROCESS, 0),
            lambda value: os.setpriority(os.PRIO_PROCESS, 0, value)),
    Setting("processors it may run on", "os", _words("sched_setaffinity"),
            lambda: os.sched_getaffinity(0), lambda value: os.sched_setaffinity(0, value)),
    Setting("limits of resources", "resource", _words("setrlimit prlimit"),
            _read_limits, _write_limits),
    Setting("signal handlers", "signal", _words("signal siginterrupt faulthandler"),
            _read_signals, _write_signals),
    Setting("pending alarms and timers", "signal", _words("alarm setitimer"),
            _read_timers, _write_timers),
    Setting("blocked signals", "signal", _words("pthread_sigmask"),
            _read_mask, lambda value: signal.pthread_sigmask(signal.SIG_SETMASK, value)),
    Setting("child processes", "os",
            _words("subprocess Popen fork forkpty posix_spawn spawnl spawnv popen multiprocessing "
                   "Process Pool create_subprocess_exec create_subprocess_shell"),
            _read_children, _write_children),
    Setting("open file descriptors", "os",
            _words("dup dup2 pipe openpty socketpair fdopen mkstemp memfd_create eventfd detach "
                   "O_RDONLY O_WRONLY O_RDWR O_CREAT closerange"),
            _read_descriptors),
    Setting("time zone", "time", _words("tzset"), _read_zone, _write_zone),
    # --- the standard library
    Setting("locale", "locale", _words("setlocale resetlocale"),
            lambda: _library("locale").setlocale(_library("locale").LC_ALL),
            lambda value: _library("locale").setlocale(_library("locale").LC_ALL, value)),
    Setting("default timeout of sockets", "socket", _words("setdefaulttimeout"),
            lambda: _library("socket").getdefaulttimeout(),
            lambda value: _library("socket").setdefaulttimeout(value)),
    Setting("stack size of threads", "threading", _words("stack_size"),
            threading.stack_size, threading.stack_size),
    Setting("decimal's ready-made contexts", "decimal",
            _words("DefaultContext BasicContext ExtendedContext"),
            lambda: tuple(repr(getattr(_library("decimal"), name)) for name in
                          ("DefaultContext", "BasicContext", "ExtendedContext"))),
    Setting("event loop of asyncio", "asyncio.events",
            _words("asyncio get_event_loop set_event_loop new_event_loop set_event_loop_policy"),
            _read_loop, _write_loop),
    Setting("first day of the week", "calendar", _words("setfirstweekday firstweekday"),
            lambda: _library("calendar").firstweekday(),
            lambda value: _library("calendar").setfirstweekday(value)),
    Setting("how classes are pickled", "copyreg", _words("copyreg dispatch_table"),
            lambda: dict(_library("copyreg").dispatch_table),
            _write_table("copyreg", "dispatch_table")),
    Setting("csv dialects", "csv",
            _words("register_dialect unregister_dialect field_size_limit"),
            _read_dialects, _write_dialects),
    Setting("types that sqlite3 adapts", "sqlite3.dbapi2", _words("register_adapter"),
            lambda: dict(_library("sqlite3.dbapi2").adapters),
            _write_table("sqlite3.dbapi2", "adapters")),
    Setting("types that sqlite3 converts", "sqlite3.dbapi2", _words("register_converter"),
            lambda: dict(_library("sqlite3.dbapi2").converters),
            _write_table("sqlite3.dbapi2", "converters")),
    Setting("classes of loggers and log records", "logging",
            _words("setLoggerClass setLogRecordFactory"), _read_log_classes, _write_log_classes),
    Setting("how multiprocessing starts", "multiprocessing", _words("set_start_method"),
            lambda: _library("multiprocessing").get_start_method(allow_none=True),
            lambda value: _library("multiprocessing").set_start_method(value, force=True)),
    Setting("threads started by hand", "_thread", _words("start_new_thread"), _read_threads),
    # --- other libraries
    Setting("numpy's error handling", "numpy", _words("seterr seterrcall setbufsize"),
            _read_numpy_errors, _write_numpy_errors),
    Setting("numpy's print options", "numpy", _words("set_printoptions"),
            lambda: _library("numpy").get_printoptions(),
            lambda value: _library("numpy").set_printoptions(**value)),
    Setting("scipy.special's error handling", "scipy.special", _words("seterr"),
            lambda: _library("scipy.special").geterr(),
            lambda value: _library("scipy.special").seterr(**value)),
    Setting("pandas' options", "pandas._config.config", _words("set_option reset_option options"),
            _read_pandas, _write_pandas),
    Setting("scikit-learn's settings", "sklearn", _words("set_config"),
            lambda: _library("sklearn").get_config(),
            lambda value: _library("sklearn").set_config(**value)),
    Setting("threads of numerical libraries", "threadpoolctl",
            _words("threadpool_limits threadpoolctl ThreadpoolController set_num_threads"),
            _read_pools, _write_pools),
    Setting("joblib's backend", "joblib.parallel", _words("parallel_config parallel_backend"),
            _read_parallel, _write_parallel),
    Setting("threads of Arrow", "pyarrow", _words("set_cpu_count set_io_thread_count"),
            lambda: (_library("pyarrow").cpu_count(), _library("pyarrow").io_thread_count()),
            _write_arrow),
    Setting("matplotlib's colour maps", "matplotlib", _words("colormaps register_cmap"),
            lambda: tuple(_library("matplotlib").colormaps), _write_colours),
)  # fmt: skip
"""Rows are put back in this order."""
