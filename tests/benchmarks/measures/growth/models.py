"""Realtime models that have been called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jupyter_mlsvc import serialize_model
from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.iris import FLOWERS, fit
from tests.benchmarks.peers import OurServer, PeerFailed
from tests.benchmarks.plan import Plan


def grow(plan: Plan) -> list[Growth]:
    """Call more and more of them, each a model of its own."""
    sizes = (10, 50, 100) if plan.scale == 1 else (5, 20, 40)
    fitted = fit()
    with OurServer(plan.work / "models") as server:
        models = [_model(fitted, number) for number in range(max(sizes))]
        paths = [
            server.publish_realtime(f"Model{number}", serialize_model(model))
            for number, model in enumerate(models)
        ]
        server.restart()
        server.wait_until_quiet()
        before = server.megabytes()
        called = 0

        def do(size: int) -> Mapping[str, float]:
            nonlocal called
            with server.connect() as connection:
                for path, model in list(zip(paths, models, strict=True))[called:size]:
                    expected = [int(number) for number in model.predict(list(FLOWERS))]
                    answer = connection.call("POST", path, _BODY)
                    if answer["outputParameters"]["outputData"]["y_Pred"] != expected:
                        raise PeerFailed(f"{path} answered {answer} for {expected}.")
            called = size
            server.wait_until_quiet()
            return {"MB": server.megabytes() - before}

        return grown("called realtime models", sizes, do, {"MB": Limit.at_the_largest(400)})


_BODY = json.dumps(
    {"inputData": dict(zip("abcd", map(list, zip(*FLOWERS, strict=True)), strict=True))}
).encode()


def _model(fitted: dict[str, Any], number: int) -> Any:
    """Fit one that differs from the others, in what it is and in what it says."""
    iris = fitted["iris"]
    model = type(fitted["clf"])(C=1 + number / 100)
    return model.fit(iris.data, (iris.target + number) % 3)
