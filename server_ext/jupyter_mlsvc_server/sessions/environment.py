"""What a session's process sees of the server's environment: an allow-list, nothing else.

The server's environment may hold passwords, Jupyter's and our tokens and cloud credentials.
Code in a session is its user's, not the server owner's, so names are let through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

ALLOWED: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SYSTEMROOT",
    "USERPROFILE",
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "R_LIBS",
    "R_LIBS_SITE",
    "R_LIBS_USER",
)
"""Names, with ``*`` as wildcard, that every session gets from the server's environment."""


def is_allowed(name: str, further: Iterable[str] = ()) -> bool:
    """Return whether sessions see a variable of the server's environment."""
    return any(fnmatchcase(name, pattern) for pattern in (*ALLOWED, *further))


def scrubbed(
    environment: Mapping[str, str],
    further: Iterable[str] = (),
    added: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Keep what a session may see.

    Parameters
    ----------
    environment
        The server's own environment.
    further
        Names or patterns to let through besides :data:`ALLOWED`.
    added
        Variables to set, whatever the server's environment says.
    """
    further = tuple(further)
    kept = {name: value for name, value in environment.items() if is_allowed(name, further)}
    return kept | dict(added or {})
