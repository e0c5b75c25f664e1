"""The one version of the project; ``labextension/package.json`` is checked against it."""

__version__ = "0.1.0"
