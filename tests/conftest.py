"""What all tests share. The fixtures of a real server come from the package's own pytest plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

HERE = Path(__file__).parent
TOGETHER = {"browser", "foreign", "notebooks", "packaging"}
"""Folders whose fixtures are so costly that one process runs all of a folder's tests."""


# First, so that the groups are there when pytest-xdist reads them.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together where several processes share the work: those of a file."""
    for item in items:
        folder, *_ = item.path.relative_to(HERE).parts
        group = folder if folder in TOGETHER else str(item.path.relative_to(HERE))
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def needs_r() -> None:
    """Skip the test where there is no R."""
    try:
        KernelSpecManager().get_kernel_spec("ir")
    except NoSuchKernel:
        pytest.skip("R with IRkernel is not installed: apt install r-base-core r-cran-irkernel")
