"""A distribution's launch_testing does not keep tests from being collected."""

import subprocess
import sys

EAGER = """
import runpy

def pytest_pycollect_makemodule(module_path):  # as launch_testing's plugin: imports modules to look for launch tests
    runpy.run_path(str(module_path))
"""


def test_a_module_that_skips_itself_does_not_take_its_folder_along(tmp_path):
    (tmp_path / "eager.py").write_text(EAGER)
    (tmp_path / "conftest.py").write_text("from test.conftest import pytest_pycollect_makemodule\n")
    (tmp_path / "test_a.py").write_text("import pytest\npytest.importorskip('nothing_of_this_name')\n")
    (tmp_path / "test_b.py").write_text("def test_b():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "eager", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_with_path(tmp_path))
    assert ran.stdout.splitlines()[-1].startswith("1 passed, 1 skipped"), ran.stdout + ran.stderr


def _with_path(folder):
    import os

    from n3d_ros.node.shipped import shipped

    root = str(shipped("docs").parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), root, os.environ.get("PYTHONPATH", "")])}
