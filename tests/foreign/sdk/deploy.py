"""Deploy functions and code with models, objects and files; consume what came of them."""

from __future__ import annotations

import json
from typing import Any

from tests.foreign.sdk.work import Work, failure_of

SPECIES = ["setosa", "versicolor", "virginica"]


# The SDK sends the source of functions; what they name is found in the service.
model: Any
names: list[str]


def init():
    print("ready")


def classify(sepal_length, petal_length):
    species = names[int(model.predict([[sepal_length, petal_length]])[0])]
    with open("report.txt", "w") as report:
        report.write(f"{species}: größer")
    return species


def rows(flowers):
    return flowers.assign(area=flowers["length"] * flowers["width"])


def a_model_in_a_function(work: Work) -> None:
    """The fluent way with everything that a definition takes."""
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    iris = load_iris()
    service = (
        work.client.service(work.name())
        .version("v1.0.0")
        .code_fn(classify, init)
        .inputs(sepal_length=float, petal_length=float)
        .outputs(species=str)
        .models(model=SVC().fit(iris.data[:, [0, 2]], iris.target))
        .objects(names=SPECIES)
        .artifacts(["report.txt"])
        .artifact("nowhere.png")
        .alias("which_iris")
        .description("Tells the species of an iris.")
        .deploy()
    )
    answer = service.which_iris(5.1, 1.4)
    assert answer.output("species") == "setosa", str(answer)
    assert answer.outputs == {"species": "setosa"}
    assert answer.raw_outputs == {"species": "setosa"}
    assert (answer.error, answer.api) == ("", service.capabilities()["api"])
    assert answer.console_output == "ready\n"
    assert answer.artifact("report.txt", encoding="utf-8") == "setosa: größer"
    assert answer.artifact("report.txt", decode=False).isascii()
    assert answer.artifact("nowhere.png") is None
    assert set(answer.artifacts) == {"report.txt", "nowhere.png"}


def a_plain_call(work: Work) -> None:
    """``deploy_service`` with a dictionary; the method has the function's name."""
    import pandas as pd

    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_fn=rows,
        inputs={"flowers": "pandas.DataFrame"},
        outputs={"larger": "pandas.DataFrame"},
    )
    larger = service.rows(pd.DataFrame({"width": [1, 2], "length": [3.5, 4.0]})).output("larger")
    expected = pd.DataFrame({"width": [1, 2], "length": [3.5, 4.0], "area": [3.5, 8.0]})
    pd.testing.assert_frame_equal(larger, expected)


def code_as_text(work: Work) -> None:
    """``code_str`` and ``init_str`` share a namespace; several outputs, method ``consume``."""
    service = (
        work.client.service(work.name())
        .version("1")
        .code_str(
            "total = sum(bases[name] for name in chosen) * factor\ncount = len(chosen)",
            init="import collections\nbases = collections.Counter(a=2, b=3)",
        )
        .objects(factor=10)
        .inputs(chosen="list")
        .outputs(total="int", count="int")
        .deploy()
    )
    import numpy as np

    answer = service.consume(np.array(["a", "b", "b"]))
    assert answer.outputs == {"total": 80, "count": 3}


def no_version(work: Work) -> None:
    """The server gives it a GUID, and the newest one is what comes back."""
    import uuid

    name = work.name()
    versions = []
    for number in (1, 2):
        service = work.client.deploy_service(name, code_str=f"y = {number}", outputs={"y": "int"})
        assert service.consume().output("y") == number
        versions.append(service.capabilities()["version"])
    assert versions[0] != str(uuid.UUID(versions[1])) == versions[1]


def many_inputs(work: Work) -> None:
    """More than the three that the manual warns of."""
    letters = "abcde"
    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_str="text = a + b + c + d + e",
        inputs=dict.fromkeys(letters, str),
        outputs={"text": str},
    )
    assert service.consume(*letters).output("text") == letters
    assert service.consume(**dict(zip(letters, reversed(letters), strict=True))).output(
        "text"
    ) == "".join(reversed(letters))


def failing_code(work: Work) -> None:
    """The error of the service's code is told, and what it printed before."""
    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_str="print('about to')\ny = 1 / x",
        inputs={"x": int},
        outputs={"y": float},
    )
    answer = service.consume(0)
    assert answer.error == "ZeroDivisionError: division by zero", answer.error
    assert answer.console_output.startswith("about to\n"), answer.console_output
    assert answer.output("y") is None
    assert service.consume(4).output("y") == 0.25


def what_a_service_can_do(work: Work) -> None:
    """Capabilities and the service's document."""
    name = work.name()
    service = (
        work.client.service(name)
        .version("1.0")
        .code_str("y = x * 2")
        .inputs(x=int)
        .outputs(y=float)
        .artifacts(["plot.png"])
        .alias("twice")
        .description("Doubles.")
        .deploy()
    )
    can: dict[str, Any] = service.capabilities()
    expected = {
        "api": f"/api/{name}/1.0",
        "name": name,
        "version": "1.0",
        "published_by": "admin",
        "runtime": "Python",
        "description": "Doubles.",
        "inputs": [{"name": "x", "type": "integer"}],
        "outputs": [{"name": "y", "type": "numeric"}],
        "inputs_encoded": [{"name": "x", "type": "int"}],
        "outputs_encoded": [{"name": "y", "type": "float"}],
        "artifacts": ["plot.png"],
        "operation_id": "twice",
    }
    assert {key: can[key] for key in expected} == expected, can
    assert can["public-functions"]["twice"] == "twice(self,x)"
    assert can["swagger"].endswith(f"/api/{name}/1.0/swagger.json")
    assert can["snapshot_id"]
    document = json.loads(service.swagger())
    assert document["info"] == {"description": "Doubles.", "title": name, "version": "1.0"}
    assert document["paths"][f"/api/{name}/1.0"]["post"]["operationId"] == "twice"
    assert failure_of(work.client.deploy_service, name, version="1.0", code_str="y = 1").status == (
        409
    )
