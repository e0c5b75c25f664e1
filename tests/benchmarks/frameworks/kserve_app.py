"""The iris service as KServe's model server has it."""

from __future__ import annotations

from typing import Any

import kserve

from tests.benchmarks.iris import fit


class Iris(kserve.Model):
    """Answers its first protocol, for one or more rows."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        trained = fit()
        self._clf, self._names = trained["clf"], trained["names"]
        self.ready = True

    async def predict(
        self,
        payload: dict[str, Any],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, list[str]]:
        """Call the model once for all rows."""
        rows = payload["instances"]
        return {"predictions": [self._names[x] for x in self._clf.predict(rows)]}


if __name__ == "__main__":
    # Its options are read from the command line when it is imported.
    kserve.ModelServer().start([Iris("iris")])
