"""Two large models: arrays, which can be mapped, and a forest, which cannot."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]

MEGABYTES = 200
"""The usual size of either."""


@dataclass(frozen=True)
class LargeModel:
    """A model with the code of a service that uses all of it.

    Parameters
    ----------
    name
        What the tables call it.
    build
        Makes the variables that the code needs, of so many megabytes.
    code
        Sets ``total``, the score, and ``worker``, the process that gave it.
    """

    name: str
    build: Callable[[int], dict[str, Any]]
    code: str

    def file(self, work: Path, megabytes: int = MEGABYTES) -> Path:
        """Give the file with its variables as a pickle, written on first use."""
        path = work / f"{self.name}-{megabytes}.pkl"
        if not path.exists():
            # A process of its own: neither memory nor threads of the training stay behind.
            subprocess.run(
                [sys.executable, "-m", __name__, self.name, str(megabytes), str(path)],
                check=True,
                cwd=_ROOT,
            )
        return path


def load_code(path: Path) -> str:
    """Code that brings the variables of a model into a session."""
    return (
        "import pickle\n"
        f"with open({str(path)!r}, 'rb') as _file:\n"
        "    globals().update(pickle.load(_file))\n"
    )


def _arrays(megabytes: int) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(0)
    return {"model": [random.random(megabytes * 10**6 // 8 // 10) for _ in range(10)]}


def _forest(megabytes: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    random = np.random.default_rng(0)
    rows = random.random((40_000, 4), dtype=np.float32)
    # Noise can't be summed up, so that every tree grows to its full 3.64 MB.
    forest = RandomForestRegressor(
        n_estimators=round(megabytes / 3.64), max_features=1, n_jobs=2, random_state=0
    )
    forest.fit(rows, random.random(len(rows)))
    forest.set_params(n_jobs=1)
    return {"model": forest, "rows": rows[:64]}


_WORKER = "import os\nworker = os.getpid()\n"

MODELS: Mapping[str, LargeModel] = {
    model.name: model
    for model in (
        LargeModel("arrays", _arrays, _WORKER + "total = sum(float(part.sum()) for part in model)"),
        LargeModel("forest", _forest, _WORKER + "total = float(model.predict(rows).sum())"),
    )
}

OUTPUTS = {"total": "numeric", "worker": "integer"}


def main() -> None:
    """Write a model's variables to a file."""
    name, megabytes, path = sys.argv[1:]
    with Path(path).open("wb") as file:
        pickle.dump(MODELS[name].build(int(megabytes)), file, protocol=5)


if __name__ == "__main__":
    main()
