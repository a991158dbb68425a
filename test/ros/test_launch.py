"""The launch file as a user starts it: `pytest test/ros/test_launch.py`, `launch_test …` or `colcon test`.

Skipped where launch_testing is not installed: like launch itself, it comes with a ROS distribution, not from PyPI.
"""

import os
import sys
import time
import unittest
from importlib.util import find_spec

import pytest

pytest.importorskip("launch_testing", reason="launch_testing comes with a ROS distribution")
pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS distribution")
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # not a robot's on this network

import launch_testing
import rclpy
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
from lifecycle_msgs.srv import GetState
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3DArray

from n3d_ros.node.shipped import shipped

START_S = 240.0
# colcon runs tests with the system's Python: where that has no torch, the programs find the package's .venv themselves.
PYTHON = sys.executable if find_spec("torch") else ""


@pytest.mark.launch_test
def generate_test_description():
    """Camera and grounding node of the demo, in a namespace, without RViz."""
    arguments = {"demo": "true", "namespace": "robot", "backend": "torch", "python": PYTHON}
    source = PythonLaunchDescriptionSource(str(shipped("launch/grounding.launch.py")))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items()), ReadyToTest()])


class TestLaunchedNodes(unittest.TestCase):
    """What a client finds while they run."""

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

    def until(self, condition, timeout_s=START_S):
        """Spins until `condition` returns something true, which is returned."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < end, "nothing came in time"
            rclpy.spin_once(self.node, timeout_sec=0.1)
        return found

    def call(self, kind, name, **fields):
        """The response of a service."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(START_S), f"no service {name}"
        future = client.call_async(kind.Request(**fields))
        return self.until(lambda: future.done() and future.result())

    def test_the_node_activates_by_itself_and_answers_about_the_images_of_its_namespace(self):
        """Autostart, remappings and namespace of the launch file."""
        state = "/robot/grounding/get_state"
        self.until(lambda: self.call(GetState, state).current_state.label == "active")
        heard = []
        self.node.create_subscription(Detection3DArray, "/robot/grounding/detections", heard.append, 10)
        self.until(lambda: self.node.count_publishers("/robot/color/image_raw") == 1, 30.0)
        result = self.until(
            lambda: (
                (got := self.call(Ground, "/robot/grounding/ground", text="all objects").result).status == Result.OK
                and got
            )
        )
        assert result.header.frame_id == "camera_color_optical_frame"
        self.until(lambda: heard)
        assert heard[-1].header.frame_id == "camera_color_optical_frame"
        types = dict(self.node.get_topic_names_and_types())
        assert types["/robot/depth/image_raw"] == [f"sensor_msgs/msg/{Image.__name__}"]


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """What Ctrl-C leaves."""

    def test_every_node_ends_with_0(self, proc_info):
        """`ros2 launch` sends SIGINT to all."""
        assertExitCodes(proc_info)
        assert len(proc_info.processes()) == 2
