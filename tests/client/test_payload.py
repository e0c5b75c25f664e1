"""What is too large is refused before it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from jupyter_mlsvc import Client
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.payload import estimated_bytes
from jupyter_mlsvc.errors import PayloadTooLarge
from tests.client.fake import FakeTransport, answer

RNG = np.random.default_rng(1)
ROWS = 40_000
TABLE = pd.DataFrame(
    {"a": RNG.normal(size=ROWS), "b": RNG.integers(0, 9, ROWS), "c": ["text"] * ROWS}
)
LARGE: dict[str, Any] = {
    "a frame": TABLE,
    "a series": pd.concat([TABLE["a"]] * 2),
    "an array": RNG.normal(size=(ROWS, 3)),
    "a list": RNG.normal(size=ROWS * 2).tolist(),
    "rows": [[1.5, 2, "a"]] * ROWS * 2,
    "columns": {"a": list(range(ROWS * 2)), "b": [1] * ROWS * 2},
    "a text": "x" * 10_000_000,
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_an_estimate_is_close(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr("jupyter_mlsvc.client.payload.MANY_BYTES", 2**18)
    actual = len(msgspec.json.encode(plain_values({"x": value})))
    assert 0.8 * actual < estimated_bytes({"x": value}) < 1.2 * actual


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "text",
        [1, 2],
        {"a": 1},
        pd.DataFrame({"a": [1]}),
        np.arange(9),
        {1, 2},
        object(),
        iter([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_small_or_none_of_these_is_sent_as_it_is(value: Any) -> None:
    assert estimated_bytes({"x": value}) == 0


class Unwritable(list[float]):
    """A list whose elements are never all looked at."""

    def __iter__(self) -> Iterator[float]:
        raise AssertionError("all of it was looked at")

    def __getitem__(self, place: Any) -> Any:
        return list.__getitem__(self, place)


def test_what_is_too_large_is_refused_before_it_is_written(
    client: Client, transport: FakeTransport
) -> None:
    status = {"statusCode": "pass", "details": {"maxBodyBytes": 1_000_000}}
    transport.answers = [answer(status)]
    values = Unwritable([1.5] * 3_000_000)
    for _ in range(2):
        with pytest.raises(PayloadTooLarge) as caught:
            client.services.consume("Iris", "V1.0", {"rows": values})
        for words in ("12 MB", "takes 1 MB", "%batch", "MlsvcApp.max_body_bytes"):
            assert words in str(caught.value)
    with pytest.raises(PayloadTooLarge):
        client.sessions.with_id("s1").execute("y = rows", inputs={"rows": values})
    assert [request.path for request in transport.requests] == ["/status"]


def test_a_server_that_does_not_tell_its_limit_is_sent_all(
    client: Client, transport: FakeTransport
) -> None:
    result = {
        "success": True, "errorMessage": "", "outputParameters": {}, "outputFiles": {},
        "consoleOutput": "", "changedFiles": [],
    }  # fmt: skip
    transport.answers = [answer({"statusCode": "pass"}), answer(result)]
    assert client.services.consume("Iris", "V1.0", {"rows": [1.5] * 600_000}).success
