"""A script as a data scientist writes it: its own classes and functions travel to the server.

It signs in with a token, deploys, consumes, deletes, and prints what came out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

from tests.foreign.sdk import old_python

OFFSET = 100
model: Mean
rounded: Callable[[float], float]


class Mean:
    """A model of its own, not in any package."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def predict(self, row: np.ndarray) -> float:
        """The weighted mean."""
        return float(np.average(row, weights=self.weights))


def shift(value: float) -> float:
    """What the model's result goes through."""
    return value + OFFSET


def score(row):
    return rounded(shift(model.predict(row)))


if __name__ == "__main__":
    old_python.stand_in()
    from azureml.deploy import DeployClient
    from azureml.deploy.server import MLServer

    client = DeployClient(sys.argv[1], use=MLServer, auth=os.environ["SDK_TEST_TOKEN"])
    name = sys.argv[2]
    digits = 2
    service = (
        client.service(name)
        .version("1.0")
        .code_fn(score)
        .inputs(row=np.array)
        .outputs(result=float)
        .models(model=Mean(np.array([1.0, 2.0])))
        .objects(shift=shift, OFFSET=OFFSET, np=np, rounded=lambda value: round(value, digits))
        .objects(digits=digits)
        .deploy()
    )
    answer = service.score(np.array([1.0, 2.0]))
    print(answer.output("result"), answer.error)
    print(client.delete_service(name, version="1.0"))
