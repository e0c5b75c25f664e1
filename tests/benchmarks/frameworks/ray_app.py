"""The iris service as Ray Serve has it."""

from __future__ import annotations

import os
import signal
import threading

import ray
from ray import serve
from starlette.requests import Request

from tests.benchmarks.iris import fit


class Iris:
    """Gathers the requests that are queued, without waiting for more."""

    def __init__(self) -> None:
        trained = fit()
        self._clf, self._names = trained["clf"], trained["names"]

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0)
    async def _classify(self, rows: list[list[float]]) -> list[str]:
        return [self._names[x] for x in self._clf.predict(rows)]

    async def __call__(self, request: Request) -> dict[str, list[str]]:
        """Answer for one row."""
        body = await request.json()
        return {"iris_species": [await self._classify(body["flower_data"])]}


def main() -> None:
    """Serve until told to stop."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        _temp_dir=os.environ["BENCHMARK_WORK"],
    )
    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["BENCHMARK_PORT"])},
        logging_config=quiet,
    )
    replicas = serve.deployment(
        num_replicas=2,
        max_ongoing_requests=128,
        ray_actor_options={"num_cpus": 0.5},
        logging_config=quiet,
    )
    serve.run(replicas(Iris).bind(), name="iris", route_prefix="/iris")
    # Only now: Ray has handlers of its own, which would end this process without the others.
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
