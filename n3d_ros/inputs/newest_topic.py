"""A subscription whose newest messages stay in the middleware until a query asks for them.

An executor that waits on an image topic wakes, deserialises and calls back 30 times a second for images that no query
uses. Here no executor waits: the middleware keeps the last few messages (KEEP_LAST), and `drain` takes them when a
query arrives. Measured on a 640x480 RGB-D camera at 30 Hz: a fifth of the CPU (`python -m bench.node
--always-subscribed`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import InvalidQosOverridesError, QosCallbackResult, QoSOverridingOptions
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from n3d_core.errors import ConfigError
from n3d_core.messages.assembly import nanoseconds_of
from n3d_ros.node.shipped import uses_dds_profile

WINDOW_S = 10.0
EVIDENCE = 10  # messages; fewer prove nothing (discovery loses the first ones)
LOSS_SHARE = 0.9  # below this share of received messages, loss is reported
KEPT = 3  # colour and depth of one stamp arrive up to a frame apart: three of each always contain a pair
MOST_KEPT = 16  # where one of the two comes later: half a second at 30 Hz
NEW_QUERY_S = 0.5  # a query that waits looks far more often than this
_SENSOR_INPUT: dict[str, Any] = {
    "history": HistoryPolicy.KEEP_LAST,
    "depth": KEPT,
    "reliability": ReliabilityPolicy.BEST_AVAILABLE,
    "durability": DurabilityPolicy.BEST_AVAILABLE,
}
SENSOR_INPUT = QoSProfile(**_SENSOR_INPUT)
ADAPT_EVERY_S = 0.25  # how often to check whether publishers came or went
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_TYPE_CURES = {  # (published, read)
    (_COMPRESSED, _IMAGE): "set color_transport or depth_transport to the last part of its name (compressed, "
    "compressedDepth), and remap to the name without that part",
    (_IMAGE, _COMPRESSED): "set color_transport or depth_transport to raw, or check how the topic is remapped",
}
_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


class UnwaitedGroup(CallbackGroup):
    """A group that never executes, so the executor leaves its subscriptions out of the wait set."""

    def can_execute(self, entity: Any) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing was begun."""


@dataclass(frozen=True)
class Arrival:
    """One message with its source stamp and the time at which the middleware received it (nanoseconds).

    If the middleware does not report that time, it is the time at which the message was taken.
    """

    message: Any
    stamp_ns: int
    received_ns: int


@dataclass(frozen=True)
class Sample:
    """Counts from one batch of taken messages.

    Attributes:
        time: when it was taken (monotonic seconds).
        published: messages that the publisher has sent since the previous sample.
        expected: how many of those the batch would contain without loss.
        received: how many it contains.
    """

    time: float
    published: int
    expected: int
    received: int


