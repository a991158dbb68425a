"""The page reads images as the grounding node of its namespace does: compressed, unregistered, or without depth."""

from contextlib import suppress

import cv2
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from n3d_core.errors import DepthError, N3DError
from n3d_core.geometry.frame import Frame
from n3d_core.messages.assembly import ColorImage
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.parameters import ParameterSet
from n3d_ros.page.client import READ_BY, PageInput
from n3d_ros.page.page_node import PageNode
from n3d_ros.playback.camera_node import frame_messages
from test.ros.test_images import compressed_depth

pytestmark = pytest.mark.ros

TOPICS = {"color": "color/image_raw", "depth": "depth/image_raw", "info": "color/camera_info"}
TOPICS["depth_info"] = "depth/camera_info"


@pytest.fixture
def make(client, monkeypatch):
    """Makes the node that decides how images are read, and what the page reads them by."""
    monkeypatch.setattr("n3d_ros.page.client.ASK_EVERY_S", 0.2)
    nodes, inputs = [], []

    def make(**parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        for name in ("grounding", "n3d_page"):
            values = overrides if name == "grounding" else []
            nodes.append(Node(name, context=client.node.context, parameter_overrides=values))
            client.executor.add_node(nodes[-1])
        ParameterSet(nodes[0], GroundingParameters)
        inputs.append(PageInput(nodes[1], "grounding", Transforms(nodes[1])))
        return inputs[0], nodes[0]

    yield make
    for each in inputs:
        each.close()
    for node in nodes:
        node.destroy_node()


def until_seen(client, page, messages, names=None):
    """What the page sees at last, while the camera publishes what it has on the topics' own or other names."""
    published = {
        name: client.node.create_publisher(type(message), (names or {}).get(name, TOPICS[name]), 10)
        for name, message in messages.items()
    }

    def seen():
        for name, message in messages.items():
            published[name].publish(message)
        with suppress(N3DError):
            return page.newest()

    try:
        return client.until(seen, 30)
    finally:
        for publisher in published.values():
            client.node.destroy_publisher(publisher)


def of(frame, *names):
    messages = frame_messages(frame, "optical")
    return {name: getattr(messages, name) for name in names}


def test_compressed_images_are_shown_as_the_node_reads_them(client, make, frame):
    page, _ = make(color_transport="compressed", depth_transport="compressedDepth")
    messages = of(frame, "info")
    header = messages["info"].header
    png = cv2.imencode(".png", cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR))[1]
    messages["color"] = CompressedImage(header=header, format="rgb8; png compressed bgr8", data=png.tobytes())
    raw = np.nan_to_num(1000 * frame.depth).astype(np.uint16)
    messages["depth"] = compressed_depth(raw, "16UC1")
    messages["depth"].header = header
    names = {"color": "color/image_raw/compressed", "depth": "depth/image_raw/compressedDepth"}
    seen = until_seen(client, page, messages, names)
    np.testing.assert_array_equal(seen.color, frame.color)
    np.testing.assert_array_equal(seen.depth, frame.depth)
    assert (seen.frame_id, seen.stamp_ns) == ("optical", 1_500_000_001)


def test_depth_of_another_size_is_registered_to_colour(client, make, frame):
    page, _ = make()
    small = Frame(frame.color[::2, ::2], np.full((24, 32), 1.25, np.float32), frame.camera.resized(32, 24))
    half = of(small, "depth", "info")
    messages = of(frame, "color", "info") | {"depth": half["depth"], "depth_info": half["info"]}
    for message in messages.values():
        message.header = messages["color"].header
    seen = until_seen(client, page, messages)
    assert seen.depth.shape == (48, 64)
    assert np.isfinite(seen.depth).mean() > 0.2
    np.testing.assert_allclose(seen.depth[np.isfinite(seen.depth)], 1.25)


def test_depth_that_the_node_takes_for_aligned_is_not_registered_by_the_page_either(client, make, frame):
    page, _ = make(depth_registration="aligned")
    messages = of(frame, "color", "depth", "info")
    messages["depth"].header.frame_id = "depth_optical"
    np.testing.assert_array_equal(until_seen(client, page, messages).depth, frame.depth)


def test_of_a_camera_whose_depth_is_estimated_the_image_is_shown_without_any(client, make, frame):
    page, _ = make(monocular_depth="indoor")
    seen = until_seen(client, page, of(frame, "color", "info"))
    assert isinstance(seen, ColorImage)
    np.testing.assert_array_equal(seen.color, frame.color)
    assert (seen.camera, seen.frame_id) == (frame.camera, "optical")


def test_the_page_subscribes_anew_when_the_node_reads_otherwise_and_nothing_once_it_is_closed(client, make, frame):
    page, grounding = make()
    messages = of(frame, "color", "depth", "info")
    assert isinstance(until_seen(client, page, messages), Frame)
    grounding.set_parameters([Parameter("monocular_depth", value="indoor")])

    def alone():
        with suppress(N3DError):
            page.newest()
        return not client.node.count_subscribers("/depth/image_raw")

    client.until(alone)
    assert isinstance(until_seen(client, page, messages), ColorImage)
    page.close()
    client.until(lambda: not any(client.node.count_subscribers(f"/{name}") for name in TOPICS.values()))


def test_without_a_grounding_node_images_are_read_by_its_defaults(client, frame):
    page = PageInput(client.node, "nobody", Transforms(client.node))
    np.testing.assert_array_equal(until_seen(client, page, of(frame, "color", "depth", "info")).depth, frame.depth)
    messages = of(frame, "color", "depth", "info")
    messages["depth"].encoding = "8UC3"
    with pytest.raises(DepthError, match="8UC3"):
        client.until(lambda: shown(client, page, messages))
    page.close()


def shown(client, page, messages):
    """Publishes once more, and lets what the page says of it through."""
    for name, message in messages.items():
        publisher = client.node.create_publisher(type(message), TOPICS[name], 10)
        client.until(publisher.get_subscription_count)
        publisher.publish(message)
        client.executor.spin_once(0.1)
    return not isinstance(page.newest(), Frame)


def test_the_page_tells_why_there_is_no_cloud(client, make, frame):
    make(monocular_depth="indoor")
    server = SeenServer()
    node = PageNode(server, context=client.node.context)
    client.executor.add_node(node)
    kinds = {"color": Image, "info": CameraInfo}
    published = {name: client.node.create_publisher(kind, TOPICS[name], 10) for name, kind in kinds.items()}
    messages = of(frame, "color", "info")

    def told():
        for name, publisher in published.items():
            publisher.publish(messages[name])
        status = server.content.status()
        return status["sees"] and status["camera"]

    node.start()
    try:
        camera = client.until(told, 30)
        assert camera.startswith("64x48 in 'optical'")
        assert camera.endswith("no point cloud: depth is estimated only for queries (monocular_depth)")
        assert cv2.imdecode(np.frombuffer(server.content.image(), np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    finally:
        node.close()
        node.destroy_node()


class SeenServer:
    """In place of the HTTP server: somebody always looks."""

    url = "http://127.0.0.1:0/"

    def add(self, _name, content, _port):
        self.content = content

    def start(self):
        pass

    def is_watched(self, _name):
        return True

    def close(self):
        pass


def test_what_is_asked_of_the_grounding_node_are_parameters_of_it():
    assert all(hasattr(GroundingParameters(), name) for name in READ_BY)
