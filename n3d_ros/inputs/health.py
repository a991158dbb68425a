"""Health of the input topics: rates, ages, losses and mismatches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from n3d_core.messages.assembly import frame_of
from n3d_ros.frames.placement import frame_doubts
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.newest_topic import LOSS_SHARE, NewestTopic
from n3d_ros.inputs.rgbd_topics import RgbdTopics, crowd_of, explain_loss, explain_silence

SILENT_S = 3.0
LOOK_EVERY_S = 2.0  # checking takes the newest images from the middleware, which costs as much as a query's read
WAITED_FOR_S = 0.5  # a query waits this long for the second of two images
LINGER_S = 10.0  # after a query the images stay subscribed for this long, so that only the first of several wakes them
_PULSE_HZ = 1.0  # camera infos at this rate show that the camera is alive


@dataclass
class InputReport:
    """Problems of the inputs, each with its fix, and figures.

    Attributes:
        problems: empty if all is well.
        values: name -> figure.
        is_resting: whether the images are not subscribed until a query needs them.
    """

    problems: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    is_resting: bool = False


class InputWatch:
    """Checks the input topics at most every `LOOK_EVERY_S` and keeps the last report.

    It also lets unused images rest (parameter `lazy`), but not while something is wrong with them, and wakes them if
    their publishers disappear or the camera info stops, so that faults, and their end, are still noticed.

    Args:
        topics: what it checks.
        linger_s: how long images must be unused before they rest.
    """

    def __init__(self, topics: RgbdTopics, linger_s: float = LINGER_S) -> None:
        self._topics = topics
        self._linger_s = linger_s
        self._report = InputReport()
        self._looked = self._busy = float("-inf")
        self._has_pulse = False  # whether the camera info came regularly before the images were put to rest
        self._is_suspicious = False  # the camera info has stopped, and nothing else has shown yet that the camera has
        self._trusts_pulse = True  # False once it stopped though the camera went on

    def report(self, parameters: GroundingParameters, lazy: bool = False, busy: bool = False) -> InputReport:
        """The current report, at most `LOOK_EVERY_S` old.

        Args:
            parameters: the node's.
            lazy: whether unused images may rest.
            busy: whether a query runs or waits.
        """
        now = time.monotonic()
        if busy:
            self._busy = now
        if now - self._looked >= LOOK_EVERY_S - 0.1:  # timers fire slightly early or late
            self._looked = now
            self._report = input_report(self._topics, parameters)
            self._settle(parameters, lazy)
        return self._report

    @property
    def _is_well(self) -> bool:
        """Whether images come, and nothing is wrong with them."""
        return not self._report.problems and all(topic.newest_header is not None for topic in self._topics.images)

    def _settle(self, parameters: GroundingParameters, lazy: bool) -> None:
        """Wakes the images or lets them rest."""
        topics, info = self._topics, self._topics.info
        if self._report.problems:
            self._is_suspicious = False  # it was right
        if topics.is_resting:
            self._is_suspicious = self._has_pulse and info.age_s > SILENT_S
            if not lazy or self._is_suspicious or any(topic.publishers == 0 for topic in topics.images):
                topics.wake()
        elif lazy and self._is_well and time.monotonic() - self._busy > self._linger_s:
            topics.rest(self._linger_s)
            if topics.is_resting:
                self._trusts_pulse = self._trusts_pulse and not self._is_suspicious
                self._has_pulse = self._trusts_pulse and info.statistics.published_hz() >= _PULSE_HZ
                self._report = input_report(topics, parameters)


def input_report(topics: RgbdTopics, parameters: GroundingParameters) -> InputReport:
    """Takes the messages that have arrived and reports problems."""
    arrivals = dict(zip(topics.all, topics.drain(parameters.depth_registration), strict=True))
    problems = _silences_and_losses(topics, arrivals)
    if topics.has_depth and all(arrivals[topic] for topic in topics.required):
        problems += _mismatches(topics, arrivals, parameters.pairing_tolerance)
    if color := arrivals[topics.color]:
        problems += frame_doubts(frame_of(color[-1].message))
    values: dict[str, str] = {}
    for topic in (topic for topic in topics.all if topic.open_for_s > 0):
        statistics = topic.statistics
        if statistics.is_numbered:
            values[f"{topic.name} published_hz"] = f"{statistics.published_hz():.1f}"
            values[f"{topic.name} received_share"] = f"{statistics.received_share():.3f}"
        values[f"{topic.name} age_s"] = f"{topic.age_s:.2f}"
        values[f"{topic.name} publishers"] = str(topic.publishers)
    return InputReport(problems, values, topics.is_resting)


def _silences_and_losses(topics: RgbdTopics, arrivals: dict[NewestTopic, list[Any]]) -> list[str]:
    never = [topic for topic in topics.required if not arrivals[topic] and topic.open_for_s > SILENT_S]
    found = [explain_silence(never)] if never else []
    came = [topic for topic in topics.required if arrivals[topic]]
    found += [
        f"{topic.name} has been silent for {topic.age_s:.0f} s: "
        + (topic.incompatible() or f"{topic.publishers} publishers")
        for topic in came
        if topic.age_s > SILENT_S and topic is not topics.info
    ]
    if crowd := crowd_of(topics.required):
        found.append(crowd.removeprefix("; "))
    lossy = [topic for topic in came if topic.statistics.received_share() < LOSS_SHARE]
    if lossy:
        found.append(explain_loss(lossy))
    return found


def _mismatches(topics: RgbdTopics, arrivals: dict[NewestTopic, list[Any]], tolerance_s: float) -> list[str]:
    """Problems in the headers that would prevent a frame from the newest messages."""
    color, depth, info = (arrivals[topic][-1].message for topic in topics.required)
    found = []
    gap = min(abs(c.stamp_ns - d.stamp_ns) for c in arrivals[topics.color] for d in arrivals[topics.depth]) / 1e9
    behind = topics.behind(arrivals[topics.color], arrivals[topics.depth], round(tolerance_s * 1e9))
    is_lossy = any(topic.statistics.received_share() < LOSS_SHARE for topic in (topics.color, topics.depth))
    if gap > tolerance_s and (dead := topics.dead_stream()):
        found.append(dead)
    elif gap > tolerance_s and not is_lossy and not (behind and gap < WAITED_FOR_S):
        found.append(
            f"colour and depth do not pair: nearest stamps are {gap:.3f} s apart, pairing_tolerance is {tolerance_s} s"
        )
    size, depth_size = ((m.width, m.height) if hasattr(m, "width") else None for m in (color, depth))
    if size and info.width and size != (info.width, info.height) and not (info.roi.width or info.binning_x):
        found.append(f"colour is {size[0]}x{size[1]} and its camera info {info.width}x{info.height}")
    registered = bool(arrivals[topics.depth_info]) or topics.depth_info.open_for_s < SILENT_S
    if size and depth_size and size != depth_size and not registered:
        found.append(
            f"depth is {depth_size[0]}x{depth_size[1]} and colour {size[0]}x{size[1]}, and "
            f"{topics.depth_info.name} is silent: depth cannot be registered"
        )
    if frame_of(depth) not in ("", frame_of(color)) and not registered:
        found.append(
            f"depth is in frame {frame_of(depth)!r} and colour in {frame_of(color)!r}, and "
            f"{topics.depth_info.name} is silent"
        )
    return found
