"""The topics of TF, read when a transform is looked up, and a buffer for a ROS 2 without tf2_ros (PyPI has none).

tf2_ros's own listener wakes for every message, which at the usual 100 Hz costs several percent of a core in Python.
Here no executor waits: messages stay in the middleware, as images do (see `inputs.newest_topic`). Importing this needs
tf2_msgs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription
from rclpy.time import Time
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from n3d_core.errors import TransformError as TransformException
from n3d_core.geometry.boxes import quaternion_of
from n3d_core.geometry.transforms import TransformTree
from n3d_core.messages.assembly import nanoseconds_of
from n3d_ros.inputs.newest_topic import UnwaitedGroup, take

_KEPT_NS = 10_000_000_000  # as tf2 does
_MANY = 1000  # messages: ten seconds at 100 Hz

__all__ = ["Buffer", "TransformException", "TransformTopics"]


class Buffer:
    """The transforms of the last ten seconds, and all static ones: what the nodes use of `tf2_ros.Buffer`."""

    def __init__(self, node: Node | None = None) -> None:
        self._lock = threading.Lock()  # the executor clears, workers add and look up
        self._tree = TransformTree("/tf", _KEPT_NS)

    def set_transform(self, one: TransformStamped, _authority: str) -> None:
        """Adds a transform at its stamp."""
        with self._lock:
            stamp_ns = nanoseconds_of(one.header.stamp)
            self._tree.add(one.header.frame_id, one.child_frame_id, one.transform, stamp_ns)

    def set_transform_static(self, one: TransformStamped, _authority: str) -> None:
        """Adds a transform that does not change."""
        with self._lock:
            self._tree.add(one.header.frame_id, one.child_frame_id, one.transform)

    def clear(self) -> None:
        """Drops all but static transforms."""
        with self._lock:
            self._tree.clear()

    def can_transform(self, target: str, source: str, at: Time) -> bool:
        """Whether `lookup_transform` would succeed."""
        try:
            self.lookup_transform(target, source, at)
        except TransformException:
            return False
        return True

    def lookup_transform(self, target: str, source: str, at: Time) -> TransformStamped:
        """The transform that takes points of `source` to `target`.

        Raises:
            TransformException: if it is not known at that time.
        """
        with self._lock:
            rotation, (x, y, z) = self._tree.look_up(target, source, at.nanoseconds)
        out = TransformStamped(header=Header(stamp=at.to_msg(), frame_id=target), child_frame_id=source)
        out.transform.translation = Vector3(x=float(x), y=float(y), z=float(z))
        qx, qy, qz, qw = quaternion_of(rotation)
        out.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        return out


class TransformTopics:
    """/tf and /tf_static, whose messages go to a buffer (tf2_ros's or the one above) on `drain`."""

    def __init__(self, node: Node, buffer: Any) -> None:
        self._node = node
        self._buffer = buffer
        self._lock = threading.Lock()  # workers of several queries may drain
        self._is_closed = False
        self._newest: dict[str, int] = {}  # stamp of each child
        latched = QoSProfile(depth=_MANY, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._static, self._moving = (
            self._subscribe("/tf_static", latched),
            self._subscribe("/tf", QoSProfile(depth=_MANY)),
        )
        back = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)  # as tf2_ros
        self._jumps = node.get_clock().create_jump_callback(back, post_callback=lambda _jump: self.forget())

    def _subscribe(self, topic: str, qos: QoSProfile) -> Subscription:
        static = topic == "/tf_static"
        return self._node.create_subscription(
            TFMessage,
            topic,
            lambda message: self._add(message, static),  # of an executor that knows no callback groups
            qos,
            callback_group=UnwaitedGroup(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def drain(self) -> None:
        """Takes what has arrived."""
        with self._lock:
            if self._is_closed:
                return
            for subscription, static in ((self._static, True), (self._moving, False)):
                for message in _taken(subscription):
                    self._add(message, static)

    def forget(self) -> None:
        """Drops moving transforms, and those that have arrived: the clock was set back."""
        with self._lock:
            if not self._is_closed:
                for _ in _taken(self._moving):
                    pass
                self._forget()

    def _forget(self) -> None:
        self._newest.clear()
        self._buffer.clear()

    def close(self) -> None:
        """Ends the subscriptions."""
        self._jumps.unregister()
        with self._lock:
            self._is_closed = True
            for subscription in (self._static, self._moving):
                self._node.destroy_subscription(subscription)

    def _add(self, message: TFMessage, static: bool) -> None:
        put = self._buffer.set_transform_static if static else self._buffer.set_transform
        for one in message.transforms:
            stamp_ns, newest = nanoseconds_of(one.header.stamp), self._newest.get(one.child_frame_id, 0)
            if not static and stamp_ns < newest - _KEPT_NS:  # a bag restarted: tf2 would ignore it as too old, for ever
                self._forget()
                newest = 0
            self._newest[one.child_frame_id] = max(stamp_ns, newest)
            put(one, "/tf_static" if static else "/tf")


def _taken(subscription: Subscription) -> Iterator[TFMessage]:
    """The messages that have arrived."""
    for _ in range(2 * _MANY):  # a publisher faster than this loop must not block it
        taken = take(subscription)
        if taken is None:
            return
        yield taken[0]
