"""Many records at once."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from tests.foreign.sdk.work import Work, failure_of

SQUARES = "y = x * x\nopen('square.txt', 'w').write(str(y))\nprint('squared', x)"
SLOW = "import time\ntime.sleep(0.2)\ny = x"


def results_of_a_batch(work: Work) -> None:
    """Started with a frame, polled until it is complete, read record by record."""
    import pandas as pd

    service = _service(work, SQUARES, artifacts=["square.txt"])
    records = pd.DataFrame({"other": list("abcde"), "x": [1, 2, 3, 4, 5]})
    batch = service.batch(records, parallel_count=2).start()
    assert batch.start().execution_id == batch.execution_id
    done = _complete(batch)
    assert (done.completed_item_count, done.total_item_count) == (5, 5)
    answers = [done.execution(index) for index in range(5)]
    assert [answer.output("y") for answer in answers] == [1, 4, 9, 16, 25]
    assert answers[1].console_output == "squared 2\n"
    assert answers[1].error == ""
    assert answers[1].artifact("square.txt", encoding="utf-8") == "4"
    assert batch.list_artifacts(2) == ["square.txt"]
    assert batch.artifact(2, "square.txt") == b"9"
    with tempfile.TemporaryDirectory() as folder:
        # By position: the SDK drops arguments that come by name.
        [path] = batch.download(4, "square.txt", folder)
        with open(path, "rb") as file:
            assert file.read() == b"25"
        assert os.path.basename(path) == "square.txt"
    assert batch.execution_id in service.list_batch_executions()
    again = service.get_batch(batch.execution_id)
    assert again.results().execution(0).output("y") == 1
    batch.cancel()
    assert failure_of(batch.results).status == 404


def records_in_other_forms(work: Work) -> None:
    """A list of records, and columns by name."""
    service = _service(work, SQUARES)
    for records in ([{"x": 3}, {"x": 4}], {"x": [3, 4]}):
        done = _complete(service.batch(records).start())
        assert [done.execution(index).output("y") for index in (0, 1)] == [9, 16]


def a_batch_that_is_cancelled(work: Work) -> None:
    """Its results so far can be read while it runs; when cancelled, it is gone."""
    service = _service(work, SLOW)
    batch = service.batch([{"x": number} for number in range(300)], parallel_count=1).start()
    deadline = time.monotonic() + 60
    while (partial := batch.results()).completed_item_count == 0:
        assert time.monotonic() < deadline, partial
    assert partial.state == "InProgress"
    assert 0 < partial.completed_item_count < partial.total_item_count == 300
    assert partial.execution(0).output("y") == 0
    batch.results(show_partial_results=False)
    batch.cancel()
    assert batch.execution_id not in service.list_batch_executions()


def a_record_that_fails(work: Work) -> None:
    """It says so; the others are done."""
    service = _service(work, "y = 6 // x")
    done = _complete(service.batch([{"x": 2}, {"x": 0}, {"x": 3}]).start())
    answers = [done.execution(index) for index in range(3)]
    assert [answer.output("y") for answer in answers] == [3, None, 2]
    assert [answer.error.split(":")[0] for answer in answers] == ["", "ZeroDivisionError", ""]


def _service(work: Work, code: str, **more: Any) -> Any:
    return work.client.deploy_service(
        work.name(), version="1.0", code_str=code, inputs={"x": int}, outputs={"y": int}, **more
    )


def _complete(batch: Any) -> Any:
    deadline = time.monotonic() + 60
    while (results := batch.results()).state != "Complete":
        assert time.monotonic() < deadline, results
        time.sleep(0.1)
    return results
