"""What is subscribed, and when: the camera info of depth only for depth that is not registered."""

import time
from types import SimpleNamespace

import pytest
import rclpy.time
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from n3d_core.errors import ConfigError
from n3d_core.messages.assembly import needs_depth_info
from n3d_ros.errors import NoImageError
from n3d_ros.frames.placement import frame_doubts
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs import newest_topic, rgbd_topics
from n3d_ros.inputs.health import input_report
from n3d_ros.inputs.rgbd_topics import RgbdTopics, explain_silence, loss_cure
from n3d_ros.playback.camera_node import frame_messages, stamped

INPUTS = {"color": Image, "depth": Image, "info": CameraInfo, "depth_info": CameraInfo}
NAMES = ("color/image_raw", "depth/image_raw", "color/camera_info", "depth/camera_info")


@pytest.mark.parametrize(
    ("registration", "changes", "needed"),
    [
        ("auto", {}, False),
        ("auto", {"width": 32}, True),
        ("auto", {"frame_id": "depth_optical"}, True),
        ("auto", {"frame_id": ""}, False),
        ("aligned", {"frame_id": "depth_optical"}, False),
        ("register", {}, True),
    ],
)
def test_the_camera_info_of_depth_is_needed_where_size_frame_or_parameter_say_so(frame, registration, changes, needed):
    messages = frame_messages(frame, "optical")
    messages.depth.width = changes.get("width", messages.depth.width)
    messages.depth.header.frame_id = changes.get("frame_id", "optical")
    assert needs_depth_info(messages.color, messages.depth, registration) is needed


def test_of_compressed_images_the_sizes_are_not_known():
    assert needs_depth_info(Image(), CompressedImage(), "auto")


@pytest.mark.parametrize(("distribution", "vendor"), [("jazzy", "FASTRTPS"), ("kilted", "FASTDDS")])
def test_the_cure_of_lost_images_names_the_profile_as_the_distribution_does(
    monkeypatch, without_profile, distribution, vendor
):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    silent = SimpleNamespace(name="/color/image_raw", publishers=1, incompatible=lambda: "", is_reliable=True)
    told = explain_silence([silent])
    assert told.startswith("nothing on /color/image_raw yet from 1 publisher(s); if the camera does publish, ")
    assert f"or {vendor}_DEFAULT_PROFILES_FILE=config/fastdds_shm.xml for camera and node" in told


@pytest.mark.ros
def test_the_camera_info_of_depth_is_subscribed_when_depth_turns_out_not_to_be_registered(client, frame):
    topics = RgbdTopics(client.node)
    publishers = [
        client.node.create_publisher(kind, name, QoSProfile(depth=2))
        for kind, name in zip(INPUTS.values(), NAMES, strict=True)
    ]
    client.until(lambda: all(publisher.get_subscription_count() for publisher in publishers[:3]))
    messages = frame_messages(frame, "optical")

    def newest():
        now = client.node.get_clock().now()
        for publisher, name in zip(publishers, INPUTS, strict=False):
            publisher.publish(getattr(stamped(messages, now), name))
        try:
            return topics.newest(20_000_000, "auto")
        except NoImageError:
            return None

    assert client.until(newest).depth_info is None
    assert publishers[3].get_subscription_count() == 0
    messages.depth.width, messages.depth.height = 32, 96
    found = client.until(lambda: (got := newest()) and got.depth_info and got)
    assert (found.depth.width, found.depth_info.width) == (32, 64)
    # another driver takes over, whose depth is registered and has no camera info of its own
    messages.depth.width, messages.depth.height = 64, 48
    client.node.destroy_publisher(publishers.pop())
    assert client.until(lambda: (got := newest()) and got.depth.width == 64 and got).depth_info is None
    topics.close()
    client.until(lambda: not any(publisher.get_subscription_count() for publisher in publishers))


