"""Lays out the iris model as MLServer's runtime for scikit-learn finds it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib

from tests.benchmarks.iris import fit

_SERVER = {
    "debug": False,
    "parallel_workers": 2,
    "gzip_enabled": False,
    "metrics_endpoint": None,
    "host": "127.0.0.1",
}

_MODEL = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib"},
    # Takes what is queued: it can't be told not to wait at all, and this is next to nothing.
    "max_batch_size": 64,
    "max_batch_time": 0.0001,
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir()
    joblib.dump(fit()["clf"], folder / "model.joblib")
    (folder / "settings.json").write_text(json.dumps(_SERVER))
    (folder / "model-settings.json").write_text(json.dumps(_MODEL))
