"""What a worker raises when a request does not fit its service."""

from __future__ import annotations


class Misfit(Exception):
    """The request does not fit the service's inputs; the message is for the caller."""
