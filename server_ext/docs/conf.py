"""Settings of Sphinx; ``make docs`` builds the pages.

The tutorials are the notebooks, with the outputs that are stored in them: nothing is executed here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import jupyter_mlsvc

HERE: Final = Path(__file__).parent
NOTEBOOKS: Final = HERE.parents[1] / "notebooks"

project = "jupyter-mlsvc"
author = "jupyter-mlsvc contributors"
project_copyright = f"2026, {author}"
release = version = jupyter_mlsvc.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3
nb_execution_mode = "off"

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {release}"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False


def _copy_notebooks(*_: object) -> None:
    # Sphinx reads pages of its own folder only.
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        shutil.copyfile(notebook, HERE / "tutorials" / notebook.name)


def setup(app: object) -> None:
    """Copy the notebooks before Sphinx looks for pages."""
    app.connect("config-inited", _copy_notebooks)  # type: ignore[attr-defined]
