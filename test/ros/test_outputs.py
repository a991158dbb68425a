"""Boxes as markers, pictures and clouds."""

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from n3d_ros.msg import Answer, Result, Value
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from n3d_core.display.draw import BODY_UP, class_color, draw_boxes
from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.reasoning.audit import Verdict
from n3d_core.reasoning.question import Kind
from n3d_core.reasoning.question import Value as CoreValue
from n3d_core.results import Answer as CoreAnswer
from n3d_ros.errors import NoImageError
from n3d_ros.outputs.markers import marker_array, object_clouds
from n3d_ros.outputs.messages import (
    VERDICTS,
    answer_message,
    detections_message,
    failure_message,
    value_message,
)
from n3d_ros.outputs.publishers import Outputs

BOX = OrientedBox("mug", (0.1, 0.0, 1.5), (0.2, 0.1, 0.3), 0.87)


def test_markers_clear_first_and_show_twelve_edges_and_a_label():
    clear, edges, label = marker_array([BOX], Header(frame_id="optical"), lifetime_s=1.5).markers
    assert clear.action == Marker.DELETEALL
    assert clear.header.frame_id == edges.header.frame_id == "optical"
    assert (edges.type, len(edges.points)) == (Marker.LINE_LIST, 24)
    lengths = [
        np.linalg.norm([a.x - b.x, a.y - b.y, a.z - b.z])
        for a, b in zip(edges.points[::2], edges.points[1::2], strict=True)
    ]
    assert sorted(np.round(lengths, 6)) == [0.1] * 4 + [0.2] * 4 + [0.3] * 4
    assert (edges.pose.position.x, edges.pose.position.z) == (0.1, 1.5)
    assert label.text == "mug 0.87\n0.20 x 0.10 x 0.30 m"
    assert label.scale.x == pytest.approx(label.scale.z / 2)
    assert label.pose.position.y < BOX.center[1] - BOX.size[1] / 2 - label.scale.z  # y is down: above the box
    level = marker_array([BOX], Header(frame_id="map"), up=BODY_UP).markers[2].pose.position
    assert level.z > BOX.center[2] + BOX.size[2] / 2
    assert (level.x, level.y) == pytest.approx(BOX.center[:2])
    assert (edges.lifetime.sec, edges.lifetime.nanosec) == (1, 500_000_000)
    assert edges.color.r == pytest.approx(class_color("mug")[0])


def test_no_boxes_still_clear_and_publish_an_empty_array():
    assert [m.action for m in marker_array([], Header()).markers] == [Marker.DELETEALL]
    assert detections_message([], Header(frame_id="optical")).header.frame_id == "optical"


def test_a_cloud_holds_the_measured_points_of_each_box_with_their_colour(frame):
    wall = OrientedBox("wall", (0, 0, 1.5), (100, 100, 0.1))
    spot = OrientedBox("spot", tuple(float(v) for v in frame.points[20, 30]), (0.001, 0.001, 0.001))
    cloud = object_clouds(frame, [wall, spot], Header(), margin=0.0)
    names = [f.name for f in cloud.fields]
    assert names == ["x", "y", "z", "rgb", "object"]
    points = np.frombuffer(bytes(cloud.data), [(n, "<f4" if n in "xyz" else "<u4") for n in names])
    assert len(points) == cloud.width == frame.valid.sum() + 1
    assert np.unique(points["object"]).tolist() == [0, 1]
    last = points[-1]
    np.testing.assert_allclose([last["x"], last["y"], last["z"]], frame.points[20, 30])
    red, green, blue = (int(v) for v in frame.color[20, 30])
    assert last["rgb"] == red << 16 | green << 8 | blue


def test_a_drawn_box_has_its_colour_where_its_edges_are_and_leaves_the_image_alone(frame):
    before = frame.color.copy()
    drawn = draw_boxes(frame.color, frame.camera, [OrientedBox("mug", (0, 0.1, 1.5), (0.6, 0.4, 0.2))])
    np.testing.assert_array_equal(frame.color, before)
    paint = np.round(255 * np.array(class_color("mug"))).astype(int)
    close = np.abs(drawn.astype(int) - paint).max(axis=-1) < 40
    assert close.sum() > 30


