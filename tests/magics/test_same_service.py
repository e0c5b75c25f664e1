"""The same cell gives the same service by magic, by dialog and by ``jupyter_mlsvc.publish``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import jupyter_mlsvc
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.publishing import publish, suggest

from .conftest import Run

pytestmark = pytest.mark.kernel

NOTEBOOK: Final = '''
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

loans = pd.DataFrame({"income": [1.0, 2.0, 3.0, 4.0] * 5, "age": [20, 30, 40, 50] * 5})
pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(loans, loans.age > 30)
line = LinearRegression().fit(loans.to_numpy(), loans.age)
unfitted = LinearRegression()
applicant = loans.head(8)
row = [1.5, 2.5]
income = 2.5
count = 3
label = "a"
flag = True
RATE = 2
names = {0: "no", 1: "yes"}

class Rule:
    def __init__(self, limit): self.limit = limit
    def run(self, value): return bool(value > self.limit * RATE)

rule = Rule(1)

def clean(value): return float(value) * RATE

def score(income: float, age: int = 40) -> float:
    """Score an applicant.

    More about it.
    """
    return clean(income) + age

def both(a: float, b: "str" = "x") -> tuple[float, str]:
    total, word = a * RATE, b
    return total, word

def plain(row):
    return [clean(value) for value in row]

def late(x): return x
'''
CELLS: Final[list[tuple[str, str | None]]] = [
    # A cell, and what it is refused with, if it is.
    ("risk = pipe.predict(applicant)", None),
    ("risk = pipe.predict_proba(applicant)[:, 1]\nlevel = float(risk.max())", None),
    ("answer = clean(income)", None),
    ("answer = rule.run(income)", None),
    ("answer = Rule(count).run(income)", None),
    ("words = [names[int(n)] for n in pipe.predict(applicant)]", None),
    ("total = np.sum(row) * RATE", None),
    ("y = income * RATE\nz = label.upper()\nok = not flag", None),
    ("import math\ny = math.sqrt(income)", None),
    ("rows = applicant.describe()", None),
    ("y = [[1, 2], [3, count]]", None),
    ("for n in range(count):\n    last = n", None),
    ("x = 5\ny = x * 2", None),
    ("y = {'a': count}", None),
    ("risk = pip.predict(applicant)", "has. Did you mean 'pipe'?"),
    ("risk = pipee.predict(applicant)", "set nowhere. Did you mean 'pipe'?"),
    ("y = klean(income)", "The code reads klean, which neither the notebook"),
    ("y = income / (RATE - 2)", "ZeroDivisionError"),
    ("raise ValueError('no')\ny = 1", "ValueError: no"),
    ("y = = income", "SyntaxError"),
    ("# nothing", "sets no variable that could be an output"),
    ("pipe.predict(applicant)", "The value of the last line has no name"),
    ("print(income)", "sets no variable that could be an output"),
    ("pipe", None),
    ("line", None),
    ("line = LinearRegression().fit(loans.to_numpy(), loans.age)", None),
    ("pipe.fit(loans, loans.age > 30)", None),
    ("unfitted", "sets no variable that could be an output"),
    (
        'def score(income: float, age: int = 40) -> float:\n    """Score an applicant.\n\n'
        '    More about it.\n    """\n    return clean(income) + age',
        None,
    ),
    ("def plain(row):\n    return [clean(value) for value in row]", None),
    ("def fresh(x: float) -> str:\n    'Write a number.'\n    return f'{x:.2f}'", None),
    ("def late(x: int): return x + 1", None),
    ("def unknown(q): return q", "type of the input 'q' is not known. Annotate it"),
    ("%matplotlib inline\ny = income + 1", None),
]

Outcome = tuple[Any, ...] | str
_numbers = itertools.count()


def described(service: Service) -> Outcome:
    return (
        service.runtime_type,
        (service.code or "").strip(),
        [(each.name, each.type) for each in service.inputs],
        [(each.name, each.type) for each in service.outputs],
        service.description,
        service.alias,
    )


def by_magic(run: Run, cell: str) -> Outcome:
    ran = run(f"%%publish Cell{next(_numbers)} V1.0\n{cell}")
    if isinstance(ran.result.error_in_exec, MlsvcError | UsageError):
        return str(ran.error)
    return described(ran.value)


def by_dialog(run: Run, cell: str) -> Outcome:
    found = suggest(cell)
    kept = ("code", "initCode", "inputs", "outputs", "description", "alias", "files", "kind")
    answer = publish(
        name=f"Cell{next(_numbers)}",
        version="V1.0",
        session=found["session"]["name"],
        asInSession=[],
        **{name: found[name] for name in (*kept, "function", "model", "response", "runtimeType")},
    )
    if answer["error"] is not None:
        return str(answer["error"]["message"])
    return described(run(f"%mlsvc service {answer['name']}").value)


def by_call(_: Run, cell: str) -> Outcome:
    try:
        return described(jupyter_mlsvc.publish(cell, f"Cell{next(_numbers)}", "V1.0"))
    except MlsvcError as error:
        return str(error)


WAYS: Final[list[Callable[[Run, str], Outcome]]] = [by_magic, by_dialog, by_call]


