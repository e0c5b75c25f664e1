"""How many records are let in, and whose turn it is."""

from __future__ import annotations

from jupyter_mlsvc_server.batches.gate import Gate


def let_in(gate: Gate) -> int:
    """Fill it; tells how many came in."""
    count = 0
    while gate.enter():
        count += 1
    return count


def test_quick_answers_make_room_up_to_the_most() -> None:
    gate = Gate(2, 5)
    assert let_in(gate) == 2
    for _ in range(9):
        gate.leave(1, 0.001)
        let_in(gate)
    for _ in range(5):
        gate.leave()
    assert let_in(gate) == 5


def test_slow_answers_take_the_room_back_but_for_the_least() -> None:
    gate = Gate(2, 5)
    for _ in range(9):
        assert gate.enter()
        gate.leave(1, 0.001)
    for _ in range(9):
        assert gate.enter()
        gate.leave(1, 5.0)
    assert let_in(gate) == 2


def test_a_hold_up_makes_it_narrower_once() -> None:
    gate = Gate(2, 40)
    while gate.room < 40:
        assert gate.enter()
        gate.leave(1, 0.001)
    for _ in range(3):
        assert gate.enter(10) == 10
    for _ in range(3):
        gate.leave(10, 0.12)
    assert gate.room == 20


def test_too_many_requests_take_all_room_back_at_once() -> None:
    gate = Gate(2, 50)
    for _ in range(40):
        assert gate.enter()
        gate.leave(1, 0.001)
    gate.narrow()
    assert let_in(gate) == 2


def test_those_who_wait_come_in_turn() -> None:
    gate = Gate(1, 1)
    came: list[str] = []

    def comer(name: str) -> None:
        came.append(name)
        assert gate.enter()

    assert gate.enter()
    for name in ("first", "second"):
        gate.wait(lambda name=name: comer(name))  # type: ignore[misc]
    gate.leave(1, 0.1)
    assert came == ["first"]
    gate.leave(1, 0.1)
    assert came == ["first", "second"]


def test_no_more_come_in_together_than_there_is_room_for() -> None:
    gate = Gate(5, 5)
    assert [gate.enter(3), gate.enter(3), gate.enter(3)] == [3, 2, 0]
    gate.leave(3, 0.1)
    assert gate.enter(4) == 3


def test_who_went_away_is_not_called() -> None:
    gate = Gate(1, 1)
    assert gate.enter()
    came: list[None] = []
    come = lambda: came.append(None)  # noqa: E731
    gate.wait(come)
    gate.forget(come)
    gate.leave()
    assert not came