@pytest.fixture
def make_node(client):
    """Makes nodes as a command line does."""
    nodes = []

    def make(*arguments, **overrides):
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        options = {"cli_args": ["--ros-args", *arguments], "parameter_overrides": values}
        nodes.append(Node("inputs", context=client.node.context, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.ros
def test_a_remapped_image_takes_its_compressed_form_along_and_that_can_be_remapped_too(make_node):
    node = make_node("-r", "color/image_raw:=/cam/rgb", "-r", "depth/image_raw/compressedDepth:=/cam/packed")
    topics = RgbdTopics(node, "compressed", "compressedDepth")
    assert [topic.name for topic in (topics.color, topics.depth)] == ["/cam/rgb/compressed", "/cam/packed"]
    assert node.count_subscribers("/cam/rgb/compressed") == node.count_subscribers("/cam/packed") == 1
    topics.close()


@pytest.mark.ros
@pytest.mark.parametrize(
    ("policy", "value", "words"),
    [("depth", 1000, "1 to 100"), ("depth", "many", "'STRING'"), ("reliability", "sometimes", "`sometimes`")],
)
@pytest.mark.parametrize("topic", ["/color/camera_info", "/depth/camera_info"])
def test_qos_that_an_input_cannot_have_is_refused_by_name_and_nothing_stays_subscribed(
    make_node, topic, policy, value, words
):
    node = make_node(**{f"qos_overrides.{topic}.subscription.{policy}": value})
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"{topic} cannot be subscribed: .*{words}.*qos_overrides.{topic}"):
            RgbdTopics(node)
    assert [node.count_subscribers(f"/{name}") for name in NAMES] == [0, 0, 0, 0]


@pytest.mark.ros
@pytest.mark.parametrize(("overrides", "pairs"), [({}, False), ({"color/image_raw": 8}, True)], ids=["3", "8"])
def test_depth_that_lags_pairs_with_colour_that_is_kept_as_long(client, make_node, frame, overrides, pairs):
    node = make_node(**{f"qos_overrides./{name}.subscription.depth": depth for name, depth in overrides.items()})
    topics = RgbdTopics(node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))
    messages = frame_messages(frame, "optical")
    for second in range(1, 9):
        now = stamped(messages, rclpy.time.Time(seconds=second))
        for name in ("color", "info") if second > 3 else ("color", "info", "depth"):
            published[name].publish(getattr(now, name))
    client.until(lambda: topics.color.drain() and topics.color.arrivals[-1].stamp_ns == 8_000_000_000)
    client.until(lambda: topics.depth.drain() and topics.depth.arrivals[-1].stamp_ns == 3_000_000_000)
    client.until(topics.info.drain)
    if pairs:
        found = topics.newest(0, "aligned")
        assert (found.color.header.stamp.sec, found.depth.header.stamp.sec) == (3, 3)
    else:
        with pytest.raises(NoImageError, match=r"their nearest stamps are 3000\.0 ms apart"):
            topics.newest(0, "aligned")
    topics.close()


@pytest.mark.ros
def test_where_the_middleware_tells_neither_time_nor_number_messages_count_as_received_when_they_are_taken(
    client, frame, monkeypatch
):
    def take(subscription):  # as rmw_cyclonedds_cpp
        taken = newest_topic_take(subscription)
        return taken and (taken[0], {"received_timestamp": 0, "publication_sequence_number": None})

    newest_topic_take = newest_topic.take
    monkeypatch.setattr(newest_topic, "take", take)
    topics = RgbdTopics(client.node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))
    assert (topics.newest_header, input_report(topics, GroundingParameters()).values["/color/image_raw age_s"]) == (
        None,
        "-1.00",
    )
    messages = frame_messages(frame, "optical")
    for name in ("color", "depth", "info"):
        published[name].publish(getattr(messages, name))
    client.until(lambda: sum(1 for topic in topics.required if topic.drain()) == 3)
    report = input_report(topics, GroundingParameters())
    ages = [float(report.values[f"{topic.name} age_s"]) for topic in topics.required]
    assert all(0 <= age < 30 for age in ages), report.values
    assert abs(topics.color.arrivals[-1].received_ns - time.time_ns()) < 30e9
    assert not any("published_hz" in name or "received_share" in name for name in report.values)
    assert report.problems == []
    assert topics.newest_header == messages.color.header
    topics.close()
    assert topics.newest_header is None


