"""Where the server is and who we are, as the environment tells it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

DEFAULT_URL: Final = "http://localhost:12800"
"""Address of the public door where nothing else is said, as it was ML Server's."""
DEFAULT_SESSION: Final = "default"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment variables say.

    Attributes
    ----------
    url : str or None
        ``MLSVC_URL``: address of the server. Kernels that JupyterLab starts have it.
    token : str or None
        ``MLSVC_TOKEN``: bearer token for that server. Never shown.
    public_url : str or None
        ``MLSVC_PUBLIC_URL``: where programs find that server.
    """

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    public_url: str | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """Read the variables; empty ones count as unset."""
        values = os.environ if variables is None else variables
        return cls(
            url=values.get("MLSVC_URL") or None,
            token=values.get("MLSVC_TOKEN") or None,
            public_url=values.get("MLSVC_PUBLIC_URL") or None,
        )


def default_session_name(variables: Mapping[str, str] | None = None) -> str:
    """Name the session after the notebook, where Jupyter says which notebook it is."""
    values = os.environ if variables is None else variables
    stem = PurePosixPath(values.get("JPY_SESSION_NAME", "").replace("\\", "/")).stem
    return stem or DEFAULT_SESSION
