"""The iris service as LitServe has it."""

# No postponed annotations: LitServe reads the type of a request from them as they stand.

import os
from typing import Any

import litserve

from tests.benchmarks.iris import fit


class Iris(litserve.LitAPI):
    """Gathers the requests that are queued, without waiting for more."""

    def setup(self, device: str) -> None:
        """Train in the worker."""
        trained = fit()
        self._clf, self._names = trained["clf"], trained["names"]

    def decode_request(self, request: dict[str, Any]) -> list[float]:
        """Take the row."""
        row: list[float] = request["flower_data"]
        return row

    def batch(self, inputs: list[list[float]]) -> list[list[float]]:
        """Leave rows as they are; the model takes a list of them."""
        return inputs

    def predict(self, rows: list[list[float]]) -> list[str]:
        """Call the model once for all rows."""
        return [self._names[x] for x in self._clf.predict(rows)]

    def unbatch(self, output: list[str]) -> list[str]:
        """Leave species as they are."""
        return output

    def encode_response(self, output: str) -> dict[str, list[str]]:
        """Answer for one row."""
        return {"iris_species": [output]}


if __name__ == "__main__":
    server = litserve.LitServer(
        Iris(max_batch_size=64, batch_timeout=0, api_path="/iris"),
        accelerator="cpu",
        devices=1,
        workers_per_device=2,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCHMARK_PORT"]),
        num_api_servers=2,
        log_level="warning",
        generate_client_file=False,
    )