def test_a_new_stamp_leaves_the_messages_that_a_query_may_be_reading_alone(frame):
    old = frame_messages(frame, "optical")
    new = stamped(old, rclpy.time.Time(seconds=7))
    assert (new.color.header.stamp.sec, new.depth_info.header.stamp.sec, new.info.header.frame_id) == (7, 7, "optical")
    assert old.color.header.stamp.sec == 1
    assert new.color.data is old.color.data


RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def asked(topic):
    profile = topic._subscription.qos_profile
    return profile.reliability, profile.durability


@pytest.fixture
def without_profile(monkeypatch):
    """As a node that is started without the shipped DDS profile."""
    monkeypatch.setattr(newest_topic, "uses_dds_profile", lambda: False)
    monkeypatch.setattr(rgbd_topics, "uses_dds_profile", lambda: False)


@pytest.mark.ros
@pytest.mark.usefixtures("without_profile")
def test_the_inputs_ask_for_what_the_publishers_offer_also_of_those_that_come_later(client, frame):
    topics = RgbdTopics(client.node)
    assert asked(topics.color) == (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
    messages = frame_messages(frame, "optical")
    driver = client.node.create_publisher(Image, "color/image_raw", RELIABLE)
    latched = client.node.create_publisher(CameraInfo, "color/camera_info", LATCHED)
    latched.publish(messages.info)  # once, before anybody listens reliably
    client.until(lambda: topics.color.drain() is not None and topics.color.is_reliable)
    client.until(topics.info.drain)
    assert asked(topics.info) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    client.until(driver.get_subscription_count)
    driver.publish(messages.color)
    client.until(topics.color.drain)
    another = client.node.create_publisher(Image, "color/image_raw", BEST_EFFORT)
    client.until(lambda: topics.color.drain() and not topics.color.is_reliable)
    assert len(topics.color.drain()) == 1  # what was taken is not forgotten
    topics.close()
    client.node.destroy_publisher(another)


@pytest.mark.ros
def test_under_the_shipped_profile_the_inputs_are_best_effort_until_messages_are_lost_or_latched(client, monkeypatch):
    monkeypatch.setattr(newest_topic, "uses_dds_profile", lambda: True)
    topics = RgbdTopics(client.node)
    both = (topics.color, topics.info)
    client.node.create_publisher(Image, "color/image_raw", RELIABLE)
    info = client.node.create_publisher(CameraInfo, "color/camera_info", RELIABLE)
    client.until(lambda: all(topic.publishers for topic in both))
    time.sleep(2 * newest_topic.ADAPT_EVERY_S)
    assert [topic.drain() or topic.is_reliable for topic in both] == [False, False]
    topics.color.statistics.record([(1, 1), (2, 30)], overflow=True)
    client.until(lambda: topics.color.drain() is not None and topics.color.is_reliable)
    assert not topics.info.is_reliable
    client.node.destroy_publisher(info)
    client.node.create_publisher(CameraInfo, "color/camera_info", LATCHED).publish(CameraInfo())
    client.until(topics.info.drain)  # which only a reliable subscription hears
    assert asked(topics.info) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    topics.close()


@pytest.mark.ros
def test_qos_overrides_go_before_what_is_offered_durability_too(client, make_node, frame):
    prefix = "qos_overrides./color/image_raw.subscription"
    node = make_node(**{f"{prefix}.reliability": "best_effort", f"{prefix}.durability": "transient_local"})
    topics = RgbdTopics(node)
    client.node.create_publisher(Image, "color/image_raw", RELIABLE)
    client.until(lambda: topics.color.drain() is not None and node.count_publishers("/color/image_raw"))
    time.sleep(2 * newest_topic.ADAPT_EVERY_S)
    topics.color.drain()
    assert asked(topics.color) == (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.TRANSIENT_LOCAL)
    with pytest.raises(NoImageError, match=r"nothing on /color/image_raw: QoS cannot match \(.*leave out the param"):
        topics.newest(20_000_000, "auto")
    topics.close()


@pytest.mark.ros
def test_a_stream_that_stopped_is_told_as_that_and_not_as_a_matter_of_synchronisation(client, frame, monkeypatch):
    topics = RgbdTopics(client.node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))
    messages = frame_messages(frame, "optical")

    def show(seconds, *names):
        for name in names:
            published[name].publish(getattr(stamped(messages, rclpy.time.Time(seconds=seconds)), name))

    show(1, "color", "depth", "info")
    client.until(lambda: all(topic.drain() for topic in topics.required))
    began = time.monotonic()
    second = 2
    while time.monotonic() - began < 1.5:
        show(second, "color", "info")
        client.executor.spin_once(0.05)
        topics.color.drain()
        second += 1
    with pytest.raises(NoImageError, match=r"/depth/image_raw has stopped: it has been silent for [12]\.\d s"):
        client.until(lambda: show(second, "color") or topics.newest(20_000_000, "aligned"))
    topics.close()