def test_boxes_behind_and_around_the_camera_are_drawn_without_trouble(frame):
    behind = OrientedBox("behind", (0, 0, -1), (0.2, 0.2, 0.2))
    around = OrientedBox("around", (0, 0, 0), (1, 1, 1))
    assert draw_boxes(frame.color, frame.camera, [behind, around]).shape == frame.color.shape
    np.testing.assert_array_equal(draw_boxes(frame.color, frame.camera, [behind]), frame.color)


@pytest.fixture
def make_node(client):
    """Makes nodes with parameters that were given at start."""
    nodes = []

    def make(**overrides):
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(LifecycleNode("shown", context=client.node.context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.ros
def test_the_qos_of_an_output_is_what_its_parameters_say_and_that_of_the_others_stays(make_node):
    image = "qos_overrides./shown/annotated_image.publisher"
    info = "qos_overrides./shown/vision_info.publisher"
    for overrides in ({f"{image}.reliability": "best_effort", f"{image}.depth": 5, f"{info}.depth": 3}, {}):
        node = make_node(**overrides)
        Outputs(node)
        profiles = {each.topic_name: each.qos_profile for each in node.publishers}
        shown, told = profiles["/shown/annotated_image"], profiles["/shown/vision_info"]
        wanted = (ReliabilityPolicy.BEST_EFFORT, 5, 3) if overrides else (ReliabilityPolicy.RELIABLE, 1, 1)
        assert (shown.reliability, shown.depth, told.depth) == wanted
        assert told.durability.name == "TRANSIENT_LOCAL"
        assert (profiles["/shown/detections"].reliability, profiles["/shown/detections"].depth) == (
            ReliabilityPolicy.RELIABLE,
            10,
        )


@pytest.mark.ros
@pytest.mark.parametrize(("policy", "value", "words"), [("depth", "many", "STRING"), ("reliability", "often", "often")])
def test_qos_that_an_output_cannot_have_is_refused_by_name(make_node, policy, value, words):
    node = make_node(**{f"qos_overrides./shown/markers.publisher.{policy}": value})
    with pytest.raises(ConfigError, match=rf"cannot publish /shown/markers: .*{words}.*/shown/markers.publisher"):
        Outputs(node)


def test_what_ctrl_c_breaks_while_the_outputs_are_made_is_no_refusal():
    def make(*_arguments, **_options):
        raise RuntimeError("the context is not valid")

    node = SimpleNamespace(create_lifecycle_publisher=make, context=SimpleNamespace(ok=lambda: False))
    with pytest.raises(RuntimeError, match="the context is not valid"):
        Outputs(node)


def test_an_answer_carries_its_value_its_own_words_and_its_verdict():
    value = CoreValue("length", number=0.42, objects=(1, 0))
    answer = CoreAnswer("How far?", "0.42 m", "0.5 m", "because", "contradicted", "the boxes are 0.42 m apart", value)
    message = answer_message(Result(status=Result.OK), "How far?", answer, value)
    assert (message.question, message.answer, message.said, message.reasoning) == (
        "How far?",
        "0.42 m",
        "0.5 m",
        "because",
    )
    assert (message.verdict, message.verdict_reason) == (Answer.CONTRADICTED, "the boxes are 0.42 m apart")
    assert (message.value.kind, message.value.number, list(message.value.objects)) == (Value.LENGTH, 0.42, [1, 0])


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_value_has_a_constant_of_its_own(kind):
    point = (1.0, 2.0, 3.0)
    message = value_message(CoreValue(kind, truth=True, number=2.0, objects=(3,), point=point))
    assert message.kind == getattr(Value, kind.upper())
    assert (message.truth, message.number, list(message.objects)) == (True, 2.0, [3])
    assert (message.point.x, message.point.y, message.point.z) == point


def test_every_verdict_has_a_constant_and_a_failed_query_has_none():
    assert [VERDICTS[name] for name in get_args(Verdict)] == [
        getattr(Answer, name.upper()) for name in get_args(Verdict)
    ]
    failed = answer_message(failure_message("How far?", NoImageError("nothing came"), Header()), "How far?")
    assert (failed.verdict, failed.value.kind, failed.result.status) == (Answer.UNSET, Value.NONE, Result.NO_IMAGE)
    assert (failed.result.text, failed.result.message) == ("How far?", "nothing came")
