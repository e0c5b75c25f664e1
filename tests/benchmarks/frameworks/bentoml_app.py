"""The iris service as BentoML has it."""

from __future__ import annotations

import bentoml

from tests.benchmarks.iris import fit


@bentoml.service(workers=2, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Iris:
    """Gathers requests as BentoML thinks best."""

    def __init__(self) -> None:
        trained = fit()
        self._clf, self._names = trained["clf"], trained["names"]

    @bentoml.api(route="/iris", batchable=True, max_batch_size=64)
    async def classify(self, flower_data: list[list[float]]) -> list[str]:
        """Call the model once for all rows."""
        return [self._names[x] for x in self._clf.predict(flower_data)]