@pytest.fixture
def driver():
    """A node of another participant: one participant has one type for each topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("driver", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("transport", "published", "words"),
    [
        ("raw", CompressedImage, "set color_transport or depth_transport to the last part of its name"),
        ("compressed", Image, "set color_transport or depth_transport to raw"),
        ("raw", CameraInfo, "check how the topic is remapped"),
    ],
)
def test_a_topic_of_another_type_is_named_with_both_types(client, driver, transport, published, words):
    topics = RgbdTopics(client.node, transport)
    driver.create_publisher(published, topics.color.name, 10)
    client.until(lambda: topics.color.publisher_names() == ["/driver"])
    read = "Image" if transport == "raw" else "CompressedImage"
    with pytest.raises(NoImageError) as told:
        topics.newest(20_000_000, "auto")
    types = (
        f"/driver publishes sensor_msgs/msg/{published.__name__} there, and this node reads sensor_msgs/msg/{read}; "
    )
    assert f"nothing on {topics.color.name}: {types}{words}" in str(told.value)
    topics.close()


@pytest.mark.ros
def test_a_stream_that_goes_on_in_another_type_is_told_as_that(client, driver, frame, monkeypatch):
    monkeypatch.setattr(rgbd_topics, "SILENT_S", 0.2)
    topics = RgbdTopics(client.node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))
    messages = frame_messages(frame, "optical")
    for name in ("color", "depth", "info"):
        published[name].publish(getattr(messages, name))
    client.until(lambda: all(topic.drain() for topic in topics.required))
    client.node.destroy_publisher(published["depth"])
    driver.create_publisher(CompressedImage, "depth/image_raw", 10)
    client.until(lambda: topics.depth.publisher_names() == ["/driver"])
    time.sleep(0.3)
    published["color"].publish(stamped(messages, rclpy.time.Time(seconds=9)).color)
    client.until(lambda: topics.color.drain()[-1].stamp_ns == 9_000_000_000)
    with pytest.raises(NoImageError, match=r"nothing more on /depth/image_raw: /driver publishes .*/CompressedImage t"):
        topics.newest(20_000_000, "aligned")
    topics.close()


@pytest.mark.ros
@pytest.mark.parametrize("late", ["depth", "color"])
def test_a_stream_that_comes_later_is_waited_for_by_keeping_more_of_the_other(client, frame, late):
    """Depth that a network or a slow matcher makes: the images of one stamp arrive five frames apart."""
    topics = RgbdTopics(client.node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))
    messages, count, failures = frame_messages(frame, "optical"), iter(range(6, 10_000)), []

    def show():
        frame_number = next(count)
        for name in ("color", "depth", "info"):
            stamp = rclpy.time.Time(nanoseconds=(frame_number - 5 * (name == late)) * 33_000_000)
            published[name].publish(getattr(stamped(messages, stamp), name))
        return frame_number

    def newest():
        for _ in range(3):
            show()
        client.until(lambda: topics.info.drain() and topics.depth.drain() and topics.color.drain())
        try:
            return topics.newest(1_000_000, "aligned")
        except NoImageError as error:
            failures.append(str(error))
            return None

    found = client.until(newest)
    assert found.color.header.stamp == found.depth.header.stamp
    assert all(f"/{late}/image_raw comes too late, or is stamped by another clock" in told for told in failures)
    assert failures
    report = input_report(topics, GroundingParameters())
    assert not [problem for problem in report.problems if "pair" in problem], report.problems
    topics.close()


@pytest.mark.ros
def test_a_new_query_does_not_take_what_was_kept_for_an_earlier_one(client, frame, monkeypatch):
    topics = RgbdTopics(client.node)
    publisher = client.node.create_publisher(Image, "color/image_raw", 10)
    client.until(publisher.get_subscription_count)
    messages, seconds = frame_messages(frame, "optical"), iter(range(1, 100))
    for _ in range(2):
        topics.color.keep_more()

    def show(count):
        last = [stamped(messages, rclpy.time.Time(seconds=next(seconds))).color for _ in range(count)]
        for image in last:
            publisher.publish(image)
        wanted = last[-1].header.stamp.sec * 10**9
        return client.until(lambda: (got := topics.color.drain()) and got[-1].stamp_ns == wanted and got)

    for count in range(1, 8):
        assert len(show(1)) == count  # one query that waits
    monkeypatch.setattr(newest_topic, "NEW_QUERY_S", -1.0)
    publisher_is_ahead = [stamped(messages, rclpy.time.Time(seconds=90 + n)).color for n in range(5)]
    for image in publisher_is_ahead:
        publisher.publish(image)
    time.sleep(0.5)
    assert [arrival.stamp_ns // 10**9 for arrival in topics.color.drain()] == [92, 93, 94]
    assert len(topics.color.drain()) == 3  # nothing new has come: a paused bag keeps what it has shown
    topics.close()


@pytest.mark.ros
def test_two_publishers_on_one_topic_are_named_and_give_no_rate(client, frame):
    topics = RgbdTopics(client.node)
    pair = [client.node.create_publisher(Image, "color/image_raw", 10) for _ in range(2)]
    client.until(lambda: topics.color.publishers == 2)
    messages = frame_messages(frame, "optical")

    def report():
        for publisher in pair:
            publisher.publish(messages.color)
        topics.color.drain()
        return input_report(topics, GroundingParameters())

    client.until(lambda: report() and topics.color.arrivals)
    for _ in range(20):
        report()
    told = report()
    name = client.node.get_fully_qualified_name()
    assert any(f"2 publishers on /color/image_raw ({name}, {name})" in problem for problem in told.problems)
    assert "/color/image_raw published_hz" not in told.values
    assert not any("received" in problem for problem in told.problems)
    topics.close()


def run_groupless(subscription):
    """As an executor does that knows no callback groups, and so takes every message; whether there was one."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, False)
    if taken is not None:
        subscription.callback(*taken)
    return taken is not None


