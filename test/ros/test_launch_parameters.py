"""What the launch file's arguments and its `params_file` decide: an argument that is not given leaves the file alone.

`pytest test/ros/test_launch_parameters.py`, `launch_test …` or `colcon test`; skipped where launch_testing is not
installed. No model is loaded.
"""

import os
import sys
import tempfile
import time
import unittest
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("launch_testing", reason="launch_testing comes with a ROS distribution")
pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS distribution")
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # not a robot's on this network

import launch_testing
import numpy as np
import rclpy
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import write_frame
from n3d_ros.node.shipped import shipped

START_S = 240.0
# colcon runs tests with the system's Python: where that has no torch, the programs find the package's .venv themselves.
PYTHON = sys.executable if find_spec("torch") else ""
FOLDER = Path(tempfile.mkdtemp(prefix="n3d_launch_"))
CAMERA = Camera.from_fov(60, 32, 24)
FILE = f"""
/**:
  grounding:
    ros__parameters: {{autostart: false, use_sim_time: true, target_frame: map, image_timeout: 3.5}}
  n3d_camera:
    ros__parameters: {{folder: {FOLDER}, rate: 7.0}}
"""


@pytest.mark.launch_test
def generate_test_description():
    """The demo with a parameter file of the user's and one argument that is given."""
    write_frame(FOLDER, 0, Frame(np.zeros((24, 32, 3), np.uint8), np.ones((24, 32), np.float32), CAMERA))
    (FOLDER / "parameters.yaml").write_text(FILE)
    arguments = {"demo": "true", "params_file": str(FOLDER / "parameters.yaml"), "python": PYTHON}
    arguments["target_frame"] = "odom"
    source = PythonLaunchDescriptionSource(str(shipped("launch/grounding.launch.py")))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items()), ReadyToTest()])


class TestLaunchedParameters(unittest.TestCase):
    """What the nodes were given."""

    @classmethod
    def setUpClass(cls):
        """A client node."""
        rclpy.init()
        cls.node = rclpy.create_node("launch_test_client")

    @classmethod
    def tearDownClass(cls):
        """Ends it."""
        cls.node.destroy_node()
        rclpy.shutdown()

    def values(self, node, *names):
        """The values of a node's parameters."""
        client = self.node.create_client(GetParameters, f"{node}/get_parameters")
        assert client.wait_for_service(START_S), f"no node {node}"
        future = client.call_async(GetParameters.Request(names=names))
        end = time.monotonic() + START_S
        while not future.done():
            assert time.monotonic() < end, f"{node} does not answer"
            rclpy.spin_once(self.node, timeout_sec=0.1)
        return [parameter_value_to_python(value) for value in future.result().values]

    def test_what_no_argument_says_is_as_in_the_file(self):
        """Clock, autostart, a time-out, and the camera's folder and rate."""
        assert self.values("/grounding", "use_sim_time", "autostart", "image_timeout") == [True, False, 3.5]
        assert self.values("/n3d_camera", "folder", "rate", "use_sim_time") == [str(FOLDER), 7.0, False]

    def test_an_argument_goes_before_the_file(self):
        """`target_frame:=odom` against `target_frame: map`."""
        assert self.values("/grounding", "target_frame") == ["odom"]


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """What Ctrl-C leaves."""

    def test_every_node_ends_with_0(self, proc_info):
        """`ros2 launch` sends SIGINT to all."""
        assertExitCodes(proc_info)
        assert len(proc_info.processes()) == 2
