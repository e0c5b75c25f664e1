"""Suggests what calls of a service should see of each other, by the modules that its code names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

_CONNECTIONS: Final = {
    "sqlite3": "connection", "sqlalchemy": "engine", "psycopg": "connection",
    "psycopg2": "connection", "pymysql": "connection", "pyodbc": "connection",
    "duckdb": "connection", "pymongo": "client", "redis": "client", "boto3": "client",
    "grpc": "channel",
}  # fmt: skip
_NAMES: Final = {
    "requests.Session": "session", "httpx.Client": "client", "aiohttp.ClientSession": "session",
    "cachetools": "cache", "diskcache": "cache", "joblib.Memory": "cache",
    "functools.lru_cache": "cache", "functools.cache": "cache",
}  # fmt: skip
_DEVICES: Final = {
    "torch": "model", "tensorflow": "model", "keras": "model", "transformers": "model",
    "spacy": "model", "jax": "model",
}  # fmt: skip


def isolation_hint(code: str) -> str:
    """Suggest an isolation for code that makes what it could keep.

    Parameters
    ----------
    code
        Python code of a service, with all that runs for each call.

    Returns
    -------
    str
        A sentence for the publisher; empty where there is nothing to suggest.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    for name in _named(tree):
        top = name.partition(".")[0]
        kept = _CONNECTIONS.get(top) or _NAMES.get(name) or _NAMES.get(top) or _DEVICES.get(top)
        if kept:
            return (
                f"The code uses {name}. Each call makes its {kept} anew, as calls see nothing of "
                f"each other. Make the {kept} in setupCode, which runs once in each worker, and "
                "publish with isolation 'none' where calls may share it."
            )
    return ""


def _named(tree: ast.Module) -> Iterator[str]:
    """Give the modules that code imports, and what it takes from them, by their full names."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                known[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{known.get(node.value.id, node.value.id)}.{node.attr}"
