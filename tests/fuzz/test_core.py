"""Made-up calls to the core API: nothing breaks, and every answer is one that is listed."""

from __future__ import annotations

import pytest

from jupyter_mlsvc.wire.operations import OPERATIONS, Operation
from tests.contract.doors import Door
from tests.fuzz.calls import Fuzzer
from tests.fuzz.conftest import EFFORT
from tests.fuzz.world import World

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(EFFORT.timeout)]

COSTLY = {"createSession", "closeSession", "closeSessionByForce", "login", "renewToken"}


@pytest.fixture(scope="session")
def fuzzer(fuzzed_door: Door, world: World) -> Fuzzer:
    effort = EFFORT if "/mlsvc" not in fuzzed_door.url else EFFORT.less()
    return Fuzzer(fuzzed_door, fuzzed_door.get("/openapi.json").json(), world, effort)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_made_up_calls_get_answers_that_the_document_lists(
    fuzzer: Fuzzer, operation: Operation
) -> None:
    fuzzer.try_out(operation.path, operation.method, costly=operation.id in COSTLY)
    assert fuzzer.seen[operation.id, operation.status], "no call got past the checks"
