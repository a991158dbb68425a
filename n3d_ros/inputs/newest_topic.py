"""A subscription whose newest messages stay in the middleware until somebody asks for them.

An executor that waits on an image topic wakes, deserialises and calls back 30 times a second for images that nobody
looks at. Here no executor waits: the middleware keeps the last few messages (KEEP_LAST), and `drain` takes them when a
query comes. Measured on a 640x480 RGB-D camera at 30 Hz: a tenth of the CPU (`python -m bench.node`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.qos_overriding_options import InvalidQosOverridesError, QosCallbackResult, QoSOverridingOptions
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from n3d_core.errors import ConfigError
from n3d_ros.node.stamps import nanoseconds_of

WINDOW_S = 10.0
EVIDENCE = 10  # messages; of fewer nothing is concluded (discovery loses the first ones)
KEPT = 3  # colour and depth of one stamp arrive up to a frame apart: three of each always hold a pair
SENSOR_INPUT = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=KEPT, reliability=ReliabilityPolicy.BEST_EFFORT)


class UnwaitedGroup(CallbackGroup):
    """Nothing in it is ever executed, so that the executor leaves its subscriptions out of the wait set."""

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

    Where the middleware does not tell, that is the time at which the message was taken from it.
    """

    message: Any
    stamp_ns: int
    received_ns: int


@dataclass(frozen=True)
class Sample:
    """What one batch of taken messages says.

    Attributes:
        time: when it was taken (monotonic seconds).
        published: messages that the publisher has sent since the sample before.
        expected: of them, those that would be in the batch had none been lost.
        received: those that were.
    """

    time: float
    published: int
    expected: int
    received: int


