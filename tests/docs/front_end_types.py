"""Types of the front end, made from the API's OpenAPI document.

``python -m tests.docs.front_end_types`` writes them, with what is in labextension/node_modules.
The file says of which document and of which types it is, so that a test needs neither Node nor a
server to find out that it is not up to date.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc.wire.swagger import core_openapi

LABEXTENSION: Final = Path(__file__).parents[2] / "labextension"
TYPES: Final = LABEXTENSION / "src" / "calls" / "openapi.ts"
_GENERATOR: Final = LABEXTENSION / "node_modules" / ".bin" / "openapi-typescript"
_OPTIONS: Final = ("--empty-objects-unknown", "--default-non-nullable", "false", "--alphabetize")


def document() -> str:
    """Write what the types are made from: the schemas of the document."""
    whole: dict[str, Any] = core_openapi()
    parts = {
        "openapi": whole["openapi"],
        # Releases change no types.
        "info": {"title": whole["info"]["title"], "version": ""},
        "paths": {},
        "components": {"schemas": whole["components"]["schemas"]},
    }
    return json.dumps(parts, sort_keys=True, indent=1)


def head(types: str) -> str:
    """Write the lines that say what types were made from, and which they are."""
    digests = [sha256(text.encode()).hexdigest()[:32] for text in (document(), types)]
    return (
        "// Made by `python -m tests.docs.front_end_types`; changes here are lost.\n"
        f"// OpenAPI document {digests[0]}, types {digests[1]}\n"
    )


def _generated() -> str:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "openapi.json"), Path(folder, "openapi.ts")
        source.write_text(document(), encoding="utf-8")
        command = [str(_GENERATOR), str(source), *_OPTIONS, "--output", str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return target.read_text(encoding="utf-8")


if __name__ == "__main__":
    generated = _generated()
    TYPES.write_text(head(generated) + generated, encoding="utf-8")
