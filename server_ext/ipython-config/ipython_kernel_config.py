"""Give notebooks of a Jupyter server with jupyter-mlsvc its magics without ``%load_ext``.

The server sets ``MLSVC_AUTOLOAD`` for the kernels that it starts; all others are left alone.
"""

import os
from importlib.util import find_spec

if os.environ.get("MLSVC_AUTOLOAD") == "1" and find_spec("jupyter_mlsvc") is not None:
    # Adds to what other configuration files name; a profile's list of `extensions` stays as it is.
    get_config().InteractiveShellApp.extra_extensions.append(  # noqa: F821
        "jupyter_mlsvc.autoload"
    )
