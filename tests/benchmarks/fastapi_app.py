"""The hand-rolled peer: the same models behind FastAPI, written as one would by hand.

Run by uvicorn with ``--factory``. The token and the file of a large model come by the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from .iris import fit

WAIT_SECONDS = 0.05
"""How long the code that waits does so."""


class Flower(BaseModel):
    """Input of the iris service."""

    flower_data: list[float]


class Species(BaseModel):
    """Output of the iris service."""

    iris_species: list[str]


class Frame(BaseModel):
    """Input of the service that sums up rows."""

    frame: dict[str, list[float]]


class Sums(BaseModel):
    """Its output."""

    sums: list[float]


class Question(BaseModel):
    """Input of the service that waits."""

    x: int


class Reply(BaseModel):
    """Its output."""

    y: int


class Asked(BaseModel):
    """Input of the service that streams."""

    count: int


class Score(BaseModel):
    """Output of a service with a large model, with the process that gave it."""

    total: float
    worker: int


async def check_token(request: Request) -> None:
    """Compare the bearer token with the one that is known: the least that any service does."""
    expected = f"Bearer {os.environ['BENCHMARK_TOKEN']}"
    if not secrets.compare_digest(request.headers.get("authorization", ""), expected):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})


def iris() -> FastAPI:
    """Serve the walkthrough's model."""
    trained = fit()
    clf, names = trained["clf"], trained["names"]
    app = FastAPI(dependencies=[Depends(check_token)])

    @app.post("/iris")
    async def classify(flower: Flower) -> Species:
        found = clf.predict([flower.flower_data])
        return Species(iris_species=[names[x] for x in found])

    return app


def waiting() -> FastAPI:
    """Wait, and answer what was asked."""
    app = FastAPI(dependencies=[Depends(check_token)])

    @app.post("/wait")
    async def wait(question: Question) -> Reply:
        await asyncio.sleep(WAIT_SECONDS)
        return Reply(y=question.x)

    return app


def frame() -> FastAPI:
    """Sum up the rows of a DataFrame."""
    # Here, for the sake of the peers that do without: it is large, and slow to import.
    import pandas

    app = FastAPI(dependencies=[Depends(check_token)])

    @app.post("/frame")
    async def add(body: Frame) -> Sums:
        rows = pandas.DataFrame(body.frame)
        return Sums(sums=rows.sum(axis=1).tolist())

    return app


def stream() -> FastAPI:
    """Answer item by item, as lines of JSON."""
    app = FastAPI(dependencies=[Depends(check_token)])

    async def words(count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield json.dumps({"output": "words", "value": f"word {number}"}) + "\n"

    @app.post("/stream")
    async def send(asked: Asked) -> StreamingResponse:
        return StreamingResponse(words(asked.count), media_type="application/x-ndjson")

    return app


def large_model() -> FastAPI:
    """Serve a large model from a pickle."""
    with Path(os.environ["BENCHMARK_MODEL"]).open("rb") as file:
        namespace: dict[str, Any] = pickle.load(file)
    code = compile(os.environ["BENCHMARK_CODE"], "<service>", "exec")
    app = FastAPI(dependencies=[Depends(check_token)])

    @app.post("/score")
    async def score(_body: Annotated[dict[str, Any], "no inputs"]) -> Score:
        scope = dict(namespace)
        exec(code, scope)
        return Score(total=scope["total"], worker=scope["worker"])

    return app
