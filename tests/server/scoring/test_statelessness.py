"""Nothing that a request does is seen by the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.worker.code_facts import facts_of, user_functions
from jupyter_mlsvc_server.worker.random_state import SEEDING
from tests.server.scoring.serving import Service, Snapshots, StoredContent

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]

WORKSPACE = """
import collections
import numpy as np
import pandas as pd
count = 0
seen = []
table = {'a': {'b': [1]}}
tags = {1, 2}
weights = np.zeros(3)
large = np.zeros(100_000)
frame = pd.DataFrame({'v': [1.0, 2.0]})
class Model:
    shared = []
    def __init__(self): self.state = {'n': 0}
model = Model()
def remember(v, memory=[]):
    memory.append(v)
    return len(memory)
def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    return step
step = counter()
def score():
    return factor * 2
def seeded():
    import random
    random.seed(1)
class Dice:
    @staticmethod
    def fix(): np.random.set_state(np.random.RandomState(1).get_state())
    def throw(self): np.random.seed(1)
dice = Dice()
def loaded(dice):
    def throw(): dice.throw()
    return throw
throw = loaded(dice)
"""

MODULE = b"""
import random
calls = []
number = 0
def fix(): random.seed(1)
"""


@pytest.fixture(scope="module")
def workspace(snapshots: Snapshots) -> StoredContent:
    return snapshots.take(WORKSPACE, files={"state.txt": b"0", "local_module.py": MODULE})


@pytest.mark.parametrize(
    "code",
    [
        "count += 1; y = count",
        "leaked = globals().get('leaked', 0) + 1; y = leaked",
        "del table; y = 1",
        "seen.append(x); y = len(seen)",
        "table['a']['b'].append(x); y = len(table['a']['b']) - 1",
        "table['a']['c'] = x; y = len(table['a']) - 1",
        "tags.add(x + 10); y = len(tags) - 2",
        "weights += 1; y = float(weights[0])",
        "large += 1; y = float(large[0])",
        "frame.iloc[0, 0] += 1; y = frame.iloc[0, 0] - 1",
        "frame['w'] = 1; y = frame.shape[1] - 1",
        "model.state['n'] += 1; y = model.state['n']",
        "model.extra = 1; y = len(vars(model)) - 1",
        "Model.shared.append(x); y = len(Model.shared)",
        "Model.extra = getattr(Model, 'extra', 0) + 1; y = Model.extra",
        "y = remember(x)",
        "remember.calls = getattr(remember, 'calls', 0) + 1; y = remember.calls",
        "y = step()",
        "with open('state.txt', 'r+') as f: y = int(f.read()) + 1; f.seek(0); f.write(str(y))",
        "import os; y = 1 + os.path.exists('new.txt'); open('new.txt', 'w')",
        "y = 1 + int(open('state.txt').read()); f = open('state.txt', 'a'); f.write('7')",
        "import os; y = 1 + os.path.exists('new.txt')\ndef late():\n    try: yield\n"
        "    finally: open('new.txt', 'w').close()\nit = late(); next(it)",
        "class Late:\n    def __del__(self): globals()['late'] = 1\n"
        "y = 1 + ('late' in globals()); it = Late()",
        "import os; y = 1 + (not os.path.exists('state.txt')); os.remove('state.txt')",
        "import os; y = len(os.listdir('.')) - 1; os.makedirs('deep/er')",
        "import os; y = 1 + (os.getcwd() == '/'); os.chdir('/')",
        "import os; y = 1 + ('LEAK' in os.environ); os.environ['LEAK'] = '1'",
        "import sys; y = 1 + ('/leak' in sys.path); sys.path.append('/leak')",
        "import sys; y = 1 + (sys.stdout is None); sys.stdout = None",
        "import local_module as m; m.number += 1; y = m.number",
        "import local_module as m; m.calls.append(1); y = len(m.calls)",
        "import threading as t; y = t.active_count(); t.Thread(target=t.Event().wait).start()",
        "import warnings as w; y = 1 + (len(w.filters) > 60); [w.simplefilter('ignore', Warning, n)"
        " for n in range(100)]",
        "import builtins; y = 1; __builtins__ = {}",
        "import random as r; y = 1 + (r.random() == r.Random(1).random()); r.seed(1)",
        "import random as r; y = 1 + (r.random() == r.Random(1).random()); seeded()",
        "r = np.random; y = 1 + int(r.random() == r.RandomState(1).random()); r.seed(1)",
        "r = np.random; y = 1 + int(r.random() == r.RandomState(1).random()); Dice.fix()",
        "r = np.random; y = 1 + int(r.random() == r.RandomState(1).random()); dice.throw()",
        "r = np.random; y = 1 + int(r.random() == r.RandomState(1).random()); throw()",
    ],
)
async def test_the_next_request_finds_all_as_it_was(
    serve: Serve, workspace: StoredContent, code: str
) -> None:
    service = await serve(code, workspace, inputs="x:integer")
    for _ in range(3):
        assert await service.outputs(x=5) == {"y": 1}


async def test_a_seed_that_a_module_of_the_users_own_sets_is_gone_in_the_next_request(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take("", files={"local_module.py": MODULE})
    code = "import random, local_module; y = random.random(); local_module.fix()"
    service = await serve(code, content)
    assert len({(await service.outputs())["y"] for _ in range(3)}) == 3


async def test_functions_of_the_snapshot_see_inputs_as_globals(
    serve: Serve, workspace: StoredContent
) -> None:
    service = await serve("y = score()", workspace, inputs="factor:numeric")
    assert await service.outputs(factor=2) == {"y": 4}
    assert await service.outputs(factor=3) == {"y": 6}


async def test_an_input_of_one_request_is_gone_in_the_next(serve: Serve) -> None:
    service = await serve("y = 'x' in globals()\nif y: secret = x", inputs="x:any")
    await service.outputs(x=1)
    service = await serve("y = [n for n in ('x', 'secret') if n in globals()]")
    assert await service.outputs() == {"y": []}


async def test_reading_alone_costs_no_worker(serve: Serve, workspace: StoredContent) -> None:
    code = (
        "import os, local_module\n"
        "y = os.getpid(), count, seen, table, len(tags), weights.sum(), frame.v.sum(), model.state"
    )
    service = await serve(code, workspace)
    first = await service.outputs()
    assert [await service.outputs() for _ in range(5)] == [first] * 5


async def test_a_fitted_model_predicts_on_without_a_new_worker(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take(
        "from sklearn import datasets, ensemble, neighbors, pipeline, preprocessing\n"
        "X, t = datasets.load_iris(return_X_y=True)\n"
        "models = [m.fit(X, t) for m in (\n"
        "    pipeline.make_pipeline(preprocessing.StandardScaler(),\n"
        "                           neighbors.KNeighborsClassifier()),\n"
        "    ensemble.RandomForestClassifier(n_estimators=5))]\n"
    )
    service = await serve(
        "import os; y = [os.getpid(), *(int(m.predict(X[:1])[0]) for m in models)]", content
    )
    first = await service.outputs()
    assert first["y"][1:] == [0, 0]
    assert [await service.outputs() for _ in range(3)] == [first] * 3


async def test_a_model_that_is_fitted_again_is_back(serve: Serve, snapshots: Snapshots) -> None:
    content = snapshots.take(
        "from sklearn import dummy\nmodel = dummy.DummyClassifier().fit([[0]], [1])\n"
    )
    service = await serve("y = int(model.predict([[0]])[0]); model.fit([[0]], [y + 1])", content)
    assert [await service.outputs() for _ in range(3)] == [{"y": 1}] * 3


async def test_each_worker_has_random_numbers_of_its_own(serve: Serve) -> None:
    left = "t.Thread(target=t.Event().wait, daemon=True).start()"
    code = f"import numpy, random, threading as t\n{left}\n"
    service = await serve(code + "y = [numpy.random.random(), random.random()]")
    pairs = [(await service.outputs())["y"] for _ in range(4)]
    assert len({tuple(pair) for pair in pairs}) == 4
    assert len({pair[0] for pair in pairs}) == 4


async def test_code_that_may_seed_is_recognised() -> None:
    """Beginning anew takes time, which only those services pay whose code may need it."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def use(): return random.random()", space)
    code = compile("import random; y = random.random()", "<code>", "exec")
    quiet = facts_of([code, *user_functions(space)])
    assert not quiet.may_use(SEEDING)
    exec("def fit(r): r.seed(1)\nhidden = {'in': [fit]}; del fit", space)
    assert facts_of(user_functions(space)).may_use(SEEDING)
    assert facts_of([compile("def f(r): getattr(r, 'seed')(1)", "<code>", "exec")]).may_use(SEEDING)
    assert facts_of([compile("exec(text)", "<code>", "exec")]).may_use(SEEDING)


@pytest.mark.parametrize(
    ("code", "may"),
    [
        ("net.eval()", False),
        ("y = net.train().eval().forward(x)", False),
        ("frame.eval(x)", True),
        ("builtins.eval(*x)", True),
        ("net.eval(); y = eval(x)", True),
        ("y = list(map(net.eval, x))", True),
    ],
)
async def test_eval_without_arguments_is_a_models_own_method(code: str, may: bool) -> None:
    assert facts_of([compile(code, "<code>", "exec")]).runs_texts is may


async def test_workers_that_calls_have_retired_are_counted_with_the_reason(
    serve: Serve, engine: LocalEngine, workspace: StoredContent
) -> None:
    service = await serve("seen.append(x); y = len(seen)", workspace, inputs="x:integer", name="R")
    for _ in range(3):
        assert await service.outputs(x=5) == {"y": 1}
    figures = await engine.figures(*service.key)
    assert figures.retired in {2, 3}, "the last one may not be told yet"
    assert figures.retired_for == "the object 'seen' was changed in place"
