"""What the figures were taken on."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = (
    "jupyter-mlsvc",
    "jupyter-server",
    "tornado",
    "msgspec",
    "ipykernel",
    "fastapi",
    "pydantic",
    "uvicorn",
    "uvloop",
    "httptools",
    "numpy",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "torch",
    "sentence-transformers",
)


def describe() -> dict[str, Any]:
    """Date, machine size and versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def load_now() -> float:
    """The load average of the last minute: above 0.5 something else was running."""
    return psutil.getloadavg()[0]


def markdown(environment: dict[str, Any]) -> str:
    """The same in a few lines."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return (
        f"{environment['date']}, {environment['cores']} cores ({environment['processor']}), "
        f"{environment['memory_gib']} GiB, {environment['system']}, "
        f"Python {environment['python']}.\n{versions}.\n"
        f"Load average before the run: {environment['load_before']:.2f}.\n"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
