"""Error of a request that does not fit the inputs of its service."""

from __future__ import annotations

from typing import Self


class InvalidInput(Exception):
    """The request does not fit the service's inputs; the message is for the caller.

    Parameters
    ----------
    message
        Sentences for the caller.
    inputs
        The same by names of inputs, where it is about nothing else.
    """

    def __init__(self, message: str, inputs: dict[str, str] | None = None) -> None:
        super().__init__(message, inputs)
        self.message = message
        self.inputs = inputs or {}

    @classmethod
    def about(cls, name: str, message: str) -> Self:
        """Create an error that is about one input."""
        return cls(message, {name: message})

    def __str__(self) -> str:
        return self.message
