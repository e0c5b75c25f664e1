"""Settings of the local scoring engine."""

from __future__ import annotations

from typing import Any

import psutil
from traitlets import Bool, Dict, Enum, Float, Integer, TraitError, Unicode, default, validate
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.cgroups import memory_limit
from jupyter_mlsvc_server.formats.protocol import MAX_ANSWER_BYTES
from jupyter_mlsvc_server.scoring.recent_calls import MAX_CALLS
from jupyter_mlsvc_server.storage.traits import TextList


class ScoringSettings(LoggingConfigurable):
    """How service versions are run on this machine; the base of the engine that does it."""

    is_traced = False
    """Whether answers say when they were where; the server sets it where it makes traces."""

    workers_min = Integer(
        1, min=0, help="Workers of a service version that are kept when idle; 0 keeps none."
    ).tag(config=True)
    workers_max = Integer(
        2, min=1, help="Workers that a service version may have when it is busy."
    ).tag(config=True)
    max_workers_per_user = Integer(
        100,
        min=0,
        help="Workers that all services of one person have together. At the limit, those that are "
        "not in use go for a version that is called; where all are, its calls wait. 0 sets no "
        "limit.",
    ).tag(config=True)
    share_models = Bool(
        True,
        help="Whether realtime models of one person share a process while they are called now and "
        "then: plain estimators of scikit-learn. Busy ones have workers of their own.",
    ).tag(config=True)
    queue_limit = Integer(
        10_000,
        min=0,
        help="Requests of a service version that may wait for a worker, however short they are; "
        "more are answered with 503. 0 lets none wait.",
    ).tag(config=True)
    deadline_seconds = Float(
        30.0,
        help="Seconds that the code of a service may run for one request, and that a request may "
        "wait for a worker. Then it is answered with 504, and a running one is killed with its "
        "worker. One that is expected to wait longer gets 503 at once. 0 sets no limit.",
    ).tag(config=True)
    max_deadline_seconds = Float(
        0.0,
        help="Seconds that a version's own deadline may be at most (deadlineSeconds at its "
        "publishing). 0: as many as deadline_seconds says.",
    ).tag(config=True)
    stream_seconds = Float(
        600.0,
        help="Seconds that the code of a service may take for an answer that is sent item by item; "
        "deadline_seconds is then what it may take for the first one, and between two. 0 sets no "
        "limit.",
    ).tag(config=True)
    idle_seconds = Float(
        60.0, help="Seconds without a request after which a worker above the minimum ends."
    ).tag(config=True)
    unload_seconds = Float(
        3600.0,
        help="Seconds without a request after which all processes of a service version end; the "
        "next request starts them again. 0 keeps them.",
    ).tag(config=True)
    start_seconds = Float(
        120.0,
        help="Seconds that restoring a service's snapshot may take, and its setupCode in a worker.",
    ).tag(config=True)
    retry_seconds = Float(
        60.0,
        help="Longest pause, in seconds, before a service version is tried again whose processes "
        "keep ending or can't be started. The first pause is one second, and each doubles; until "
        "then its requests are answered with 503 and the reason.",
    ).tag(config=True)
    memory_limit = Integer(
        0,
        min=0,
        help="Bytes that a worker may allocate on top of the service's snapshot (Linux); code that "
        "needs more gets a MemoryError. 0 sets no limit.",
    ).tag(config=True)
    answer_limit = Integer(
        2**28,
        min=0,
        max=MAX_ANSWER_BYTES,
        help="Largest answer of a service, in bytes; a request with a larger one has failed. 0 "
        "allows four gigabytes.",
    ).tag(config=True)
    memory_budget = Integer(
        min=0,
        help="Bytes that all loaded versions may take together; what their processes share counts "
        "once. Where it is too little, idle versions are unloaded, least recently used first, but "
        "those with dedicated pools. Default: 60 % of what the machine, or the cgroup, has. 0 sets "
        "no limit.",
    ).tag(config=True)
    lenient_json = Bool(
        help="Whether a call's body that is no strict JSON is read leniently; a batch's is as "
        "MlsvcApp.lenient_json says. Default: MlsvcApp.lenient_json."
    ).tag(config=True)
    console_limit = Integer(
        2**20, min=0, help="Characters of a request's console output that are answered."
    ).tag(config=True)
    log_bytes = Integer(
        2**26,
        min=0,
        help="Bytes of what the code of services prints that are kept in memory for their "
        "publishers, of all versions together; of one version an eighth of it at most. The oldest "
        "goes first. 0 keeps none.",
    ).tag(config=True)
    recent_calls = Integer(
        100,
        min=0,
        max=MAX_CALLS,
        help="Calls of a service version that are kept in memory for its publisher, the newest "
        "ones, and as many of those that failed. 0 keeps none.",
    ).tag(config=True)
    recent_call_bytes = Integer(
        2**25,
        min=0,
        help="Bytes that the newest calls of all versions may take together, with the bodies of "
        "versions that keep them. Those of versions that were quiet for longest go first.",
    ).tag(config=True)
    threads = Integer(
        1,
        min=0,
        help="Threads that numeric libraries (OpenMP, BLAS) use in a worker; 0 is one a core.",
    ).tag(config=True)
    preload = TextList(
        default_value=[
            "numpy",
            "pandas",
            "sklearn",
            "sklearn.ensemble",
            "sklearn.linear_model",
            "sklearn.pipeline",
            "sklearn.svm",
        ],
        help="Modules imported once, ahead of all services; those not installed are passed over.",
    ).tag(config=True)
    heavy_modules = TextList(
        default_value=[
            "catboost",
            "lightgbm",
            "statsmodels.api",
            "torch",
            "xgboost",
        ],
        help="Modules that take long to import. Versions whose snapshots were taken with the same "
        "ones share them in memory, from the second version that is loaded. Those not installed "
        "are passed over, as are those that start threads. Name none that looks up folders for its "
        "caches when it is imported, such as matplotlib or transformers: services have their own.",
    ).tag(config=True)
    preload_at_start = Bool(
        False,
        help="Whether the modules are imported at the start even where nothing is published yet. "
        "Else that begins with the first session or publish, and an idle server without services "
        "takes less memory.",
    ).tag(config=True)
    warm = Enum(
        ["none", "recent", "all"],
        "none",
        help="Versions that are loaded at the start, before the server says that it is ready, "
        "besides those with a pool of their own: none; recent, those that were loaded when the "
        "server ended; all. Others are loaded by their first call.",
    ).tag(config=True)
    r_command = Unicode(
        "R", help="Program that runs the code of services in R, by its name or path."
    ).tag(config=True)
    environment = Dict(
        help="Environment variables that the code of services sees, besides those about the "
        "system's paths and language. Other variables of the server are not passed on.",
        key_trait=Unicode(),
        value_trait=Unicode(),
    ).tag(config=True)
    sklearn_1d = Bool(
        True,
        help="Whether scikit-learn's estimators take a single sample as a 1-D list, as they did "
        "before version 0.19.",
    ).tag(config=True)

    @property
    def longest_deadline(self) -> float:
        """Seconds that a version may ask for at most; 0 where there is no limit."""
        if not self.deadline_seconds:
            return self.max_deadline_seconds
        return max(self.max_deadline_seconds, self.deadline_seconds)

    def deadline_of(self, own: float) -> float:
        """Return the deadline of a version, which may have one of its own; 0 for none."""
        if not own:
            return self.deadline_seconds
        return min(own, self.longest_deadline) if self.longest_deadline else own

    @default("memory_budget")
    def _default_memory_budget(self) -> int:
        total = int(psutil.virtual_memory().total)
        return min(memory_limit() or total, total) * 6 // 10

    @default("lenient_json")
    def _default_lenient_json(self) -> bool:
        return bool(getattr(self.parent, "lenient_json", True))

    @validate("workers_max")
    def _check_most(self, proposal: dict[str, Any]) -> int:
        most: int = proposal["value"]
        if most < self.workers_min:
            raise TraitError(
                f"workers_max is {most}; it has to be at least workers_min, {self.workers_min}."
            )
        return most

    @validate(
        *("deadline_seconds", "max_deadline_seconds", "stream_seconds", "idle_seconds"),
        *("unload_seconds", "start_seconds", "retry_seconds"),
    )
    def _check_seconds(self, proposal: dict[str, Any]) -> float:
        seconds: float = proposal["value"]
        if seconds < 0:
            raise TraitError(f"{proposal['trait'].name} is {seconds:g}; it can't be negative.")
        return seconds
