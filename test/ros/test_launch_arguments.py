"""Which nodes the launch file's arguments start, and where; nothing is started."""

import runpy
from types import SimpleNamespace

import pytest

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS distribution")

from launch import LaunchContext
from launch.actions import EmitEvent
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
    return found, context


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


def parameters(node, context):
    """What a node is given beside the parameter file."""
    merged = {}
    for part in evaluate_parameters(context, node._Node__parameters):
        merged |= part if isinstance(part, dict) else {}
    return merged


def test_arguments_become_parameters_and_empty_ones_do_not():
    (grounding,), context = nodes(refine="depth", gravity_frame="odom", query="mug; bottle", autostart="False")
    wanted = {"refine": "depth", "gravity_frame": "odom", "continuous_query": "mug; bottle", "autostart": False}
    assert parameters(grounding, context) == wanted
    (grounding,), context = nodes()
    assert parameters(grounding, context) == {}


def test_the_demo_asks_for_all_objects_unless_somebody_says_otherwise(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("{}")
    for arguments, query in (({}, "all objects"), ({"query": "mug"}, "mug"), ({"params_file": str(own)}, None)):
        (grounding, _camera), context = nodes(demo="true", **arguments)
        assert parameters(grounding, context).get("continuous_query") == query


def test_a_tour_is_played_and_remembered_in_the_map_unless_somebody_says_otherwise():
    (grounding, camera), context = nodes(demo="true", tour="true")
    given = parameters(grounding, context)
    assert (given["target_frame"], given["continuous_query"]) == ("map", "all objects")
    assert given["memory"].endswith(".db")
    assert parameters(camera, context)["folder"].endswith("demo/tour")
    (grounding, camera), context = nodes(demo="true", tour="true", memory="/own.db", target_frame="odom", frames="/own")
    given = parameters(grounding, context)
    assert (given["memory"], given["target_frame"]) == ("/own.db", "odom")
    assert parameters(camera, context)["folder"] == "/own"


def test_a_path_may_begin_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.yaml").write_text("{}")
    (grounding, camera), context = nodes(demo="true", frames="~/my frames", params_file="~/own.yaml")
    assert parameters(camera, context)["folder"] == f"{tmp_path}/my frames"
    assert "continuous_query" not in parameters(grounding, context)  # of the shipped parameter file alone
    (_, player), context = nodes(bag="~/room.mcap")
    assert parameters(player, context)["bag"] == f"{tmp_path}/room.mcap"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tour": "true"}, "it needs demo:=true"),
        ({"demo": "maybe"}, "demo must be true or false; got 'maybe'"),
        ({"autostart": "later"}, "autostart must be true or false; got 'later'"),
        ({"dds_profile": "smh"}, "dds_profile must be shm, none or a file; got 'smh'"),
        ({"params_file": "/no/file"}, "params_file must be an existing file; got /no/file"),
        ({"rviz_config": "/no/file"}, "rviz_config must be an existing file; got /no/file"),
        ({"log_level": "loud"}, "log_level must be one of debug, info, warn, error, fatal; got 'loud'"),
        ({"python": "/no/python"}, "python must be an executable interpreter; got '/no/python'"),
        ({"python": "/usr"}, "python must be an executable interpreter; got '/usr'"),
        ({"cameras": "front, front"}, "cameras must be different namespaces; got front, front"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_before_anything_is_started(arguments, words):
    with pytest.raises(ValueError, match=words):
        nodes(**arguments)


def test_the_log_level_reaches_the_grounding_node_alone():
    found, _ = nodes(log_level="debug", demo="true")
    assert [node._Node__ros_arguments for node in found] == [["--log-level", "debug"], None]


def test_rviz_runs_once_a_camera_and_finds_depth_info_where_the_camera_publishes_it(monkeypatch):
    file = runpy.run_path(str(shipped("launch/grounding.launch.py")))
    monkeypatch.setitem(file["checked"].__globals__, "get_package_prefix", lambda name: f"/{name}")
    context = LaunchContext()
    for each in file["ARGUMENTS"]:
        each.execute(context)
    context.launch_configurations.update(rviz="true", cameras="front,rear", depth_info="/d/info")
    windows = [node for node in file["nodes"](context) if getattr(node, "node_executable", "") == "rviz2"]
    assert [window._Node__node_namespace for window in windows] == ["front", "rear"]
    for window in windows:
        remaps = {source[0].text: target[0].text for source, target in window._Node__remappings}
        assert remaps["/depth/camera_info"] == remaps["depth/camera_info"] == "/d/info"


def test_launch_ends_with_the_grounding_node_and_with_its_error():
    end_with = runpy.run_path(str(shipped("launch/grounding.launch.py")))["end_with"]
    running, ending = SimpleNamespace(is_shutdown=False), SimpleNamespace(is_shutdown=True)
    with pytest.raises(RuntimeError, match="the grounding node ended with exit code -9"):
        end_with(SimpleNamespace(returncode=-9), running)
    (action,) = end_with(SimpleNamespace(returncode=0), running)
    assert isinstance(action, EmitEvent)
    assert end_with(SimpleNamespace(returncode=1), ending) == []


def test_the_realsense_driver_that_is_missing_is_named_before_anything_is_started():
    file = runpy.run_path(str(shipped("launch/realsense.launch.py")))
    context = LaunchContext()
    context.launch_configurations["driver"] = "true"
    with pytest.raises(ValueError, match="realsense2_camera is not installed: apt install"):
        file["check"](context)
    context.launch_configurations["driver"] = "false"
    assert file["check"](context) == file["driver"](context) == []
