"""The frameworks: what is installed for each, how it is started, and how it is asked.

Each is given what its documentation recommends: two workers, adaptive batching where it does not
make a lone request wait, no access log, and the event loop and parser in C where it can use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.iris import FLOWERS, NAMES

from .environments import FOLDER, Environment

_APPS = __name__.rpartition(".")[0]
_MODEL = ("scikit-learn>=1.6",)
# uvicorn uses them where they are; not all frameworks bring them along.
_NATIVE = ("uvloop>=0.21", "httptools>=0.6")


@dataclass(frozen=True)
class Place:
    """Where one server of a framework runs.

    Parameters
    ----------
    environment
        What it is installed in.
    work
        A folder of its own, kept while it is started again.
    ports
        The one that is asked, and two more for those that open several.
    """

    environment: Environment
    work: Path
    ports: tuple[int, int, int]

    @property
    def port(self) -> int:
        """The port that is asked."""
        return self.ports[0]

    @property
    def python(self) -> str:
        """The environment's Python."""
        return self.environment.program("python")


@dataclass(frozen=True, kw_only=True)
class Framework:
    """One framework with its settings.

    Parameters
    ----------
    name
        What tables call it.
    package
        The distribution whose version is the framework's.
    requirements
        What its environment is made of; newer versions are taken when it is made anew.
    settings
        How it is run, in a line.
    path
        Path of its endpoint.
    question
        Makes the body for a row and its number.
    species
        Reads the species out of an answer.
    command
        Starts the server.
    prepare
        Command that lays out the model before the first start.
    variables
        More environment variables.
    """

    name: str
    package: str
    requirements: Sequence[str]
    settings: str
    path: str
    question: Callable[[int, Sequence[float]], object]
    species: Callable[[Any], list[str]]
    command: Callable[[Place], Sequence[str]]
    prepare: Callable[[Place], Sequence[str]] | None = None
    variables: Callable[[Place], Mapping[str, str]] = lambda _place: {}

    @property
    def environment(self) -> Environment:
        """Its environment; two entries of one package share it."""
        return Environment(FOLDER / self.package, self.requirements)

    @property
    def questions(self) -> list[object]:
        """The bodies for all flowers, before they are encoded."""
        return [self.question(number, row) for number, row in enumerate(FLOWERS)]


def _named(numbers: Sequence[int]) -> list[str]:
    return [NAMES[number] for number in numbers]


def _infer_request(number: int, row: Sequence[float]) -> object:
    # With an id of ours, which is sent back; made-up ones would make each answer another.
    data = {"name": "flower", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}
    return {"id": str(number), "inputs": [data]}


def _app(name: str) -> Callable[[Place], Sequence[str]]:
    return lambda place: [place.python, "-m", f"{_APPS}.{name}"]


def _model_for(name: str) -> Callable[[Place], Sequence[str]]:
    return lambda place: [place.python, "-m", f"{_APPS}.{name}", str(place.work / "model")]


def _port_and_work(place: Place) -> dict[str, str]:
    return {"BENCHMARK_PORT": str(place.port), "BENCHMARK_WORK": str(place.work)}


_BENTOML = Framework(
    name="BentoML",
    package="bentoml",
    requirements=("bentoml>=1.4.40", *_MODEL, *_NATIVE),
    settings="2 workers, async API, adaptive batching (64), no access log, no metrics",
    path="/iris",
    # A batch is one list of rows, so that each request is a list of one.
    question=lambda _number, row: {"flower_data": [list(row)]},
    species=list,
    command=lambda place: [
        *(place.environment.program("bentoml"), "serve", f"{_APPS}.bentoml_app:Iris"),
        *("--host", "127.0.0.1", "--port", str(place.port), "--working-dir", "."),
    ],
    variables=lambda place: {"BENTOML_HOME": str(place.work), "BENTOML_DO_NOT_TRACK": "True"},
)

