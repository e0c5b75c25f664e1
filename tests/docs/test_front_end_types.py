"""What the front end takes the server's answers for is what the server says they are."""

from __future__ import annotations

from tests.docs.front_end_types import TYPES, head


def test_types_of_the_front_end_are_those_of_the_openapi_document() -> None:
    text = TYPES.read_text(encoding="utf-8")
    types = "".join(text.splitlines(keepends=True)[2:])
    assert text == head(types) + types, "run python -m tests.docs.front_end_types"
