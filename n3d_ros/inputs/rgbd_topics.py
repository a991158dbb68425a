"""The input topics of the grounding node, and the newest complete set of messages on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from n3d_core.errors import ConfigError
from n3d_core.messages.assembly import RgbdMessages, is_rectified, needs_depth_info
from n3d_ros.errors import NoImageError
from n3d_ros.inputs.newest_topic import LOSS_SHARE, Arrival, NewestTopic
from n3d_ros.node.shipped import profile_variable, uses_dds_profile

SILENT_S = 1.0  # a stream silent for this long has stopped, if the other still runs
DEAD_NS = 1_000_000_000  # a set this much older than the newest image is left over from a stream that stopped
DISCOVERY_S = 0.5  # a published camera info arrives within this time of subscribing
NO_DEPTH_CURE = "if the camera has no depth, set the parameter monocular_depth"


class RgbdTopics:
    """Subscribes to colour, depth and camera info; nothing is received until `newest` asks for it.

    Subscribes to depth's camera info only once images arrive whose depth may need registration, so a driver that aligns
    depth pays nothing for it. `rest` unsubscribes the images, which would otherwise be copied for nothing, and
    `newest` subscribes them again. Camera infos stay: they are small, and show that the camera is alive.

    Args:
        color_transport, depth_transport: parameters of these names; `raw` or a transport's name, which is the last
            part of the topic's name as image_transport has it.
        has_depth: False for a camera without depth; then no depth topic is subscribed.

    Raises:
        ConfigError: if the `qos_overrides` of a topic are invalid; then none is subscribed.
    """

    topic_type = NewestTopic

    def __init__(
        self, node: Node, color_transport: str = "raw", depth_transport: str = "raw", has_depth: bool = True
    ) -> None:
        self.color = self.topic_type(node, *_image_topic(node, "color", color_transport))
        self.depth = self.topic_type(node, *_image_topic(node, "depth", depth_transport))
        self.info = self.topic_type(node, CameraInfo, "color/camera_info")
        self.depth_info = self.topic_type(node, CameraInfo, "depth/camera_info")
        self.has_depth = has_depth
        self._lock = threading.Lock()  # taken before those of the topics
        self._is_closed = False
        self._is_resting = False
        self._used = time.monotonic()
        self._is_waking = False  # the images were subscribed again, and are not connected yet
        self._connected: float | None = None  # when they were
        self._last_header: Header | None = None  # of the newest colour image before the rest
        try:
            for topic in (*self.required, self.depth_info):
                topic.open()
        except ConfigError:
            self.close()
            raise
        self.depth_info.close()  # refuse unusable QoS here, not when a query first needs it

    @property
    def required(self) -> tuple[NewestTopic, ...]:
        """The topics that every frame needs."""
        return (self.color, self.depth, self.info) if self.has_depth else (self.color, self.info)

    @property
    def images(self) -> tuple[NewestTopic, ...]:
        """The topics that `rest` unsubscribes."""
        return (self.color, self.depth) if self.has_depth else (self.color,)

    @property
    def all(self) -> tuple[NewestTopic, ...]:
        """All input topics; only open ones are subscribed."""
        return self.color, self.depth, self.info, self.depth_info

    def drain(self, registration: str) -> tuple[list[Arrival], list[Arrival], list[Arrival], list[Arrival]]:
        """The newest messages of `all`, oldest first; `registration`: the parameter depth_registration."""
        color, depth, info = self.color.drain(), self.depth.drain(), self.info.drain()
        if color and depth and needs_depth_info(color[-1].message, depth[-1].message, registration):
            with self._lock:
                if not self._is_closed:  # else a query that outlives its node would stay subscribed
                    self.depth_info.open()
        depth_info = self.depth_info.drain()
        if depth_info and not self.depth_info.publishers:
            self.depth_info.close()  # it described the images of a driver that is gone
            depth_info = []
        return color, depth, info, depth_info

    @property
    def newest_header(self) -> Header | None:
        """Header of the newest colour image taken; images waiting in the middleware stay there."""
        return self.color.newest_header or self._last_header

    @property
    def is_resting(self) -> bool:
        """Whether the images are not subscribed until `newest` asks for them."""
        return self._is_resting

    @property
    def unused_s(self) -> float:
        """Seconds since images were last asked for."""
        return time.monotonic() - self._used

    def rest(self, unused_s: float) -> None:
        """Unsubscribes the images if none were asked for during the last `unused_s` seconds."""
        with self._lock:
            if self._is_resting or self._is_closed or self.unused_s < unused_s:
                return
            self._last_header = self.newest_header
            for topic in self.images:
                topic.close()
            self._is_resting = True

    def wake(self) -> None:
        """Subscribes the images, if they rest, and puts off the next rest."""
        with self._lock:
            self._used = time.monotonic()
            if not self._is_resting or self._is_closed:
                return
            for topic in self.images:
                topic.open()
            self._is_resting, self._is_waking, self._connected = False, True, None

    def newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        """The newest colour image with a depth image within `bound_ns` of it, and the camera infos nearest to them.

        Raises:
            NoImageError: naming each silent topic and the likely reason, or the two stamps that do not pair.
        """
        self.wake()
        try:
            found = self._newest(bound_ns, registration)
        except NoImageError as error:
            error.connected = self._when_connected()
            raise
        self._is_waking = False
        return found

    def _when_connected(self) -> float | None:
        """As `NoImageError.connected`."""
        if not self._is_waking:
            return self._connected
        if any(topic.publishers == 0 or topic.incompatible() for topic in self.images):
            return None
        self._is_waking = not all(topic.matched for topic in self.images)
        self._connected = time.monotonic()
        return self._connected

    def _newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        color, depth, info, depth_info = self.drain(registration)
        self._refuse_silence(color, depth, info)
        if not self.has_depth:
            return self._messages(color[-1].message, None, _nearest_message(color[-1], info), None)
        pair = self._pair(color, depth, bound_ns)
        self._await_depth_info(depth_info)
        first, second = pair
        if color[-1].stamp_ns - first.stamp_ns > DEAD_NS:
            self._refuse_dead(color, depth)
        return self._messages(
            first.message, second.message, _nearest_message(first, info), _nearest_message(second, depth_info)
        )

    def _messages(self, color: Any, depth: Any, info: Any, depth_info: Any) -> RgbdMessages:
        rectified = is_rectified(self.color.name), is_rectified(self.depth.name)
        return RgbdMessages(color, depth, info, depth_info, *rectified)

    def _refuse_silence(self, *arrivals: list[Arrival]) -> None:
        heard = zip((self.color, self.depth, self.info), arrivals, strict=True)
        silent = [topic for topic, messages in heard if topic in self.required and not messages]
        if silent:
            raise NoImageError(explain_silence(silent) + (f"; {NO_DEPTH_CURE}" if silent == [self.depth] else ""))

    def _await_depth_info(self, arrivals: list[Arrival]) -> None:
        if not arrivals and 0 < self.depth_info.open_for_s < DISCOVERY_S:
            raise NoImageError(f"{self.depth_info.name} was subscribed a moment ago: depth is not registered to colour")

    def _pair(self, color: list[Arrival], depth: list[Arrival], bound_ns: int) -> tuple[Arrival, Arrival]:
        pair = newest_pair(color, depth, bound_ns)
        if pair is None:
            behind = self.behind(color, depth, bound_ns)
            if behind is not None:
                (self.depth if behind is self.color else self.color).keep_more()
            self._refuse_dead(color, depth)
            if lost := [topic for topic in (self.color, self.depth) if topic.statistics.received_share(5) < LOSS_SHARE]:
                raise NoImageError(
                    f"no image of {self.color.name} has a match on {self.depth.name}: {explain_loss(lost)}"
                )
            gap = min(abs(c.stamp_ns - d.stamp_ns) for c in color for d in depth)
            raise NoImageError(
                f"{self.color.name} and {self.depth.name} do not pair: their nearest stamps are {gap / 1e6:.1f} ms "
                f"apart and pairing_tolerance is {bound_ns / 1e6:.1f} ms; "
                + (
                    "synchronise the two streams or raise it"
                    if behind is None
                    else f"{behind.name} comes too late, or is stamped by another clock"
                )
                + crowd_of((self.color, self.depth))
            )
        return pair

    def behind(self, color: list[Arrival], depth: list[Arrival], bound_ns: int) -> NewestTopic | None:
        """The stream whose newest image is older than all that are kept of the other; None if neither is."""
        if depth[-1].stamp_ns + bound_ns < color[0].stamp_ns:
            return self.depth
        return self.color if color[-1].stamp_ns + bound_ns < depth[0].stamp_ns else None

    def _refuse_dead(self, color: list[Arrival], depth: list[Arrival]) -> None:
        if color and depth and (reason := self.dead_stream()):
            raise NoImageError(reason)

    def dead_stream(self) -> str:
        """Names the image stream that has stopped while the other still runs; empty if neither has."""
        ages = {topic: topic.age_s for topic in (self.color, self.depth)}
        dead, alive = sorted(ages, key=lambda topic: -ages[topic])
        if ages[dead] <= max(SILENT_S, 2 * ages[alive]) or ages[alive] < 0:
            return ""
        if reason := dead.incompatible():
            return f"nothing more on {dead.name}: {reason}"
        return (
            f"{dead.name} has stopped: it has been silent for {ages[dead]:.1f} s ({dead.publishers} publisher(s)), "
            f"while {alive.name} goes on; restart that stream of the camera"
        )

    def close(self) -> None:
        """Ends the subscriptions for good."""
        with self._lock:
            self._is_closed = True
            self._last_header = None
        for topic in self.all:
            topic.close()


def _image_topic(node: Node, stream: str, transport: str) -> tuple[type, str]:
    """Message type and name of an image topic, named as image_transport does: remapping `image_raw` moves all."""
    name = f"{stream}/image_raw"
    if transport == "raw":
        return Image, name
    return CompressedImage, f"{node.resolve_topic_name(name)}/{transport}"


def _nearest_message(to: Arrival, among: list[Arrival]) -> CameraInfo | None:
    found = nearest(to, among)
    return None if found is None else found.message


def explain_silence(topics: Sequence[NewestTopic]) -> str:
    """Why some topics are silent, as reported by the middleware, and what to do about it."""
    causes = [_cause(topic) for topic in topics]
    heard = [topic for topic in topics if topic.publishers and not topic.incompatible()]
    if heard:
        causes.append(f"if the camera does publish, the transport loses images: {loss_cure(heard)}")
    return "; ".join(causes)


def explain_loss(topics: Sequence[NewestTopic]) -> str:
    """How many messages are lost on some topics, whether QoS or the transport is the cause, and what to do about it."""
    shares = ", ".join(f"{100 * topic.statistics.received_share(5):.0f} % of {topic.name}" for topic in topics)
    return f"only {shares} is received: {loss_cure(topics)}"


def loss_cure(topics: Sequence[NewestTopic]) -> str:
    """How to stop losing images, with the settings of this middleware and distribution."""
    cures = []
    if any(not topic.is_reliable for topic in topics):
        cures.append("delivery is best effort: set the driver's QoS to reliable")
    rmw = get_rmw_implementation_identifier()
    if "fastrtps" in rmw and uses_dds_profile():
        cures.append(f"start the camera with the shared-memory profile too ({profile_variable()}): this node has it")
    elif "fastrtps" in rmw:
        cures.append(
            "use the shared-memory profile (launch argument dds_profile:=shm, or "
            f"{profile_variable()}=config/fastdds_shm.xml for camera and node), since images do not fit Fast DDS's own "
            "shared memory"
        )
    elif "cyclonedds" in rmw:
        cures.append(
            "give Cyclone DDS a larger receive buffer (sysctl -w net.core.rmem_max=2147483647, and "
            "SocketReceiveBufferSize in CYCLONEDDS_URI)"
        )
    elif "zenoh" in rmw:
        cures.append("check the Zenoh router (ros2 run rmw_zenoh_cpp rmw_zenohd), and turn its shared memory on")
    else:
        cures.append(f"see the guide of {rmw} for large messages")
    return ", or ".join(cures)


def crowd_of(topics: Sequence[NewestTopic]) -> str:
    """Names topics with several publishers, whose images would mix; empty if there are none."""
    crowded = [topic for topic in topics if topic.publishers > 1]
    return "".join(
        f"; {topic.publishers} publishers on {topic.name} ({', '.join(topic.publisher_names())}): stop one, or remap it"
        for topic in crowded
    )


def _cause(topic: NewestTopic) -> str:
    if reason := topic.incompatible():
        return f"nothing on {topic.name}: {reason}"
    if topic.publishers == 0:
        return f"nothing on {topic.name}: it has no publisher; check the camera and how the topic is remapped"
    return f"nothing on {topic.name} yet from {topic.publishers} publisher(s)"


class Stamped(Protocol):
    """Anything with a stamp in nanoseconds."""

    @property
    def stamp_ns(self) -> int: ...


A = TypeVar("A", bound=Stamped)
B = TypeVar("B", bound=Stamped)


def newest_pair(first: Sequence[A], second: Sequence[B], bound_ns: int) -> tuple[A, B] | None:
    """The newest of `first` with a match in `second` within `bound_ns`, and its nearest match; None without one.

    Both sequences may be in any order; of equal stamps (drivers that set none) the last one is taken to be the newest.
    Newest takes precedence over nearest: a robot acts on the present.
    """
    for one in sorted(first, key=lambda item: item.stamp_ns)[::-1]:
        partner = nearest(one, second)
        if partner is not None and abs(partner.stamp_ns - one.stamp_ns) <= bound_ns:
            return one, partner
    return None


def nearest(to: Stamped, among: Sequence[B]) -> B | None:
    """The item of `among` whose stamp is nearest to `to`'s, the last of several; None if `among` is empty."""
    return min(reversed(among), key=lambda item: abs(item.stamp_ns - to.stamp_ns), default=None)