_MLFLOW = Framework(
    name="MLflow",
    package="mlflow",
    requirements=("mlflow>=3.17", *_MODEL, *_NATIVE),
    settings="`mlflow models serve`, 2 workers; it has no batching",
    path="/invocations",
    question=lambda _number, row: {"inputs": [list(row)]},
    species=lambda answer: _named(answer["predictions"]),
    prepare=_model_for("mlflow_model"),
    command=lambda place: [
        *(place.environment.program("mlflow"), "models", "serve", "--env-manager", "local"),
        *("--model-uri", str(place.work / "model"), "--workers", "2"),
        *("--host", "127.0.0.1", "--port", str(place.port)),
    ],
)

_LITSERVE = Framework(
    name="LitServe",
    package="litserve",
    requirements=("litserve>=0.2.19", *_MODEL, *_NATIVE),
    settings="2 workers, 2 API servers, fast queue, batching (64) of what is queued",
    path="/iris",
    question=lambda _number, row: {"flower_data": list(row)},
    species=lambda answer: list(answer["iris_species"]),
    command=_app("litserve_app"),
    variables=_port_and_work,
)

_MLSERVER = Framework(
    name="MLServer",
    package="mlserver",
    # Its workers ask for an event loop in a way that uvloop 0.22 no longer has an answer to.
    requirements=("mlserver>=1.7.1", "mlserver-sklearn>=1.7.1", "uvloop<0.22", *_MODEL),
    settings="its runtime for scikit-learn, 2 workers, adaptive batching (64, 0.1 ms), no metrics",
    path="/v2/models/iris/infer",
    question=_infer_request,
    species=lambda answer: _named(answer["outputs"][0]["data"]),
    prepare=_model_for("mlserver_model"),
    command=lambda place: [
        *(place.environment.program("mlserver"), "start", str(place.work / "model")),
    ],
    variables=lambda place: {
        "MLSERVER_HTTP_PORT": str(place.ports[0]),
        "MLSERVER_GRPC_PORT": str(place.ports[1]),
        "MLSERVER_METRICS_PORT": str(place.ports[2]),
    },
)

_KSERVE = Framework(
    name="KServe",
    package="kserve",
    requirements=("kserve>=0.21", *_MODEL, *_NATIVE),
    settings="its model server with 2 workers, no gRPC, no latency log; no batching of its own",
    path="/v1/models/iris:predict",
    question=lambda _number, row: {"instances": [list(row)]},
    species=lambda answer: list(answer["predictions"]),
    command=lambda place: [
        *(place.python, "-m", f"{_APPS}.kserve_app", "--workers", "2"),
        *("--http_port", str(place.port), "--enable_grpc", "false"),
        *("--enable_latency_logging", "false"),
    ],
)


def _ray(name: str, settings: str, **variables: str) -> Framework:
    return Framework(
        name=name,
        package="ray",
        requirements=("ray[serve,haproxy]>=2.56", *_MODEL, *_NATIVE),
        settings=f"2 replicas, batching (64) of what is queued, no access log{settings}",
        path="/iris",
        question=lambda _number, row: {"flower_data": list(row)},
        species=lambda answer: list(answer["iris_species"]),
        command=_app("ray_app"),
        variables=lambda place: {
            **_port_and_work(place),
            # It listens on loopback only, and would keep a token in the home folder.
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            # On a busy machine it would kill its own proxy for starting slowly.
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
            "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(place.ports[1]),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(place.ports[2]),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place.work / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place.work / "a.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(place.work / "m.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place.work),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place.work / "haproxy.state"),
            **variables,
        },
    )


RAY = _ray("Ray Serve", "")
RAY_HAPROXY = _ray(
    "Ray Serve, HAProxy",
    "; HAProxy and optimized for throughput",
    RAY_SERVE_ENABLE_HA_PROXY="1",
    RAY_SERVE_THROUGHPUT_OPTIMIZED="1",
)

FRAMEWORKS: Mapping[str, Framework] = {
    framework.name: framework
    for framework in (_BENTOML, _MLFLOW, _LITSERVE, _MLSERVER, _KSERVE, RAY, RAY_HAPROXY)
}
