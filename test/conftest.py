"""Settings of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Other processes share the cores of a small machine: a slow example says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Keeps launch_testing's plugin, which comes with a ROS distribution, to the launch tests.

    It imports every test module outside of pytest's own collector, where an `importorskip` skips the whole folder.
    """
    if "@pytest.mark.launch_test" in module_path.read_text():
        return None
    return pytest.Module.from_parent(parent, path=module_path)
