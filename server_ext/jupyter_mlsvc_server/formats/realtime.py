"""Names that the code and the content of realtime services are made of."""

from __future__ import annotations

from typing import Final

RUNTIME: Final = "Realtime"
"""The ``runtimeType`` of realtime services and of their contents."""

INPUT: Final = "inputData"
OUTPUT: Final = "outputData"
MODEL: Final = "model"
CODE: Final = f"{OUTPUT} = {MODEL}({INPUT})"
"""What runs for each request."""
