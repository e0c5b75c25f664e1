"""What a header such as ``Accept`` names."""

from __future__ import annotations


def qualities(header: str) -> dict[str, float]:
    """Read what a header such as Accept names, and how much each is wanted."""
    found = {}
    for part in header.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        values = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
        try:
            found[name] = float(values[0]) if values else 1.0
        except ValueError:
            found[name] = 0.0
    return found
