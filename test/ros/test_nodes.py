"""Camera and grounding node as processes, over DDS: what a client sees."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from n3d_ros.action import Query
from n3d_ros.msg import Answer, Result
from n3d_ros.srv import Ask, Ground
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray, VisionInfo
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.geometry.boxes import rotation_of
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_ros.node.shipped import demo_frames
from test.ros.domains import claim_domain

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("camera")]


def ground(client, text="red mug"):
    return client.call(Ground, "/grounding/ground", text=text).result


def set_parameter(client, name, value, node="/grounding"):
    parameter = Parameter(name, value=value).to_parameter_msg()
    return client.call(SetParameters, f"{node}/set_parameters", parameters=[parameter]).results[0]


def settled(client):
    """Waits for the camera to be heard."""
    client.until(lambda: ground(client).status == Result.OK, 60)


def stamp_of(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_a_result_carries_the_stamp_and_frame_of_an_image_that_was_published(active):
    settled(active)
    infos = active.listen(CameraInfo, "/color/camera_info")
    active.until(lambda: len(infos) > 3)
    result = ground(active)
    active.until(lambda: stamp_of(infos[-1]) > stamp_of(result))
    assert result.status == Result.OK
    assert result.header.frame_id == "camera_color_optical_frame"
    assert stamp_of(result) in {stamp_of(info) for info in infos}
    assert result.detections.header == result.header
    assert [stage.stage for stage in result.times][:2] == ["image", "prepare"]
    assert all(stage.seconds >= 0 for stage in result.times)


def test_every_form_of_the_result_is_published_with_one_stamp(active):
    settled(active)
    assert set_parameter(active, "publish_object_clouds", True).successful
    kinds = {
        "detections": Detection3DArray,
        "markers": MarkerArray,
        "annotated_image": Image,
        "object_clouds": PointCloud2,
    }
    heard = {name: active.listen(kind, f"/grounding/{name}") for name, kind in kinds.items()}
    active.until(lambda: all(active.node.count_publishers(f"/grounding/{name}") for name in kinds))
    time.sleep(1.0)  # the node has to discover the subscriptions too
    result = ground(active)
    active.until(lambda: all(heard.values()))
    detections, markers = heard["detections"][-1], heard["markers"][-1].markers
    assert detections == result.detections
    for detection in detections.detections:
        assert len(detection.results) == 1
        assert detection.results[0].pose.pose == detection.bbox.center
        assert 0 <= detection.results[0].hypothesis.score <= 1
    assert markers[0].action == Marker.DELETEALL
    assert [marker.ns for marker in markers[1:3]] == ["edges", "labels"][: len(markers) - 1]
    assert len(markers) == 1 + 2 * len(detections.detections)
    picture = heard["annotated_image"][-1]
    assert (picture.width, picture.height, picture.encoding) == (160, 120, "rgb8")
    for message in (detections, markers[0], picture, heard["object_clouds"][-1]):
        assert stamp_of(message) == stamp_of(result)


def test_the_model_is_told_to_those_who_come_later(active):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = active.listen(VisionInfo, "/grounding/vision_info", latched)
    (info,) = active.until(lambda: heard)
    assert info.method.startswith("N3D-VLM n3d-tiny on torch (cpu): n3d-tiny knows 13 classes of rendered ")


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", Result.EMPTY_TEXT, "red mug"),
        (" \n\t", Result.EMPTY_TEXT, "red mug"),
        ("mug " * 5000, Result.TEXT_TOO_LONG, ""),
    ],
)
def test_texts_that_cannot_be_asked_have_their_codes(active, text, status, words):
    settled(active)
    result = ground(active, text)
    assert result.status == status
    assert result.message
    assert words in result.message


def test_a_question_is_answered_with_a_verdict(active):
    settled(active)
    answer = active.call(Ask, "/grounding/ask", question="How far is the red mug from the blue can?").answer
    assert answer.result.status == Result.OK, answer.result.message
    assert answer.question == "How far is the red mug from the blue can?"
    assert answer.verdict in (Answer.VERIFIED, Answer.CONTRADICTED, Answer.UNVERIFIABLE, Answer.NOT_SEEN)
    assert answer.verdict_reason


def send_goal(client, text="all objects", mode=Query.Goal.GROUND, actions=None):
    """(handle, feedback list) of an accepted goal, or (None, []) of a rejected one."""
    actions = actions or ActionClient(client.node, Query, "/grounding/query")
    assert actions.wait_for_server(20)
    feedback = []
    sent = actions.send_goal_async(Query.Goal(text=text, mode=mode), feedback_callback=feedback.append)
    client.until(sent.done)
    return (sent.result() if sent.result().accepted else None), feedback


def test_an_action_gives_feedback_and_a_result(active):
    settled(active)
    actions = ActionClient(active.node, Query, "/grounding/query")

    def is_heard():  # DDS may match the feedback of a new client later than its services
        goal, feedback = send_goal(active, "mug", actions=actions)
        active.until(goal.get_result_async().done, 60)
        return feedback

    active.until(is_heard, 60)
    goal, feedback = send_goal(active, actions=actions)
    done = goal.get_result_async()
    active.until(done.done, 60)
    assert done.result().status == GoalStatus.STATUS_SUCCEEDED
    result = done.result().result.answer.result
    assert result.status == Result.OK
    assert feedback[0].feedback.stage == "image"
    stages = list(dict.fromkeys(f.feedback.stage for f in feedback))
    assert stages == [stage.stage for stage in result.times]  # one set of names
    assert stages[-1] == "ground"

    def told():
        return [box.bbox for f in feedback for box in f.feedback.new_detections]

    active.until(lambda: len(told()) >= len(result.detections.detections))  # the result may come before the last of it
    assert told() == [box.bbox for box in result.detections.detections]


def test_an_action_is_cancelled_at_the_next_step(active):
    settled(active)
    goal, feedback = send_goal(active, "; ".join(["all objects"] * 16))
    active.until(lambda: any(f.feedback.stage == "ground" for f in feedback), 60)
    began = time.monotonic()
    active.until(goal.cancel_goal_async().done)
    done = goal.get_result_async()
    active.until(done.done)
    assert done.result().status == GoalStatus.STATUS_CANCELED
    assert done.result().result.answer.result.status == Result.CANCELLED
    assert time.monotonic() - began < 5
    assert ground(active).status == Result.OK


def test_a_goal_that_waits_is_cancelled_at_once(active):
    settled(active)
    first, _ = send_goal(active, "; ".join(["all objects"] * 16))
    second, _ = send_goal(active, "mug")
    running, waiting = first.get_result_async(), second.get_result_async()
    active.until(second.cancel_goal_async().done)
    active.until(waiting.done)
    assert not running.done()
    assert waiting.result().status == GoalStatus.STATUS_CANCELED
    assert waiting.result().result.answer.result.status == Result.CANCELLED
    active.until(first.cancel_goal_async().done)
    active.until(running.done)
    assert running.result().status == GoalStatus.STATUS_CANCELED


def test_an_unknown_mode_is_rejected(active):
    assert send_goal(active, mode=7) == (None, [])


def test_with_policy_reject_the_second_query_is_busy_and_with_replace_the_first_is_cancelled(active):
    settled(active)
    service = active.node.create_client(Ground, "/grounding/ground")
    service.wait_for_service()
    for policy, statuses in (("reject", {Result.OK, Result.BUSY}), ("replace", {Result.REPLACED, Result.OK})):
        assert set_parameter(active, "queue_policy", policy).successful
        futures = [service.call_async(Ground.Request(text="; ".join(["all objects"] * 4))) for _ in range(2)]
        active.until(lambda futures=futures: all(f.done() for f in futures), 90)
        assert {f.result().result.status for f in futures} == statuses
        assert all(f.result().result.message for f in futures if f.result().result.status != Result.OK)
    assert set_parameter(active, "queue_policy", "wait").successful


def test_a_continuous_query_is_set_by_topic_and_its_ids_stay(active):
    settled(active)
    heard = active.listen(Detection3DArray, "/grounding/detections")
    assert set_parameter(active, "continuous_rate", 20.0).successful
    publisher = active.node.create_publisher(String, "/grounding/continuous_query", 1)
    active.until(lambda: publisher.get_subscription_count())
    publisher.publish(String(data="all objects"))
    active.until(lambda: len(heard) >= 3 and any(message.detections for message in heard), 120)
    publisher.publish(String(data=""))
    for message in heard:
        names = [detection.id for detection in message.detections]
        assert all(names)
        assert len(set(names)) == len(names)
    active.until(lambda: ground(active).status == Result.OK)
    time.sleep(0.5)
    active.executor.spin_once(0.1)
    assert all(d.id == "" for d in heard[-1].detections), "a single query gives no ids"


def test_parameters_are_described_and_bad_values_refused_with_the_reason(active):
    names = ["queue_policy", "max_image_age", "autostart", "model"]
    policy, age, autostart, _ = active.call(
        DescribeParameters, "/grounding/describe_parameters", names=names
    ).descriptors
    assert "reject" in policy.additional_constraints
    assert (age.floating_point_range[0].from_value, age.floating_point_range[0].to_value) == (0.0, 3600.0)
    assert (autostart.read_only, policy.read_only) == (True, False)
    assert all(d.description for d in (policy, age, autostart))
    for name, value, words in (
        ("queue_policy", "sometimes", "must be one of reject, replace, wait; got 'sometimes'"),
        ("max_image_age", -1.0, "max_image_age"),
        ("autostart", False, "autostart"),
        ("model", "/nowhere", "deactivate and clean up"),
        ("depth_transport", "compressedDepth", "deactivate the node first"),
    ):
        answer = set_parameter(active, name, value)
        assert not answer.successful
        assert words in answer.reason


def test_diagnostics_tell_model_inputs_and_queries(active):
    settled(active)
    heard = active.listen(DiagnosticArray, "/diagnostics")

    def of_inputs():
        statuses = {s.name: s for m in heard[-1:] for s in m.status}
        return statuses if "arriving" in getattr(statuses.get("/grounding: inputs"), "message", "") else None

    statuses = active.until(of_inputs, 60)
    values = {v.key: v.value for s in statuses.values() for v in s.values}
    assert values["model"] == "n3d-tiny"
    assert float(values["memory_rss_mb"]) > 50
    assert float(values["/color/image_raw published_hz"]) > 5
    assert float(values["/color/image_raw received_share"]) > 0.9
    assert int(values["count OK"]) >= 1
    assert "latency_ms p95" in values


def change_state(client, transition):
    request = Transition(id=transition)
    return client.call(ChangeState, "/grounding/change_state", 120.0, transition=request).success


def test_the_lifecycle_frees_and_takes_again_and_says_so_meanwhile(active):
    settled(active)
    assert change_state(active, Transition.TRANSITION_DEACTIVATE)
    result = ground(active)
    assert (result.status, "not active" in result.message) == (Result.NOT_ACTIVE, True)
    assert change_state(active, Transition.TRANSITION_CLEANUP)
    assert set_parameter(active, "model", "/nowhere").successful
    assert not change_state(active, Transition.TRANSITION_CONFIGURE)
    assert "/nowhere" in ground(active).message
    assert set_parameter(active, "model", "n3d-tiny").successful
    assert change_state(active, Transition.TRANSITION_CONFIGURE)
    assert change_state(active, Transition.TRANSITION_ACTIVATE)
    settled(active)


def test_a_thousand_queries_at_once_are_all_answered(active):
    settled(active)
    assert set_parameter(active, "queue_size", 4).successful
    service = active.node.create_client(Ground, "/grounding/ground", qos_profile=QoSProfile(depth=2000))
    service.wait_for_service()
    futures = [service.call_async(Ground.Request(text="mug")) for _ in range(1000)]
    active.until(lambda: sum(f.done() for f in futures) >= 1, 60)
    active.until(lambda: all(f.done() for f in futures), 120)
    statuses = [f.result().result.status for f in futures]
    assert set(statuses) <= {Result.OK, Result.BUSY}
    assert statuses.count(Result.OK) >= 1
    assert set_parameter(active, "queue_size", 1000).successful


@pytest.fixture(scope="module")
def demo_report(model, tmp_path_factory):
    """The JSON line of the demo on the shipped frames, as processes in a domain without other cameras."""
    command = [sys.executable, "-m", "n3d_ros.demo.run", "--model", model, "--backend", "torch"]
    command += ["--output", str(tmp_path_factory.mktemp("demo"))]
    environment = os.environ | {"ROS_DOMAIN_ID": claim_domain()}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.stdout, ran.stderr[-2000:]
    return {"code": ran.returncode, **json.loads(ran.stdout.splitlines()[-1])}


def test_the_demo_counts_what_the_network_found_and_draws_it(demo_report):
    truth = [FrameFolder(demo_frames()).truth(i) for i in range(len(FrameFolder(demo_frames())))]
    assert demo_report["wanted"] == sum(len(g["objects"]) for t in truth for g in t.groundings)
    assert demo_report["code"] == (0 if demo_report["found"] * 2 >= demo_report["wanted"] else 1)
    assert len(demo_report["pictures"]) == len(truth)
    assert all(Path(picture).stat().st_size > 1000 for picture in demo_report["pictures"])


def test_the_demo_finds_at_least_half_of_the_true_boxes(demo_report):
    assert demo_report["found"] * 2 >= demo_report["wanted"] > 0


def test_a_box_on_the_wire_is_the_box_that_was_decoded():
    from n3d_core.geometry.boxes import OrientedBox
    from n3d_ros.outputs.messages import detection_message, header_message

    box = OrientedBox("red mug", (0.1, 0.2, 0.9), (0.08, 0.1, 0.09), 0.75, tuple(np.diag([1.0, 2.0, 3.0]).reshape(-1)))
    out = detection_message(box, header_message(2_000_000_005, "optical"), "7")
    assert (out.header.stamp.sec, out.header.stamp.nanosec, out.header.frame_id, out.id) == (2, 5, "optical", "7")
    assert out.results[0].hypothesis.class_id == "red mug"
    covariance = out.results[0].pose.covariance.reshape(6, 6)
    np.testing.assert_allclose(np.diag(covariance), [1, 2, 3, *[np.pi**2] * 3])  # a rotation is not measured
    unknown = detection_message(OrientedBox("mug", (0, 0, 1), (1, 1, 1)), header_message(0, "optical")).results[0]
    assert (np.diag(unknown.pose.covariance.reshape(6, 6)) >= 1.0).all()  # 0 would be certainty
    center, size = out.bbox.center.position, out.bbox.size
    assert (center.x, center.y, center.z, size.x, size.y, size.z) == (0.1, 0.2, 0.9, 0.08, 0.1, 0.09)
    assert out.bbox.center.orientation.w == 1.0


def test_the_camera_of_the_demo_says_where_it_looks_to_those_who_come_later(client):
    messages = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = client.listen(messages.TFMessage, "/tf_static", latched)
    (message,) = client.until(lambda: heard)
    (transform,) = message.transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera_link", "camera_color_optical_frame")
    turn = transform.transform.rotation
    forward = rotation_of((turn.x, turn.y, turn.z, turn.w)) @ [0.0, 0.0, 1.0]
    np.testing.assert_allclose(forward, [1.0, 0.0, 0.0], atol=1e-9)
