"""The input topics paired by `message_filters`, for users who prefer its policy.

Every message is received and deserialised while the inputs are subscribed; `rgbd_topics` costs a fraction of that.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

from n3d_core.errors import optional
from n3d_core.messages.assembly import RgbdMessages, nanoseconds_of
from n3d_ros.errors import NoImageError
from n3d_ros.frames.images import is_sound
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.newest_topic import Arrival, NewestTopic
from n3d_ros.inputs.rgbd_topics import DEAD_NS, RgbdTopics

QUEUE = 10  # messages of each topic that wait for a match


class FilteredTopic(NewestTopic):
    """A topic whose messages the executor passes to `filter`; `rewound` is called when stamps go back."""

    def __init__(self, node: Node, message_type: type, name: str) -> None:
        super().__init__(node, message_type, name)
        self.filter = _message_filters().SimpleFilter()
        self.rewound: Callable[[], None] = lambda: None

    def _callback_group(self) -> None:
        return None

    def drain(self) -> list[Arrival]:
        """The newest messages taken by the executor, oldest first."""
        with self._lock:
            self._adapt()
            return list(self.arrivals)

    def _on_message(self, message: Any, info: dict[str, Any]) -> None:
        with self._lock:
            if self._subscription is None:
                return  # it was closed before the message arrived
            before = self.arrivals[-1].stamp_ns if self.arrivals else 0
            self._keep([(message, info)], QUEUE)
        if not is_sound(message.header.stamp):
            return  # rclpy cannot hold it: the synchronizer would raise in the executor, which ends the process
        if nanoseconds_of(message.header.stamp) < before:
            self.rewound()
        self.filter.signalMessage(message)


class FilteredTopics(RgbdTopics):
    """Subscribes as `RgbdTopics` does, and takes sets from an `ApproximateTimeSynchronizer`.

    Args:
        node, options: as of `RgbdTopics`.
        bound_ns: largest difference between stamps of a set, until `newest` gets another bound; 0: equal.

    Raises:
        MissingDependencyError: if message_filters is not installed.
    """

    topic_type = FilteredTopic

    def __init__(self, node: Node, bound_ns: int, *options: Any) -> None:
        super().__init__(node, *options)
        self._set: tuple[Any, ...] | None = None
        filters = [topic.filter for topic in self.required if isinstance(topic, FilteredTopic)]
        self._synchronizer = _message_filters().ApproximateTimeSynchronizer(filters, QUEUE, slop=0.0)
        self._synchronizer.slop = _slop(bound_ns)
        self._synchronizer.registerCallback(self._on_set)
        for topic in self.required:
            topic.rewound = self._forget

    def rest(self, unused_s: float) -> None:
        """Also forgets what was paired."""
        super().rest(unused_s)
        if self.is_resting:
            self._forget()

    def _newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        """The last set that the synchronizer paired with this bound."""
        if self._synchronizer.slop != _slop(bound_ns):
            self._synchronizer.slop = _slop(bound_ns)
            self._set = None  # it was paired with another bound
        color, depth, info, depth_info = self.drain(registration)
        self._refuse_silence(color, depth, info)
        self._await_depth_info(depth_info)
        found = self._set  # read once: the executor may forget it meanwhile
        if (
            self.has_depth
            and color
            and (found is None or color[-1].stamp_ns - nanoseconds_of(found[0].header.stamp) > DEAD_NS)
        ):
            self._refuse_dead(color, depth)
        if found is None:
            raise NoImageError(
                f"message_filters has not paired {', '.join(topic.name for topic in self.required)} yet: "
                + self._why_none(bound_ns)
            )
        depth_image = found[1] if self.has_depth else None
        return self._messages(found[0], depth_image, found[-1], depth_info[-1].message if depth_info else None)

    def _why_none(self, bound_ns: int) -> str:
        newest = [(topic.name, topic.newest_header) for topic in self.required]
        broken = [name for name, header in newest if header is not None and not is_sound(header.stamp)]
        if broken:
            return f"the stamps on {', '.join(broken)} are invalid (before 1970, or nanosec of 1e9 or more)"
        return f"pairing_tolerance (its slop) is {bound_ns / 1e6:.1f} ms; raise it, or use synchronizer:=newest"

    def _on_set(self, *messages: Any) -> None:
        self._set = messages

    def _forget(self) -> None:
        """Resets after the clock was set back: the synchronizer drops the oldest, which would be all new messages."""
        self._set = None
        with self._synchronizer.lock:
            for queue in self._synchronizer.queues:
                queue.clear()


def subscribe_inputs(node: Node, parameters: GroundingParameters) -> RgbdTopics:
    """Subscribes the input topics; `close` ends it.

    Raises:
        MissingDependencyError: if message_filters is selected but not installed.
    """
    options = (parameters.color_transport, parameters.depth_transport, not parameters.monocular_depth)
    if parameters.synchronizer == "message_filters":
        return FilteredTopics(node, round(parameters.pairing_tolerance * 1e9), *options)
    return RgbdTopics(node, *options)


def _slop(bound_ns: int) -> Duration:
    """The synchronizer requires stamps less than its slop apart, so a slop of 0 would pair nothing."""
    return Duration(nanoseconds=bound_ns + 1)


def _message_filters() -> Any:
    package = "ros-$ROS_DISTRO-message-filters, or use synchronizer:=newest"
    with optional("synchronizer:=message_filters needs message_filters", package, command="apt install"):
        return import_module("message_filters")
