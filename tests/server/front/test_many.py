"""What became of many requests, on its way."""

from __future__ import annotations

import msgspec

from jupyter_mlsvc_server.errors import Busy, MlsvcServerError
from jupyter_mlsvc_server.front.many import Outcomes
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer


def cross(outcomes: list[Outcome]) -> list[Outcome]:
    packed = msgspec.msgpack.encode(Outcomes.pack(outcomes))
    return msgspec.msgpack.decode(packed, type=Outcomes).unpacked()


def test_answers_and_errors_cross_in_their_order() -> None:
    right = ScoringAnswer(200, b'{"a":1}', True)
    wrong = ScoringAnswer(400, b"{}", False)
    first, busy, last, ours = cross(
        [right, Busy("later", retry_after=7), wrong, MlsvcServerError("x")]
    )
    assert (first, last) == (right, wrong)
    assert isinstance(busy, Busy)
    assert (busy.message, busy.retry_after) == ("later", 7)
    assert isinstance(ours, MlsvcServerError)
    assert ours.status == 500


def test_nothing_crosses_as_nothing() -> None:
    assert cross([]) == []
