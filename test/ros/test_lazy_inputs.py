"""Images are subscribed only while queries need them, and no query fails for it."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from n3d_ros.msg import Result
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from n3d_ros.errors import NoImageError
from n3d_ros.grounding_node import GroundingNode
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs import health
from n3d_ros.inputs.health import InputWatch
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import FilteredTopics
from n3d_ros.outputs.diagnostics import input_status
from n3d_ros.playback.camera_node import frame_messages, stamped
from n3d_ros.queries import latest_frame
from n3d_ros.queries.latest_frame import LatestFrame, never
from n3d_ros.queries.outcome import GROUND
from test.ros.ready_node import ReadyPool, end, make_ready

pytestmark = pytest.mark.ros

TOPICS = {"color": "color/image_raw", "depth": "depth/image_raw", "info": "color/camera_info"}
IMAGES = ("color", "depth")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Camera:
    """Publishes colour, depth and camera info from a thread, as a driver does."""

    def __init__(self, client, frame, period_s=0.05, namespace="", info_qos=5):
        self.node, self.period_s = client.node, period_s
        self.messages = frame_messages(frame, "optical")
        self.publishers = {
            name: client.node.create_publisher(
                CameraInfo if name == "info" else Image,
                f"{namespace}{'/' if namespace else ''}{topic}",
                info_qos if name == "info" else QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE),
            )
            for name, topic in TOPICS.items()
        }
        self.silent = set()

    def listeners(self):
        return {name: publisher.get_subscription_count() for name, publisher in self.publishers.items()}

    def show(self):
        now = stamped(self.messages, self.node.get_clock().now())
        for name, publisher in self.publishers.items():
            if name not in self.silent:
                publisher.publish(getattr(now, name))

    @contextmanager
    def running(self):
        done = threading.Event()

        def run():
            while not done.is_set():
                self.show()
                done.wait(self.period_s)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()


def taker(client, topics):
    return LatestFrame(client.node.get_clock(), topics, SimpleNamespace())


def until_resting(client, topics, camera):
    """Puts the images to rest once a set has come, and waits until the publishers know."""

    def came():
        try:
            return topics.newest(20_000_000, "auto")
        except NoImageError:
            return None

    client.until(came)
    topics.rest(0.0)
    client.until(lambda: camera.listeners() == {"color": 0, "depth": 0, "info": 1})


def test_resting_inputs_keep_only_the_camera_info_and_the_next_query_gets_an_image_newer_than_itself(client, frame):
    topics = RgbdTopics(client.node)
    with Camera(client, frame).running() as camera:
        until_resting(client, topics, camera)
        assert topics.newest_header is not None  # a query that fails still has a header
        assert topics.color.drain() == topics.depth.drain() == []
        began = time.time()
        taken = taker(client, topics).take(GroundingParameters(image_timeout=0.0))
        stamp = taken.messages.color.header.stamp
        assert stamp.sec + stamp.nanosec / 1e9 > began - camera.period_s
        assert taken.messages.info.header.stamp == stamp
        assert taken.messages.depth.header.stamp == stamp
        assert camera.listeners() == {"color": 1, "depth": 1, "info": 1}
    topics.close()
    assert topics.newest_header is None


def test_a_query_that_wakes_the_inputs_waits_as_long_as_an_older_image_would_have_served(client, frame):
    """Subscribed all along, it would have had the last image of this slow camera at once."""
    topics = RgbdTopics(client.node)
    camera = Camera(client, frame, period_s=1.2)
    patient = GroundingParameters(image_timeout=0.0, max_image_age=4.0)
    with camera.running():
        until_resting(client, topics, camera)
        for _ in range(3):
            taken = taker(client, topics).take(patient)
            assert taken.age_ms < 4000
            assert taken.messages.depth.header == taken.messages.color.header
            topics.rest(0.0)
            client.until(lambda: camera.listeners()["color"] == 0)
    topics.close()


def test_what_is_known_to_be_missing_is_not_waited_for_longer(client, frame):
    topics = RgbdTopics(client.node)
    camera = Camera(client, frame)
    with camera.running():
        until_resting(client, topics, camera)
    client.node.destroy_publisher(camera.publishers["depth"])
    client.until(lambda: client.node.count_publishers("/depth/image_raw") == 0)
    began = time.monotonic()
    with pytest.raises(NoImageError, match=r"nothing on /depth/image_raw: it has no publisher"):
        taker(client, topics).take(GroundingParameters(image_timeout=0.0, max_image_age=5.0))
    assert time.monotonic() - began < 2.5
    topics.close()


def test_a_camera_that_is_silent_is_named_after_the_longer_wait_and_the_next_query_does_not_wait_again(client, frame):
    topics = RgbdTopics(client.node)
    camera = Camera(client, frame)
    with camera.running():
        until_resting(client, topics, camera)
    frames, impatient = taker(client, topics), GroundingParameters(image_timeout=0.1, max_image_age=0.5)
    began = time.monotonic()
    with pytest.raises(NoImageError, match=r"nothing on /color/image_raw yet from 1 publisher\(s\)"):
        frames.take(impatient)
    assert time.monotonic() - began >= 0.6
    with pytest.raises(NoImageError) as raised:
        topics.newest(0, "auto")
    connected = raised.value.connected
    time.sleep(0.1)
    with pytest.raises(NoImageError) as raised:
        topics.newest(0, "auto")
    assert raised.value.connected == connected  # so the longer wait ends once for all
    topics.close()


def test_the_longer_wait_ends_with_the_time_budget_of_the_query_and_with_its_cancellation(client, frame):
    topics = RgbdTopics(client.node)
    camera = Camera(client, frame)
    with camera.running():
        until_resting(client, topics, camera)
    patient, began = GroundingParameters(image_timeout=60.0, max_image_age=5.0), time.monotonic()
    with pytest.raises(NoImageError):
        taker(client, topics).take(patient, never, lambda _messages: None, began + 0.3)
    assert time.monotonic() - began < 30
    with pytest.raises(latest_frame.QueryCancelledError):
        taker(client, topics).take(patient, lambda: time.monotonic() > began + 0.6)
    topics.close()


def test_inputs_that_were_closed_stay_so_whoever_asks(client, frame):
    topics = RgbdTopics(client.node)
    with Camera(client, frame).running() as camera:
        until_resting(client, topics, camera)
        topics.close()
        topics.rest(0.0)
        with pytest.raises(NoImageError):
            topics.newest(20_000_000, "auto")
        client.until(lambda: camera.listeners() == {"color": 0, "depth": 0, "info": 0})


def test_what_was_published_during_the_rest_counts_neither_as_lost_nor_as_silence(client, frame):
    topics = RgbdTopics(client.node)
    with Camera(client, frame, period_s=0.02).running() as camera:
        until_resting(client, topics, camera)
        time.sleep(1.5)
        taker(client, topics).take(GroundingParameters(image_timeout=0.0))
        assert topics.color.age_s < 1.0
        assert topics.color.statistics.received_share(1) > 0.8
        assert topics.dead_stream() == ""
    topics.close()


def test_inputs_that_wake_ask_at_once_for_what_is_offered_also_a_latched_camera_info(client, frame, monkeypatch):
    monkeypatch.setattr("n3d_ros.inputs.newest_topic.uses_dds_profile", lambda: False)
    topics = RgbdTopics(client.node)
    camera = Camera(client, frame, info_qos=LATCHED)
    camera.show()  # its only camera info
    camera.silent = {"info"}
    with camera.running():
        until_resting(client, topics, camera)
        assert taker(client, topics).take(GroundingParameters(image_timeout=0.0)).messages.info.width == 64
        assert topics.color.is_reliable
        assert topics.depth.is_reliable
    topics.close()


def test_paired_sets_are_forgotten_with_the_rest():
    class Resting(FilteredTopics):
        is_resting = True

        def __init__(self):
            self._lock, self._set, self._is_resting = threading.Lock(), ("color", "depth", "info"), True
            self._synchronizer = SimpleNamespace(lock=threading.Lock(), queues=[{1: "color"}])

    topics = Resting()
    topics.rest(0.0)
    assert (topics._set, topics._synchronizer.queues) == (None, [{}])


@pytest.fixture
def often(monkeypatch):
    """Inputs that are checked at every call."""
    monkeypatch.setattr(health, "LOOK_EVERY_S", 0.0)


def told(watch, lazy=True, busy=False):
    status = input_status("/grounding", watch.report(GroundingParameters(), lazy, busy))
    return status.level, status.message


@pytest.mark.usefixtures("often")
def test_unused_images_rest_after_a_while_unless_a_query_runs_or_they_shall_not(client, frame):
    topics = RgbdTopics(client.node)
    watch = InputWatch(topics, linger_s=0.5)
    with Camera(client, frame).running():
        client.until(lambda: topics.color.drain() and topics.depth.drain() and topics.info.drain())
        for _ in range(12):
            assert told(watch, busy=True) == (DiagnosticStatus.OK, "images and camera info are arriving")
            time.sleep(0.1)
        assert not topics.is_resting
        assert told(watch) == (DiagnosticStatus.OK, "images and camera info are arriving")  # it lingers
        time.sleep(0.6)
        assert told(watch, lazy=False)[1] == "images and camera info are arriving"
        idle = "idle: images are not subscribed until a query needs them (parameter lazy)"
        assert told(watch) == (DiagnosticStatus.OK, idle)
        values = watch.report(GroundingParameters(), True).values
        assert float(values["/color/camera_info age_s"]) < 5
        assert not any(name.startswith("/color/image_raw") for name in values)
        assert told(watch) == (DiagnosticStatus.OK, idle)
        taker(client, topics).take(GroundingParameters())
        assert told(watch)[1] == "images and camera info are arriving"
        time.sleep(0.6)
        assert told(watch)[1] == idle
        assert told(watch, lazy=False)
        assert not topics.is_resting
    topics.close()


@pytest.mark.usefixtures("often")
def test_images_with_a_problem_stay_subscribed_until_it_is_cured(client, frame):
    topics = RgbdTopics(client.node)
    watch = InputWatch(topics, linger_s=0.0)
    camera = Camera(client, frame)
    camera.messages.color.header.frame_id = "camera_link"
    for message in (camera.messages.depth, camera.messages.info):
        message.header.frame_id = "camera_link"
    with camera.running():
        client.until(lambda: topics.color.drain() and topics.depth.drain() and topics.info.drain())
        level, message = told(watch)
        assert (level, "camera_link" in message) == (DiagnosticStatus.WARN, True)
        assert not topics.is_resting
        camera.messages = frame_messages(frame, "optical")
        client.until(lambda: told(watch) and topics.is_resting)
    topics.close()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("what", ["the publisher is gone", "the camera info stops"])
def test_a_camera_that_dies_during_the_rest_is_told_as_before(client, frame, what, monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", 0.5)
    topics = RgbdTopics(client.node)
    watch = InputWatch(topics, linger_s=0.0)
    camera = Camera(client, frame)
    with camera.running():
        client.until(lambda: topics.color.drain() and topics.depth.drain() and topics.info.drain())
        time.sleep(0.5)  # for the rate of the camera info
        client.until(lambda: told(watch) and topics.is_resting)
    if what == "the publisher is gone":
        for publisher in camera.publishers.values():
            client.node.destroy_publisher(publisher)
        reason = "nothing on /color/image_raw: it has no publisher"
    else:
        reason = "nothing on /color/image_raw yet from 1 publisher(s)"
    client.until(lambda: reason in told(watch)[1])
    assert not topics.is_resting
    if what == "the camera info stops":
        with camera.running():
            client.until(lambda: told(watch) and topics.is_resting)
            assert watch._has_pulse  # it was right to suspect
    topics.close()


@pytest.mark.usefixtures("often")
def test_a_camera_info_that_stops_though_the_camera_goes_on_wakes_the_images_once(client, frame, monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", 0.5)
    topics = RgbdTopics(client.node)
    watch = InputWatch(topics, linger_s=0.0)
    with Camera(client, frame).running() as camera:
        client.until(lambda: topics.color.drain() and topics.depth.drain() and topics.info.drain())
        time.sleep(0.5)
        client.until(lambda: told(watch) and topics.is_resting)
        assert watch._has_pulse
        camera.silent = {"info"}
        client.until(lambda: told(watch) and not topics.is_resting)
        client.until(lambda: told(watch) and topics.is_resting)
        time.sleep(0.6)
        for _ in range(5):
            assert told(watch)[1].startswith("idle")
    topics.close()


@pytest.mark.parametrize(
    ("parameters", "may_rest"),
    [
        ({}, True),
        ({"lazy": False}, False),
        ({"max_image_age": 0.0}, False),  # the last image of a paused bag is wanted
        ({"max_image_age": 60.0}, False),
        ({"max_image_age": 5.0}, True),
    ],
)
def test_images_rest_only_where_a_newer_one_serves(parameters, may_rest):
    assert GroundingParameters(**parameters).may_rest is may_rest


def lazy_node(client, weightless, namespace="", **parameters):
    """An active node on topics, without waiting for its linger; its model has no weights."""
    node = make_ready(client, weightless, None, namespace=namespace, max_image_age=1.0, image_timeout=0.0, **parameters)
    node._watch._linger_s = 0.3
    return node


def rests(node):
    return node._topics is not None and node._topics.is_resting


@pytest.mark.usefixtures("often")
def test_the_first_query_of_an_idle_node_is_answered_and_so_are_those_after_every_transition(client, weightless, frame):
    node = lazy_node(client, weightless)
    try:
        with Camera(client, frame).running() as camera:
            for _ in range(2):
                client.until(lambda: rests(node))
                asked = node._desk.ask("mug", GROUND)
                result = client.until(lambda asked=asked: asked.done() and asked.result().result)
                assert result.status == Result.OK, result.message
                client.until(lambda: rests(node))
                node.trigger_deactivate()
                client.until(lambda: camera.listeners() == {"color": 0, "depth": 0, "info": 0})
                node.trigger_activate()
                node._watch._linger_s = 0.3
            client.until(lambda: rests(node))
        asked = node._desk.ask("mug", GROUND)
        result = client.until(lambda: asked.done() and asked.result().result)
        assert (result.status, result.header.frame_id) == (Result.NO_IMAGE, "optical"), result.message
    finally:
        end(node)


@pytest.mark.usefixtures("often")
def test_each_camera_rests_by_itself_and_a_continuous_query_keeps_its_own_awake(client, weightless, frame):
    front = lazy_node(client, weightless, "/front")
    rear = lazy_node(client, weightless, "/rear", continuous_query="mug", continuous_rate=10.0)
    rear._watch._linger_s = 3.0
    try:
        with Camera(client, frame, namespace="/front").running(), Camera(client, frame, namespace="/rear").running():
            client.until(lambda: rests(front) and rear._desk.log.statuses[Result.OK] > 2, 60.0)
            assert not rests(rear)
            rear.set_parameters([Parameter("continuous_query", value="")])
            client.until(lambda: rests(rear))
            rear.set_parameters([Parameter("lazy", value=False)])
            client.until(lambda: not rests(rear))
            assert rests(front)
    finally:
        end(front)
        end(rear)


@pytest.mark.usefixtures("often")
def test_under_simulated_time_the_last_image_of_a_paused_bag_is_kept(client, weightless, frame):
    overrides = [Parameter("use_sim_time", value=True)]
    node = GroundingNode(ReadyPool(weightless), context=client.node.context, parameter_overrides=overrides)
    client.executor.add_node(node)
    try:
        client.until(lambda: node.get_clock().ros_time_is_active)
        assert not node._may_rest
        node.set_parameters([Parameter("use_sim_time", value=False)])
        assert node._may_rest
    finally:
        end(node)


@pytest.mark.usefixtures("often")
def test_queries_that_come_while_the_images_are_put_to_rest_are_all_answered(client, weightless, frame):
    node = lazy_node(client, weightless)
    statuses = []
    try:
        with Camera(client, frame, period_s=0.02).running(), client.spinning():
            time.sleep(0.5)
            resting = threading.Event()

            def keep_resting():
                while not resting.wait(0.003):
                    node._topics.rest(0.1)

            thread = threading.Thread(target=keep_resting)
            thread.start()
            for _ in range(15):
                done = threading.Event()
                asked = node._desk.ask("mug", GROUND)
                asked.add_done_callback(lambda _asked, done=done: done.set())
                assert done.wait(20.0)
                statuses.append(asked.result().result.status)
            resting.set()
            thread.join()
    finally:
        end(node)
    assert statuses == [Result.OK] * 15
