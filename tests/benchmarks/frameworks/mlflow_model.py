"""Saves the iris model as MLflow keeps models."""

from __future__ import annotations

import sys

import mlflow.sklearn

from tests.benchmarks.iris import fit

if __name__ == "__main__":
    mlflow.sklearn.save_model(fit()["clf"], sys.argv[1])
