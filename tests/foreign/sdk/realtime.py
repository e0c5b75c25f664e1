"""Realtime services: a model instead of code."""

from __future__ import annotations

from tests.foreign.sdk.work import Work, failure_of

FLOWERS = {
    "sepal_length": [7.0, 5.1],
    "sepal_width": [3.2, 3.5],
    "petal_length": [4.7, 1.4],
    "petal_width": [1.4, 0.2],
}
SPECIES = {"species_Pred": [1, 0]}


def a_realtime_service(work: Work) -> None:
    """Deployed the fluent way, consumed with several rows, listed, changed and deleted."""
    import pandas as pd

    name = work.name()
    service = (
        work.client.realtime_service(name)
        .version("1.0")
        .serialized_model(work.model)
        .description("Tells irises apart.")
        .alias("classify")
        .deploy()
    )
    flowers = pd.DataFrame(FLOWERS)
    answer = service.classify(flowers)
    assert answer.error == "", answer.error
    pd.testing.assert_frame_equal(answer.output("outputData"), pd.DataFrame(SPECIES))
    can = service.capabilities()
    assert (can["runtime"], can["artifacts"]) == ("Realtime", [])
    assert can["inputs"] == [{"name": "inputData", "type": "data.frame"}]
    assert can["outputs"] == [{"name": "outputData", "type": "data.frame"}]
    changed = work.client.redeploy_realtime(
        name, version="1.0", serialized_model=work.model, description="Changed."
    )
    assert changed.capabilities()["description"] == "Changed."
    again = work.client.get_service(name, version="1.0")
    assert again.classify(flowers).raw_outputs == {"outputData": SPECIES}
    assert work.client.delete_service(name, version="1.0") is True


def a_realtime_service_without_a_version(work: Work) -> None:
    """The plain way; the server makes the version up, the method is ``consume``."""
    import pandas as pd

    service = work.client.deploy_realtime(work.name(), serialized_model=work.model)
    assert len(service.capabilities()["version"]) == 36
    answer = service.consume(pd.DataFrame(FLOWERS))
    assert answer.raw_outputs == {"outputData": SPECIES}


def bytes_that_are_no_model(work: Work) -> None:
    """Those that the SDK lets through are refused by the server, which says what it wants."""
    error = failure_of(
        work.client.deploy_realtime, work.name(), version="1.0", serialized_model=b"blob of nothing"
    )
    assert error.status == 400
    assert "predict" in error.body, error.body
