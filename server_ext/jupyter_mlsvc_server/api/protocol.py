"""Stand-in."""

from __future__ import annotations


class Limits:
    """Stand-in."""