@pytest.mark.ros
def test_messages_that_an_executor_has_taken_are_there_for_queries_and_it_is_told_once(client, frame, capfd):
    topics = RgbdTopics(client.node)
    driver = client.node.create_publisher(Image, "color/image_raw", BEST_EFFORT)
    client.until(driver.get_subscription_count)
    for second in range(1, 6):
        driver.publish(stamped(frame_messages(frame, "optical"), rclpy.time.Time(seconds=second)).color)
        client.until(lambda: run_groupless(topics.color._subscription))
    assert [arrival.stamp_ns // 10**9 for arrival in topics.color.drain()] == [3, 4, 5]
    assert topics.newest_header.stamp.sec == 5
    assert topics.color.statistics.received_share(5) == 1.0
    assert capfd.readouterr().err.count("takes every image of /color/image_raw") == 1
    topics.close()


@pytest.mark.ros
def test_inputs_that_were_closed_never_subscribe_again(client, frame):
    topics = RgbdTopics(client.node)
    published = {name: client.node.create_publisher(INPUTS[name], NAMES[i], 10) for i, name in enumerate(INPUTS)}
    messages = frame_messages(frame, "optical")
    messages.depth.header.frame_id = "depth_optical"  # so that the camera info of depth is wanted
    client.until(lambda: all(published[name].get_subscription_count() for name in ("color", "depth", "info")))

    def taken():
        for name in ("color", "depth", "info"):
            published[name].publish(getattr(messages, name))
        return all(topic.drain() for topic in topics.required)

    client.until(taken)
    kept = topics.color.drain, topics.depth.drain
    arrivals = [drain() for drain in kept]
    topics.close()
    topics.color.drain, topics.depth.drain = (lambda: arrivals[0]), (lambda: arrivals[1])  # a query that outlasts it
    topics.drain("auto")
    assert topics.depth_info.open_for_s == 0
    assert [client.node.count_subscribers(f"/{name}") for name in NAMES] == [0, 0, 0, 0]


@pytest.mark.ros
def test_images_of_a_rectified_topic_are_known_by_its_name(make_node):
    node = make_node("-r", "color/image_raw:=/cam/image_rect_color", "-r", "depth/image_raw:=/cam/depth/image_raw")
    topics = RgbdTopics(node)
    messages = topics._messages(None, None, None, None)
    assert (messages.color_rectified, messages.depth_rectified) == (True, False)
    topics.close()


@pytest.mark.parametrize(
    ("rmw", "words"),
    [
        ("rmw_cyclonedds_cpp", "CYCLONEDDS_URI"),
        ("rmw_zenoh_cpp", "rmw_zenohd"),
        ("rmw_fastrtps_cpp", "dds_profile:=shm"),
        ("rmw_connextdds", "guide of rmw_connextdds"),
    ],
)
@pytest.mark.parametrize("is_reliable", [False, True])
def test_the_cure_of_loss_is_that_of_the_middleware_and_says_whether_qos_loses(
    monkeypatch, without_profile, rmw, words, is_reliable
):
    monkeypatch.setattr(rgbd_topics, "get_rmw_implementation_identifier", lambda: rmw)
    told = loss_cure([SimpleNamespace(is_reliable=is_reliable)])
    assert words in told
    assert ("set the driver's QoS to reliable" in told) is not is_reliable
    assert ("fastdds" in told) is ("fastrtps" in rmw)


@pytest.mark.parametrize(
    ("frame_id", "warned"),
    [
        ("camera_link", True),
        ("diff_drive/chassis/front_camera", True),  # Gazebo's default: the sensor's scoped name
        ("robot::link::rgbd", True),
        ("zed_left_camera_frame", True),
        ("r1/camera_optical_frame", False),
        ("model/link/color_optical", False),
        ("k4a_rgb_camera_link", False),  # Azure Kinect: z forward
    ],
)
def test_images_in_a_body_frame_are_named(frame_id, warned):
    told = frame_doubts(frame_id)
    assert bool(told) == warned
    assert all("optical_frame_id" in words and frame_id in words for words in told)


def test_images_without_a_frame_are_named():
    (told,) = frame_doubts("")
    assert told.startswith("images have no frame_id")
