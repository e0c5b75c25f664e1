"""The version stands once in Python and once for npm; everything else reads one of the two."""

import json
from importlib import metadata
from pathlib import Path

import jupyter_mlsvc

REPOSITORY = Path(__file__).parents[2]


def test_the_front_end_has_the_version_and_name_of_the_distribution() -> None:
    package = json.loads((REPOSITORY / "labextension/package.json").read_text(encoding="utf-8"))
    assert (package["name"], package["version"]) == ("jupyter-mlsvc", jupyter_mlsvc.__version__)


def test_the_installed_distribution_has_the_version_of_the_code() -> None:
    assert metadata.version("jupyter-mlsvc") == jupyter_mlsvc.__version__
