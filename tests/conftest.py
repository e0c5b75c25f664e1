"""What all tests share. The fixtures of a real server come from the package's own pytest plugin."""

from __future__ import annotations
