"""What is suggested to whom publishes code that makes anew what it could keep."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.services.isolation_hint import isolation_hint


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sqlite3\ny = 1", ["sqlite3", "connection"]),
        ("from sqlalchemy import create_engine", ["sqlalchemy", "engine"]),
        ("import requests\ns = requests.Session()", ["requests.Session", "session"]),
        ("import requests as r\ns = r.Session()", ["requests.Session", "session"]),
        ("from requests import Session", ["requests.Session", "session"]),
        ("import torch.nn as nn", ["torch", "model"]),
        ("def f():\n    import redis", ["redis", "client"]),
        ("from functools import lru_cache", ["functools.lru_cache", "cache"]),
        ("import joblib\nm = joblib.Memory('x')", ["joblib.Memory", "cache"]),
    ],
)
def test_hint_names_code_that_could_keep_something(code: str, words: list[str]) -> None:
    hint = isolation_hint(code)
    for word in (*words, "setupCode", "'none'"):
        assert word in hint


@pytest.mark.parametrize(
    "code",
    ["y = 1", "import requests\nrequests.get(u)", "import functools, joblib\njoblib.load('m')",
     "def f(:", "model.redis = 1", "y = '\0'"],
)  # fmt: skip
def test_other_code_has_no_hint(code: str) -> None:
    assert isolation_hint(code) == ""
