"""Random numbers that a request must not make foreseeable for the next one."""

from __future__ import annotations

import random
import sys
from typing import Final

SEEDING: Final = frozenset({"seed", "setstate", "set_state"})
"""Names of what sets the state of a generator, in Python's library and in numpy.

The state itself is too large to be compared after each request.
"""


def reseed() -> None:
    """Have the generators that all code of a process shares begin anew."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