class TopicStatistics:
    """Counts over the last ten seconds, from the publisher's sequence numbers (rmw's `publication_sequence_number`).

    The middleware keeps the last few messages only, so what is taken says nothing by its number. But a publisher
    numbers its messages: the numbers between two batches give the published rate, and a gap *inside* a batch is a
    message that the transport lost.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._last_sequence: int | None = None
        self._since = time.monotonic()
        self.last_received_ns = 0
        self.is_numbered = True  # False once a message came without a number: then neither rate nor loss is known

    def record(self, batch: Sequence[tuple[int, int | None]], overflow: bool, now: float | None = None) -> None:
        """Adds a batch of (received nanoseconds, sequence number), oldest first.

        `overflow`: the batch filled the queue, so that messages between it and the last batch may have been replaced
        by newer ones; else it holds all that arrived.
        """
        now = time.monotonic() if now is None else now
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
        if restarted:  # several publishers, or one that began again: their numbers cannot be told apart
            self._samples.append(Sample(now, len(batch), len(batch), len(batch)))
        else:
            self._samples.append(Sample(now, numbers[-1] - base, numbers[-1] - before, len(numbers)))
        self._last_sequence = numbers[-1]

    def published_hz(self, now: float | None = None) -> float:
        """Messages a second that the publisher has sent."""
        return self._total("published") / self._span(now)

    def received_hz(self, now: float | None = None) -> float:
        """Messages a second that came through the transport (whether or not they were looked at)."""
        return self.published_hz(now) * self.received_share()

    def received_share(self) -> float:
        """Share of the published messages that came through, 0..1; 1 where too little is known."""
        expected = self._total("expected")
        return self._total("received") / expected if expected >= EVIDENCE else 1.0

    def _total(self, name: str) -> int:
        return sum(getattr(sample, name) for sample in self._samples)

    def _span(self, now: float | None) -> float:
        end = time.monotonic() if now is None else now
        return max(end - self._since, 1e-3)


class NewestTopic:
    """The newest messages of one topic, oldest first in `arrivals`; safe to use from several threads.

    Nothing is subscribed before `open`.
    """

    def __init__(self, node: Node, message_type: type, name: str) -> None:
        self.name = node.resolve_topic_name(name)
        self.message_type = message_type
        self.arrivals: deque[Arrival] = deque(maxlen=KEPT)
        self.statistics = TopicStatistics()
        self._relative_name = name
        self._opened = 0.0
        self._node = node
        self._lock = threading.Lock()
        self._subscription: Subscription | None = None

    def open(self) -> None:
        """Subscribes; does nothing where that is done already.

        Raises:
            ConfigError: if its `qos_overrides` are not usable.
        """
        with self._lock:
            if self._subscription is None:
                self._begin(self._subscribe(_never_called, UnwaitedGroup()))

    def _begin(self, subscription: Subscription) -> None:
        self._opened, self._subscription = time.monotonic(), subscription
        self.arrivals = deque(maxlen=max(KEPT, subscription.qos_profile.depth))  # more, where depth lags by more frames

    def _subscribe(self, callback: Callable[..., None], group: CallbackGroup | None = None) -> Subscription:
        try:
            return self._node.create_subscription(
                self.message_type,
                self._relative_name,
                callback,
                _copy(SENSOR_INPUT),
                callback_group=group,
                # Events would be waited on, and with them (in rmw_fastrtps) the arrival of data: 90 wake-ups a second.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(callback=_check_qos),
            )
        except (InvalidQosOverridesError, InvalidParameterTypeException, RuntimeError) as error:  # rclpy has three
            raise ConfigError(
                f"{self.name} cannot be subscribed: {error}; parameters qos_overrides.{self.name}.subscription.* are "
                "read at start only: start the node with others"
            ) from error

    @property
    def open_for_s(self) -> float:
        """Seconds since it was subscribed; 0 where it is not."""
        return time.monotonic() - self._opened if self._subscription is not None else 0.0

    @property
    def publishers(self) -> int:
        """How many publishers are matched."""
        with self._lock:
            return int(self._subscription.get_publisher_count()) if self._subscription is not None else 0

    def incompatible(self) -> str:
        """Why publishers of this topic cannot be heard, as the middleware tells; empty where none is in that state."""
        with self._lock:
            if self._subscription is None:
                return ""
            wanted = self._subscription.qos_profile
        for endpoint in self._node.get_publishers_info_by_topic(self.name):
            match, reason = qos_check_compatible(endpoint.qos_profile, wanted)
            if match == QoSCompatibility.ERROR:
                return f"{endpoint.node_name}: {reason.strip().rstrip(';')}"
        return ""

    @property
    def newest_header(self) -> Header | None:
        """That of the newest message that was taken; None where none was."""
        with self._lock:
            return self.arrivals[-1].message.header if self.arrivals else None

    def drain(self) -> list[Arrival]:
        """Takes what has come since the last call; returns the newest messages known, oldest first."""
        with self._lock:
            if self._subscription is None:
                return []
            batch = []
            for _ in range(4 * (self.arrivals.maxlen or KEPT)):  # a publisher faster than this loop must not hold it
                taken = _take(self._subscription)
                if taken is None:
                    break
                batch.append(taken)
            self._keep(batch, self._subscription.qos_profile.depth)
            return list(self.arrivals)

    def close(self) -> None:
        """Ends the subscription; what was taken is let go."""
        with self._lock:
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None
            self.arrivals.clear()

    def _keep(self, batch: list[tuple[Any, dict[str, Any]]], queue_depth: int) -> None:
        overflow = len(batch) >= queue_depth
        now = time.time_ns()
        received = [info.get("received_timestamp") or now for _, info in batch]  # Cyclone DDS tells no such time
        numbers = [info.get("publication_sequence_number") for _, info in batch]
        self.statistics.record(list(zip(received, numbers, strict=True)), overflow)
        for (message, _), received_ns in zip(batch, received, strict=True):
            stamp_ns = nanoseconds_of(message.header.stamp)
            if self.arrivals and stamp_ns < self.arrivals[-1].stamp_ns:
                self.arrivals.clear()  # the clock was set back (a bag started again): the older world is gone
            self.arrivals.append(Arrival(message, stamp_ns, received_ns))


def _take(subscription: Subscription) -> tuple[Any, dict[str, Any]] | None:
    with subscription.handle:
        taken: tuple[Any, dict[str, Any]] | None = subscription.handle.take_message(subscription.msg_type, False)
    return taken


def _never_called(_message: Any) -> None:
    raise AssertionError("an executor took a message that only `drain` may take")


def _copy(profile: QoSProfile) -> QoSProfile:
    """Overrides are written into the profile that is passed; each topic gets its own."""
    return QoSProfile(history=profile.history, depth=profile.depth, reliability=profile.reliability)


def _check_qos(qos: QoSProfile) -> QosCallbackResult:
    result = QosCallbackResult()
    result.successful = qos.history == HistoryPolicy.KEEP_LAST and 1 <= qos.depth <= 100
    result.reason = (
        "" if result.successful else "history keep_last with a depth of 1 to 100 is wanted: only the newest is used"
    )
    return result