def test_a_cell_gives_the_same_service_in_each_way(run: Run) -> None:
    run(NOTEBOOK).result.raise_error()
    run("%remote_exec pass").result.raise_error()
    wrong: list[str] = []
    for cell, refusal in CELLS:
        magic, dialog, call = (way(run, cell) for way in WAYS)
        is_right = refusal in magic if isinstance(magic, str) and refusal else refusal is None
        is_right = is_right and isinstance(magic, str) == (refusal is not None)
        if not (is_right and shortened(magic) == shortened(dialog) == shortened(call)):
            wrong.append(f"{cell}\n  magic:  {magic}\n  dialog: {dialog}\n  call:   {call}")
    assert not wrong, "\n".join(wrong)


def shortened(outcome: Outcome) -> Outcome:
    """Leave out what a program is told to go on with, which a dialog has a button for."""
    if isinstance(outcome, str):
        return outcome.split(" Correct it, or publish")[0].split(" in line ")[0]
    return outcome


def test_a_function_is_called_like_itself(run: Run, on_server: InteractiveShell) -> None:
    run(NOTEBOOK).result.raise_error()
    service = run("%publish -f score").value
    assert (service.name, service.version, service.alias) == ("score", "V1.0", "score")
    assert service.description == "Score an applicant."
    assert run("%consume score income=2.5").value.answer == 45
    assert run("%consume score income=count age=count + 1").value.answer == 10
    run("def score(income: float) -> float:\n    return 1.0").result.raise_error()
    again = jupyter_mlsvc.publish(on_server.user_ns["score"])
    assert again.version == "V1.1"
    assert again(income=2).answer == 1
    run("def maybe(x: float | None = None) -> bool:\n    return x is None").result.raise_error()
    assert run("%publish Maybe -f maybe\n%consume Maybe").value.answer is True
    assert run("%publish Both -f both -o sum,word").value.code == "sum, word = both(a=a, b=b)\n"


def test_a_fitted_model_is_a_service_by_its_name(run: Run) -> None:
    run(NOTEBOOK).result.raise_error()
    for line in ("%publish pipe", "%publish Loans pipe", "%publish Loans V1.1 pipe"):
        assert run(line).value.runtime_type == "Realtime"
    assert [each.version for each in run("%mlsvc services Loans").value] == ["V1.0", "V1.1"]
    answer = run("%consume Loans V1.1 inputData=loans.head(2)").value
    assert list(answer.outputData.y_Pred) == [False, False]


def test_a_frame_keeps_its_dtypes(run: Run) -> None:
    run("import pandas as pd\nvisits = pd.DataFrame({'at': pd.to_datetime(['2024-01-01'])})")
    run("%%publish Visits -i visits -o day\nday = str(visits['at'].dt.day_name()[0])").value  # noqa: B018
    assert run("%consume Visits visits=visits").value.day == "Monday"


def test_cells_that_ran_are_published_by_their_numbers(
    run: Run, on_server: InteractiveShell
) -> None:
    assert on_server.history_manager is not None
    on_server.history_manager.reset()
    on_server.run_cell("income = 2.5", store_history=True)
    on_server.run_cell("double = income * 2", store_history=True)
    on_server.run_cell("%time half = double / 4\n%pwd", store_history=True)
    ran = run("%publish Cells --cells 2-3 -i income -o double")
    service = ran.value
    assert service.code.strip() == "double = income * 2\nhalf = double / 4"
    assert "Left out, as a service runs Python alone: %pwd." in ran.stdout
    assert run("%consume Cells income=4").value.double == 8
    assert isinstance(run("%publish Cells --cells 70-80").error, UsageError)


def test_a_version_that_never_answered_is_replaced(run: Run) -> None:
    line = "%publish Div V1.0 -i x:numeric -o y:numeric"
    run(f"{line} --no-check y = x / 0").result.raise_error()
    assert "--replace" in run(f"{line} y = x").stdout
    assert run(f"{line} --replace y = x").value.version == "V1.0"


def test_set_up_code_comes_from_the_line_or_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tables.py").write_text("table = {1: 'one'}\n")
    cell = "-i n:integer -o word:character --isolation call\nword = table[n]"
    for setup in ("\"table = {1: 'one'}\"", str(tmp_path / "tables.py")):
        service = run(f"%%publish Words --setup {setup} {cell}").value
        assert service.isolation == "call"
        assert run("%consume Words n=1").value.word == "one"


def test_what_awaits_in_a_notebook_awaits_in_a_service(run: Run) -> None:
    body = "    await asyncio.sleep(0)\n    return n * 2"
    run(f"import asyncio\nasync def later(n: int) -> int:\n{body}").result.raise_error()
    ran = run("%%publish Later -i n:integer=4 -o twice --deadline 5\ntwice = await later(n)")
    assert "up to 100 calls at a time" in ran.stdout
    assert (ran.value.concurrency, ran.value.deadline_seconds) == (100, 5)
    assert run("%consume Later n=3").value.twice == 6
    service = run("%publish LaterFunction -f later --no-check --concurrency 7").value
    assert (service.code, service.concurrency) == ("answer = await later(n=n)\n", 7)
    run("%mlsvc update LaterFunction V1.0 --concurrency 0 --deadline 2").result.raise_error()
    service = run("%mlsvc service LaterFunction").value
    assert (service.concurrency, service.deadline_seconds) == (100, 2)
