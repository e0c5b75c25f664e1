"""Each caller gets the answer to their own request, whatever the others ask at the same time.

Every question is different from all others, and so is its only right answer: an echo, a number
computed of it, a refusal or an error that names what was sent.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import pandas
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jupyter_mlsvc import serialize_model
from tests.contract.doors import Door
from tests.reliability.callers import Line, calling
from tests.reliability.conftest import Doors, Publish
from tests.server.api.conftest import Answer

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

TURNS = 600
"""Times that a few requests, three on average, are sent at once."""


@dataclass(frozen=True)
class Question:
    """A request, and what its answer has to be."""

    path: str
    body: object
    check: Callable[[Answer], None]


Ask = Callable[[int, random.Random], Question]


def answered(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: Answer, *words: str) -> None:
    assert answer.status == 400, answer
    body = answer.json()
    assert body["exceptionType"] == "BadRequestException"
    for word in words:
        assert word in body["message"]


# --- services of code ------------------------------------------------------------------------

CODE = """
if do == "raise":
    raise ValueError(f"number {n} is not for me")
if do == "print":
    print(f"number {n}")
if do == "file":
    open("made.txt", "w").write(f"number {n}")
y = [n * factor, text]
"""


def standard(path: str, factor: int) -> Ask:
    """Ask a service of code: to echo, print, write a file, raise, or something that it can't do."""

    def ask(n: int, chance: random.Random) -> Question:
        do = chance.choice(["echo", "echo", "print", "file", "raise", "invalid", "no JSON"])
        text = chance.choice("äb") * chance.choice([0, 1, 7, 500, 5000]) + f"{n}"
        body: dict[str, Any] = {"n": n, "do": do, "text": text}

        def check(answer: Answer) -> None:
            told = answered(answer)
            assert told["success"] == (do != "raise"), told
            assert told["consoleOutput"] == (f"number {n}\n" if do == "print" else "") or (
                do == "raise" and f"ValueError: number {n} is" in told["consoleOutput"]
            )
            if do == "raise":
                assert told["errorMessage"] == f"ValueError: number {n} is not for me"
                return
            assert told["outputParameters"] == {"y": [n * factor, text]}
            assert told["changedFiles"] == (["made.txt"] if do == "file" else [])

        if do == "invalid":
            return Question(path, body | {f"other{n}": n}, lambda it: refused(it, f"other{n}"))
        if do == "no JSON":
            return Question(path, b'{"n": %d' % n, refused)
        return Question(path, body, check)

    return ask


@pytest.fixture
def make_standard(publish: Publish) -> Callable[..., Ask]:
    """A function that publishes a service of code."""

    def make(factor: int, workers: int) -> Ask:
        path = publish(
            CODE,
            inputs="n:integer do:string text:string",
            workers=workers,
            initCode=f"factor = {factor}",
        )
        return standard(path, factor)

    return make


# --- realtime services -----------------------------------------------------------------------


def line_model(factor: int) -> Any:
    """A pipeline that knows its columns by name and predicts ``factor * a - b``."""
    rows = numpy.random.default_rng(1).uniform(-1e6, 1e6, (50, 2))
    frame = pandas.DataFrame(rows, columns=["a", "b"])
    targets = factor * frame.a - frame.b
    return make_pipeline(StandardScaler(), LinearRegression()).fit(frame, targets)


def by_name(path: str, factor: int) -> Ask:
    """Ask the model of a line for some rows, or for what it can't compute."""

    def ask(n: int, chance: random.Random) -> Question:
        count = chance.choice([1, 1, 1, 2, 5, 30])
        a = [n + i / 64 for i in range(count)]
        b = [float(chance.randrange(1000)) for _ in range(count)]
        columns: dict[str, Any] = {"a": a, "b": b}
        match chance.choice(["fits", "fits", "order", "missing", "ragged", "text", "empty"]):
            case "order":
                columns = {"b": b, "a": a}
            case "missing":
                other = {f"other{n}": a, "b": b}
                return Question(path, {"inputData": other}, lambda it: refused(it, "'a'"))
            case "ragged":
                ragged = {"a": [*a, n], "b": b}
                return Question(path, {"inputData": ragged}, refused)
            case "text":
                with_text = {"a": [*a[1:], f"text {n}"], "b": b}
                return Question(path, {"inputData": with_text}, lambda it: failed(it, f"text {n}"))
            case "empty":
                columns = {"a": [*a[1:], None], "b": b}
                return Question(path, {"inputData": columns}, lambda it: failed(it, "NaN"))
        right = [factor * x - y for x, y in zip(a, b, strict=True)]
        return Question(path, {"inputData": columns}, lambda it: predicted(it, right))

    return ask


