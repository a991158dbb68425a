"""What is told where the interpreter lacks a module, as the system's Python does."""

import subprocess
import sys

import pytest

from n3d_core.errors import MissingDependencyError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries.models import ModelPool

RUN = "import sys; sys.modules[{name!r}] = None; from n3d_ros.__main__ import main; sys.exit(main([{node!r}]))"


@pytest.mark.ros
@pytest.mark.parametrize(
    ("name", "words"),
    [("PIL", "run `make setup`"), ("cv2", "run `make setup`"), ("rclpy", "source the ROS distribution")],
)
def test_a_program_without_a_module_says_what_to_do_in_one_sentence(name, words):
    program = RUN.format(name=name, node="grounding_node")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"cannot start: {name} is not installed for {sys.executable}: ")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.ros
def test_a_node_without_torch_says_so_when_it_is_configured(monkeypatch):
    def missing(*_arguments, **_options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("n3d_core.n3d.N3D.load", missing)
    with pytest.raises(MissingDependencyError, match=r"torch is not installed for .*: run `make setup`.*N3D_PYTHON"):
        ModelPool().acquire(GroundingParameters().model_choice)
