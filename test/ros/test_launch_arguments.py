"""Which nodes the launch file's arguments start, and where; nothing is started."""

import runpy

import pytest

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS distribution")

from launch import LaunchContext
from launch_ros.actions import LifecycleNode, Node
from launch_ros.utilities import evaluate_parameters

from n3d_ros.node.shipped import shipped


def nodes(**arguments):
    """The nodes that are started, and their launch context."""
    file = runpy.run_path(str(shipped("launch/grounding.launch.py")))
    context = LaunchContext()
    for each in file["ARGUMENTS"]:
        each.execute(context)
    context.launch_configurations.update(arguments)
    found = [action for action in file["nodes"](context) if isinstance(action, Node | LifecycleNode)]
    return [node for node in found if node.condition is None or node.condition.evaluate(context)], context


def started(**arguments):
    """(executable, namespace, arguments) of each node."""
    found = []
    for node in nodes(**arguments)[0]:
        given = [part for part in node._Node__arguments or [] if isinstance(part, str)]
        found.append((node.node_executable, node._Node__node_namespace, given))
    return found


def players(**arguments):
    """Namespace and parameters of each player of a bag."""
    found, context = nodes(bag="some.mcap", **arguments)
    told = []
    for node in (node for node in found if node.node_executable == "bag_node"):
        merged = {}
        for part in evaluate_parameters(context, node._Node__parameters):
            merged |= part if isinstance(part, dict) else {}
        told.append((node._Node__node_namespace, merged))
    return told


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


def test_of_several_players_the_first_has_the_clock_and_the_others_go_by_it():
    assert players(cameras="front,rear,side", use_sim_time="true") == [
        ("front", {"bag": "some.mcap", "clock": True}),
        ("rear", {"bag": "some.mcap", "use_sim_time": True, "clock": False}),
        ("side", {"bag": "some.mcap", "use_sim_time": True, "clock": False}),
    ]
    assert players(use_sim_time="true") == [("", {"bag": "some.mcap", "clock": True})]
    assert players(cameras="front,rear") == [
        ("front", {"bag": "some.mcap"}),
        ("rear", {"bag": "some.mcap", "clock": False}),
    ]