def neighbour_model() -> Any:
    """A classifier that knows the number of its columns only, and has 300 classes."""
    rows = [[float(n), float(n % 7)] for n in range(900)]
    return KNeighborsClassifier(n_neighbors=1).fit(rows, [f"class {n // 3}" for n in range(900)])


def by_position(path: str) -> Ask:
    """Ask the classifier for some rows, under names of columns that it does not care for."""

    def ask(n: int, chance: random.Random) -> Question:
        wanted = [chance.randrange(900) for _ in range(chance.choice([1, 1, 2, 9]))]
        columns = {"first": [float(m) for m in wanted], f"second{n % 5}": [m % 7 for m in wanted]}
        match chance.choice(["fits", "fits", "fits", "missing", "text"]):
            case "missing":
                columns.popitem()
                return Question(
                    path, {"inputData": columns}, lambda it: refused(it, "1 column", "2 columns")
                )
            case "text":
                texts: dict[str, Any] = columns | {"first": [f"text {n}"] * len(wanted)}
                return Question(path, {"inputData": texts}, lambda it: failed(it, f"text {n}"))
        right = [f"class {m // 3}" for m in wanted]
        return Question(path, {"inputData": columns}, lambda it: predicted(it, right))

    return ask


def failed(answer: Answer, word: str) -> None:
    told = answered(answer)
    assert told["success"] is False, told
    assert word in told["errorMessage"]
    assert told["outputParameters"] == {}


def predicted(answer: Answer, right: Sequence[Any]) -> None:
    told = answered(answer)
    assert told["success"], told
    found = told["outputParameters"]["outputData"]["y_Pred"]
    if isinstance(right[0], str):
        assert found == list(right)
    else:
        assert found == pytest.approx(right, rel=1e-9, abs=1e-5)
    assert (told["errorMessage"], told["consoleOutput"]) == ("", "")


@pytest.fixture
def make_realtime(doors: Doors) -> Iterator[Callable[..., str]]:
    """A function that publishes a model; gives its path."""
    door, made = doors["public"], list[str]()

    def make(model: Any, workers: int) -> str:
        name = f"svc-{uuid.uuid4().hex[:8]}"
        files = {"model": ("model", serialize_model(model))}
        answer = door.post(f"/realtime-services/{name}/1.0", files=files)
        assert answer.status_code == 201, answer.text
        made.append(name)
        size = {"InitialPoolSize": workers, "MaxPoolSize": workers}
        assert door.post(f"/services/{name}/1.0/pool", json=size).ok
        return f"/api/{name}/1.0"

    yield make
    for name in made:
        door.delete(f"/services/{name}/1.0")


# --- all of them -----------------------------------------------------------------------------


async def ask_all(doors: Doors, asks: Sequence[Ask], seed: int) -> None:
    """Have callers at both doors ask in turn, several at once; each answer is looked at."""
    chance = random.Random(seed)
    numbers = itertools.count(1)

    async def turn(line: Line) -> None:
        questions = [
            chance.choice(asks)(next(numbers), chance) for _ in range(chance.choice([1, 1, 2, 8]))
        ]
        line.send(b"".join(line.request(each.path, each.body) for each in questions))
        for each in questions:
            each.check(await line.receive())

    everybody: list[Door] = [doors["public"]] * 24 + [doors["jupyter"]] * 8
    async with calling(everybody, turn, pause=0.0) as callers:
        await callers.go_on(TURNS)
    assert next(numbers) > 2 * TURNS


@pytest.mark.parametrize("workers", [1, 3])
async def test_of_a_service_of_code(
    doors: Doors, make_standard: Callable[..., Ask], workers: int
) -> None:
    await ask_all(doors, [make_standard(2, workers)], seed=workers)


@pytest.mark.parametrize("workers", [1, 3])
async def test_of_a_model_with_names(
    doors: Doors, make_realtime: Callable[..., str], workers: int
) -> None:
    await ask_all(doors, [by_name(make_realtime(line_model(3), workers), 3)], seed=workers)


@pytest.mark.parametrize("workers", [1, 3])
async def test_of_a_model_by_position(
    doors: Doors, make_realtime: Callable[..., str], workers: int
) -> None:
    await ask_all(doors, [by_position(make_realtime(neighbour_model(), workers))], seed=workers)


async def test_of_many_services_at_once(
    doors: Doors, make_standard: Callable[..., Ask], make_realtime: Callable[..., str]
) -> None:
    asks = [
        make_standard(2, 1),
        make_standard(3, 3),
        by_name(make_realtime(line_model(5), 1), 5),
        by_name(make_realtime(line_model(7), 3), 7),
        by_position(make_realtime(neighbour_model(), 1)),
    ]
    await ask_all(doors, asks, seed=0)