class TopicStatistics:
    """Counts over the last ten seconds, from the publisher's sequence numbers (rmw's `publication_sequence_number`).

    The middleware keeps the last few messages only, so the number taken says nothing. But a publisher numbers its
    messages: the numbers between two batches give the published rate, and a gap *inside* a batch is a
    message that the transport lost.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._lock = threading.Lock()  # a query records while the diagnostics read
        self._last_sequence: int | None = None
        self._since = time.monotonic()
        self.last_received_ns = 0
        self.is_numbered = True  # False once a message arrived without a number: rate and loss are then unknown

    def record(self, batch: Sequence[tuple[int, int | None]], overflow: bool, now: float | None = None) -> None:
        """Adds a batch of (received nanoseconds, sequence number), oldest first.

        `overflow`: the batch filled the queue, so that messages between it and the last batch may have been replaced
        by newer ones; else it holds all that arrived.
        """
        with self._lock:
            self._record(batch, overflow, time.monotonic() if now is None else now)

    def _record(self, batch: Sequence[tuple[int, int | None]], overflow: bool, now: float) -> None:
        while self._samples and self._samples[0].time < now - WINDOW_S:
            self._since = self._samples.popleft().time
        if not batch:
            return
        self.last_received_ns = batch[-1][0]
        numbers = [number for _, number in batch if number is not None]
        self.is_numbered = bool(numbers)
        if not numbers:  # this middleware (Cyclone DDS) does not number messages
            self._samples.append(Sample(now, len(batch), len(batch), len(batch)))
            return
        restarted = any(b <= a for a, b in pairwise(numbers))
        known = self._last_sequence is not None and not restarted and numbers[0] > self._last_sequence
        base = self._last_sequence if known and self._last_sequence is not None else numbers[0] - 1
        before = numbers[0] - 1 if overflow else base
        if restarted:  # several publishers, or one that restarted: the numbers are ambiguous
            self._samples.append(Sample(now, len(batch), len(batch), len(batch)))
        else:
            self._samples.append(Sample(now, numbers[-1] - base, numbers[-1] - before, len(numbers)))
        self._last_sequence = numbers[-1]

    def restart(self) -> None:
        """Call after subscribing again: messages published in between do not count as lost."""
        with self._lock:
            self._last_sequence = None

    def published_hz(self, now: float | None = None) -> float:
        """Rate at which the publisher sends, in Hz."""
        return self._total("published") / self._span(now)

    def received_share(self, evidence: int = EVIDENCE) -> float:
        """Share of the published messages received, 0..1; 1 if fewer than `evidence` were expected."""
        expected = self._total("expected")
        return self._total("received") / expected if expected >= evidence else 1.0

    def _total(self, name: str) -> int:
        with self._lock:
            return sum(getattr(sample, name) for sample in self._samples)

    def _span(self, now: float | None) -> float:
        end = time.monotonic() if now is None else now
        return max(end - self._since, 1e-3)


class NewestTopic:
    """The newest messages of one topic, oldest first in `arrivals`; thread-safe.

    Subscribes only after `open`. Like rosbag2, it requests what the publishers offer: reliable (or latched) if all of
    them are. It subscribes again when other publishers appear, unless the `qos_overrides` parameters fix the QoS.
    Under the shipped shared-memory profile it stays best effort until messages are lost, unless they are latched: there
    is nothing to resend, and acknowledgements cost a third of the idle node's CPU.
    """

    def __init__(self, node: Node, message_type: type, name: str) -> None:
        self.name = node.resolve_topic_name(name)
        self.message_type = message_type
        self.arrivals: deque[Arrival] = deque(maxlen=KEPT)
        self.statistics = TopicStatistics()
        self._relative_name = name
        self._opened = self._drained = 0.0
        self._node = node
        self._lock = threading.Lock()
        self._subscription: Subscription | None = None
        self._asked: tuple[ReliabilityPolicy, DurabilityPolicy] | None = None  # None: nothing more to adapt
        self._adapted = 0.0
        self._is_spared = uses_dds_profile()

    def open(self) -> None:
        """Subscribes, unless it already has.

        Raises:
            ConfigError: if its `qos_overrides` are invalid.
        """
        with self._lock:
            if self._subscription is None:
                self._opened = time.monotonic()
                self._subscription = self._subscribe()
                self.statistics = TopicStatistics()  # what was published before does not count
                depth = self._subscription.qos_profile.depth
                self.arrivals = deque(maxlen=max(KEPT, depth))  # more if depth lags by more frames

    def _subscribe(self) -> Subscription:
        try:
            return self._node.create_subscription(
                self.message_type,
                self._relative_name,
                self._on_message,
                QoSProfile(**_SENSOR_INPUT),  # a copy: overrides are written into it
                callback_group=self._callback_group(),
                # Events would be waited on, and with them (in rmw_fastrtps) the arrival of data: 90 wake-ups a second.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE, callback=self._settle_qos),
            )
        except (InvalidQosOverridesError, InvalidParameterTypeException, RuntimeError) as error:  # rclpy has all three
            raise ConfigError(
                f"{self.name} cannot be subscribed: {error}; parameters qos_overrides.{self.name}.subscription.* are "
                "read at start only: start the node with others"
            ) from error

    def _callback_group(self) -> CallbackGroup | None:
        return UnwaitedGroup()

    def _on_message(self, message: Any, info: dict[str, Any]) -> None:
        """Called by executors that know no callback groups: they take every message."""
        with self._lock:
            if self._subscription is not None:
                self._keep([(message, info)], 1)
        self._node.get_logger().warning(
            f"this executor takes every image of {self.name}, whether a query needs it or not, which costs ten times "
            "the CPU: use the SingleThreadedExecutor or the MultiThreadedExecutor",
            once=True,
        )

    def _settle_qos(self, qos: QoSProfile) -> QosCallbackResult:
        """Checks the profile after its overrides, and fills in the offered QoS where they leave it open."""
        result = QosCallbackResult()
        result.successful = qos.history == HistoryPolicy.KEEP_LAST and 1 <= qos.depth <= 100
        result.reason = (
            ""
            if result.successful
            else "history must be keep_last with a depth of 1 to 100: only the newest messages are used"
        )
        reliability, durability = self._offered()
        self._asked = None
        if qos.reliability == ReliabilityPolicy.BEST_AVAILABLE:
            qos.reliability, self._asked = reliability, (reliability, durability)
        if qos.durability == DurabilityPolicy.BEST_AVAILABLE:
            qos.durability, self._asked = durability, (reliability, durability)
        return result

    def _offered(self) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
        offers = [endpoint.qos_profile for endpoint in self._node.get_publishers_info_by_topic(self.name)]
        self._is_spared = self._is_spared and self.statistics.received_share() >= LOSS_SHARE
        latched = bool(offers) and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        reliable = bool(offers) and all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        reliable = reliable and (latched or not self._is_spared)  # best effort would miss what was latched before
        return (
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )

    def _adapt(self) -> None:
        """Subscribes again if new publishers offer other QoS; keeps the messages already taken."""
        now = time.monotonic()
        if self._subscription is None or self._asked is None or now - self._adapted < ADAPT_EVERY_S:
            return
        self._adapted = now
        if self._node.count_publishers(self.name) and self._offered() != self._asked:
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
            self.statistics.restart()

    @property
    def open_for_s(self) -> float:
        """Seconds since it was subscribed; 0 if it is not."""
        return time.monotonic() - self._opened if self._subscription is not None else 0.0

    @property
    def publishers(self) -> int:
        """How many publishers are matched; if none is (yet), how many there are."""
        return self.matched or int(self._node.count_publishers(self.name))

    @property
    def matched(self) -> int:
        """How many publishers the subscription is connected to."""
        with self._lock:
            return int(self._subscription.get_publisher_count()) if self._subscription is not None else 0

    @property
    def is_reliable(self) -> bool:
        """Whether the subscription is reliable."""
        with self._lock:
            subscription = self._subscription
        return subscription is not None and subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE

    @property
    def age_s(self) -> float:
        """Seconds since a message was received; -1 if none ever was."""
        received = self.statistics.last_received_ns
        return time.time() - received / 1e9 if received else -1.0

    def publisher_names(self) -> list[str]:
        """Names of the nodes that publish it."""
        found = self._node.get_publishers_info_by_topic(self.name)
        return sorted(map(_publisher, found))

    def incompatible(self) -> str:
        """Why the middleware does not match this topic's publishers, and what to do; empty if it does."""
        with self._lock:
            if self._subscription is None:
                return ""
            wanted = self._subscription.qos_profile
        endpoints = self._node.get_publishers_info_by_topic(self.name)
        read = f"{self.message_type.__module__.split('.')[0]}/msg/{self.message_type.__name__}"
        if endpoints and all(endpoint.topic_type != read for endpoint in endpoints):
            found = endpoints[0].topic_type
            cure = _TYPE_CURES.get((found, read), "check how the topic is remapped")
            return f"{_publisher(endpoints[0])} publishes {found} there, and this node reads {read}; {cure}"
        for endpoint in endpoints:
            match, reason = qos_check_compatible(endpoint.qos_profile, wanted)
            if match == QoSCompatibility.ERROR:
                told = f"{_publisher(endpoint)}: {reason.strip().rstrip(';')}"
                return (
                    f"QoS cannot match ({told}); leave out the parameters "
                    f"qos_overrides.{self.name}.subscription.reliability and .durability, so that it takes what is "
                    "offered"
                )
        return ""

    def keep_more(self) -> None:
        """Keeps twice as many messages from now on, up to `MOST_KEPT`: those that belong to them come later."""
        with self._lock:
            kept = self.arrivals.maxlen or KEPT
            if self._subscription is not None and kept < MOST_KEPT:
                self.arrivals = deque(self.arrivals, maxlen=min(2 * kept, MOST_KEPT))

    @property
    def newest_header(self) -> Header | None:
        """Header of the newest message taken; None before the first."""
        with self._lock:
            return self.arrivals[-1].message.header if self.arrivals else None

    def drain(self) -> list[Arrival]:
        """Takes the messages that arrived since the last call; returns the newest ones known, oldest first."""
        with self._lock:
            if self._subscription is None:
                return []
            before, self._drained = self._drained, time.monotonic()
            batch = []
            for _ in range(4 * (self.arrivals.maxlen or KEPT)):  # a publisher faster than this loop must not block it
                taken = take(self._subscription)
                if taken is None:
                    break
                batch.append(taken)
            depth = self._subscription.qos_profile.depth
            if self._drained - before > NEW_QUERY_S and len(batch) >= depth:
                self.arrivals.clear()  # from an earlier query; the batch holds complete sets
            self._keep(batch, depth)
            self._adapt()
            return list(self.arrivals)

    def close(self) -> None:
        """Ends the subscription and drops the messages taken."""
        with self._lock:
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None
            self.arrivals.clear()

    def _keep(self, batch: list[tuple[Any, dict[str, Any]]], queue_depth: int) -> None:
        overflow = len(batch) >= queue_depth
        now = time.time_ns()
        received = [info.get("received_timestamp") or now for _, info in batch]  # Cyclone DDS does not report it
        alone = self._subscription is None or self._subscription.get_publisher_count() <= 1  # else meaningless
        numbers = [info.get("publication_sequence_number") if alone else None for _, info in batch]
        self.statistics.record(list(zip(received, numbers, strict=True)), overflow)
        for (message, _), received_ns in zip(batch, received, strict=True):
            stamp_ns = nanoseconds_of(message.header.stamp)
            if self.arrivals and stamp_ns < self.arrivals[-1].stamp_ns:
                self.arrivals.clear()  # the clock was set back (a bag restarted): drop the older messages
            self.arrivals.append(Arrival(message, stamp_ns, received_ns))


def _publisher(endpoint: Any) -> str:
    """Full name of the node that publishes, which is discovered a moment after its topics."""
    if "UNKNOWN" in endpoint.node_name:
        return "its publisher"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def take(subscription: Subscription) -> tuple[Any, dict[str, Any]] | None:
    """The oldest message that waits in the middleware, with its info; None if there is none."""
    with subscription.handle:
        taken: tuple[Any, dict[str, Any]] | None = subscription.handle.take_message(subscription.msg_type, False)
    return taken
