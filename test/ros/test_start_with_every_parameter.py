"""Nodes start with any parameter at any allowed value, alone and all together, and run their lifecycle with them."""

from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
from lifecycle_msgs.srv import ChangeState, GetState
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.grounding_node import GroundingNode
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.shipped import shipped
from n3d_ros.page.page_node import PageNode, PageParameters
from n3d_ros.playback.bag_node import BagNode, BagParameters
from n3d_ros.playback.camera_node import CameraNode, CameraParameters

pytestmark = pytest.mark.ros

# Texts whose allowed values no list of choices gives.
TEXTS = {
    "model": str(shipped("models/n3d-tiny")),
    "device": "cpu",
    "image_size": "160x120",
    "monocular_depth": "",  # needs another model's weights
    "continuous_query": "mug",
    "gravity_frame": "odom",
    "target_frame": "map",
    "memory": "",  # a file of its own for each process, below
    "memory_frame": "odom",
    "odom_frame": "odometry",
    "map_frame": "world",
    "folder": str(shipped("demo/frames")),
    "frame_id": "camera",
    "parent_frame": "base_link",
    "bag": str(shipped("demo/bag")),
    "color_topic": "/color/image_raw",
    "depth_topic": "/depth/image_raw",
    "grounding": "other",
}
NUMBERS = {"port": 0, "frame": 1, "max_depth": 30.0, "min_depth": 0.5}
# What stands in where the real one is not installed: enough to be imported, subscribed and asked in vain.
STAND_INS = {
    "tf2_ros": """
class TransformException(Exception):
    pass

class Buffer:
    def __init__(self, node=None):
        pass
    def clear(self):
        pass
    def can_transform(self, *_arguments):
        return False
    def lookup_transform(self, *_arguments):
        raise TransformException("nobody publishes it")
    def set_transform(self, *_arguments):
        pass
    def set_transform_static(self, *_arguments):
        pass
""",
    "message_filters": """
import threading

class SimpleFilter:
    def signalMessage(self, message):
        pass

class ApproximateTimeSynchronizer:
    def __init__(self, filters, queue_size, slop):
        self.lock, self.queues, self.slop = threading.Lock(), [{} for _ in filters], slop
    def registerCallback(self, callback):
        pass
""",
}


def other_value(each):
    """An allowed value other than the default."""
    rule, default = each.metadata, each.default
    if each.name in TEXTS or each.name in NUMBERS:
        return {**TEXTS, **NUMBERS}[each.name]
    if rule["choices"]:
        return next(choice for choice in rule["choices"] if choice not in (default, "onnx", "tensorrt"))
    if isinstance(default, bool):
        return not default
    value = rule["low"] + 0.4 * (min(rule["high"], 100.0) - rule["low"])
    return round(value) if isinstance(default, int) else value


ALL = {
    kind: {each.name: other_value(each) for each in fields(kind)}
    for kind in (GroundingParameters, CameraParameters, BagParameters, PageParameters)
}
NODES = {
    GroundingParameters: GroundingNode,
    CameraParameters: CameraNode,
    BagParameters: BagNode,
    PageParameters: PageNode,
}


def test_every_parameter_has_another_value_here():
    for kind, values in ALL.items():
        same = {each.name for each in fields(kind) if values[each.name] == each.default}
        assert same <= {"monocular_depth", "memory"}
        assert kind(**values) != kind()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, values in ALL.items() for name in values],
    ids=lambda each: each if isinstance(each, str) else each.__name__.removesuffix("Parameters").lower(),
)
def test_a_node_is_made_with_one_parameter_at_another_value(client, kind, name):
    overrides = [Parameter(name, value=ALL[kind][name])]
    overrides += [Parameter("port", value=0)] if kind is PageParameters and name != "port" else []
    node = NODES[kind](context=client.node.context, parameter_overrides=overrides)
    try:
        assert getattr(node._settings.value, name) == ALL[kind][name]
    finally:
        node.close()
        node.destroy_node()


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """What a process needs to import stand-ins for packages that are not installed."""
    for name, text in STAND_INS.items():
        if find_spec(name) is None:
            (tmp_path / f"{name}.py").write_text(text)
    return {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}


def test_a_process_with_every_parameter_at_another_value_goes_through_its_lifecycle(client, model, stand_ins, tmp_path):
    values = ALL[GroundingParameters] | {"backend": "torch:fp32", "image_timeout": 0.5, "autostart": False}
    values["memory"] = str(tmp_path / "objects.db")
    with NodeProcess("n3d_ros.grounding_node", values, environment=stand_ins) as node:

        def state():
            assert node.exit_code is None, "the node ended"
            return client.call(GetState, "/grounding/get_state").current_state.label

        def move(label):
            request = ChangeState.Request()
            request.transition.label = label
            return client.call(ChangeState, "/grounding/change_state", transition=request.transition).success

        assert state() == "unconfigured"
        told = client.call(GetParameters, "/grounding/get_parameters", names=list(values)).values
        assert dict(zip(values, map(parameter_value_to_python, told), strict=True)) == values
        for _ in range(2):
            assert move("configure")
            assert move("activate")
            assert state() == "active"
            result = client.call(Ground, "/grounding/ground", text="mug").result
            assert result.status == Result.NO_IMAGE, result.message
            assert move("deactivate")
            assert move("cleanup")
        assert state() == "unconfigured"
        assert move("shutdown")
        assert node.interrupt() == 0


@pytest.mark.parametrize("value", [False, "off", "none"])
def test_no_refinement_may_be_spelled_as_yaml_reads_it(client, value):
    node = GroundingNode(context=client.node.context, parameter_overrides=[Parameter("refine", value=value)])
    try:
        assert node._settings.value.refine == node.get_parameter("refine").value == "none"
        for set_to, kept in (("depth", "depth"), (value, "none"), (True, "none"), (3, "none")):
            answer = node.set_parameters([Parameter("refine", value=set_to)])[0]
            assert answer.successful == (set_to in ("depth", value)), answer.reason
            assert node._settings.value.refine == node.get_parameter("refine").value == kept
    finally:
        node.close()
        node.destroy_node()


def test_the_command_line_and_a_client_may_both_say_off(client):
    with NodeProcess("n3d_ros.grounding_node", {"autostart": False, "refine": False}) as node:
        parameter = Parameter("refine", value=False).to_parameter_msg()
        answer = client.call(SetParameters, "/grounding/set_parameters", parameters=[parameter]).results[0]
        assert answer.successful, answer.reason
        (value,) = client.call(GetParameters, "/grounding/get_parameters", names=["refine"]).values
        assert value.string_value == "none"
        assert node.interrupt() == 0
