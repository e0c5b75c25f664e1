"""The original's documents, which are no part of this project, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).parents[2] / "shared" / "reference"
FOLDER = Path(os.environ.get("MLSVC_REFERENCE", _BESIDE))
SWAGGER = FOLDER / "mlserver-swagger-9.3.0.json"
ARTICLE = FOLDER / "article-publish-and-consume-python.md"
ABSENT = (
    "the original's documents are no part of this project; put them beside the checkout as "
    "../shared/reference, or name their folder in MLSVC_REFERENCE"
)
