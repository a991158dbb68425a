"""Which nodes the launch file's arguments start, and where; nothing is started."""

import runpy

import pytest

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS distribution")

from launch import LaunchContext
from launch_ros.actions import LifecycleNode, Node

from n3d_ros.shipped import shipped


def started(**arguments):
    """(executable, namespace, arguments) of each node."""
    file = runpy.run_path(str(shipped("launch/grounding.launch.py")))
    context = LaunchContext()
    for each in file["ARGUMENTS"]:
        each.execute(context)
    context.launch_configurations.update(arguments)
    found = []
    for action in file["nodes"](context):
        if isinstance(action, Node | LifecycleNode) and (
            action.condition is None or action.condition.evaluate(context)
        ):
            given = [part for part in action._Node__arguments or [] if isinstance(part, str)]
            found.append((action.node_executable, action._Node__node_namespace, given))
    return found


def test_a_namespace_stands_before_those_of_several_cameras():
    cameras = "/robot/front,/side"
    assert started(namespace="/robot", cameras="front, /side", demo="true") == [
        ("grounding_node", None, ["--cameras", cameras]),
        ("camera_node", "/robot/front", []),
        ("camera_node", "/side", []),
    ]
    assert started(namespace="robot/", cameras="front")[0][2] == ["--cameras", "robot/front"]
    assert started(cameras="front,rear")[0][2] == ["--cameras", "front,rear"]


def test_one_camera_lies_in_the_namespace():
    assert started(namespace="robot", page="true") == [("grounding_node", "robot", []), ("page_node", "robot", [])]
