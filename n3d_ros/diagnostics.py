"""The node's state as a DiagnosticArray: model, inputs, queries."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from n3d_ros.msg import Result
from n3d_ros.newest_topic import NewestTopic
from n3d_ros.query_log import QueryLog
from n3d_ros.rgbd_topics import LOSS_CURE, LOSS_SHARE, RgbdTopics, explain_silence

SILENT_S = 3.0
STATUS_NAMES = {value: name for name in dir(Result) if isinstance(value := getattr(Result, name), int)}


def model_status(name: str, state: str, model: Any, error: str) -> DiagnosticStatus:
    """Which model runs on which backend, and the memory that it takes."""
    values = {"state": state, "memory_rss_mb": f"{rss_bytes() / 1e6:.0f}"}
    if model is None:
        level = DiagnosticStatus.ERROR if error else DiagnosticStatus.OK
        return _status(f"{name}: model", level, error or f"no model is loaded ({state})", values)
    values |= {
        "model": model.name,
        "backend": model.backend.name,
        "backend_reason": model.backend.reason,
        "memory_model_mb": f"{model.memory_bytes / 1e6:.0f}",
    }
    return _status(f"{name}: model", DiagnosticStatus.OK, f"{model.name} on {model.backend.name}", values)


def input_status(name: str, topics: RgbdTopics | None, tolerance_s: float, registration: str) -> DiagnosticStatus:
    """Rates, ages and losses of the inputs; what is wrong with them is named, with its cure."""
    if topics is None:
        return _status(f"{name}: inputs", DiagnosticStatus.OK, "not active: nothing is subscribed", {})
    arrivals = dict(zip(topics.all, topics.drain(registration), strict=True))
    problems = _silences_and_losses(topics)
    if all(topic.arrivals for topic in topics.required):
        problems += _mismatches(topics, arrivals, tolerance_s)
    values: dict[str, str] = {}
    for topic in (topic for topic in topics.all if topic.open_for_s > 0):
        statistics = topic.statistics
        values[f"{topic.name} published_hz"] = f"{statistics.published_hz():.1f}"
        values[f"{topic.name} received_share"] = f"{statistics.received_share():.3f}"
        values[f"{topic.name} age_s"] = f"{_age(topic):.2f}"
        values[f"{topic.name} publishers"] = str(topic.publishers)
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    return _status(f"{name}: inputs", level, "; ".join(problems) or "colour, depth and camera info are coming", values)


def query_status(name: str, log: QueryLog, load: tuple[int, int]) -> DiagnosticStatus:
    """Latencies, image ages, queue and the last error."""
    values = {"running": str(load[0]), "waiting": str(load[1]), "last_error": log.last_error}
    values |= {
        f"count {STATUS_NAMES.get(status, status)}": str(count) for status, count in sorted(log.statuses.items())
    }
    values |= {f"last {stage} ms": f"{spent:.1f}" for stage, spent in log.stages_ms.items()}
    if log.latencies_ms:
        values["latency_ms p50"] = f"{np.percentile(log.latencies_ms, 50):.1f}"
        values["latency_ms p95"] = f"{np.percentile(log.latencies_ms, 95):.1f}"
        values["image_age_ms p95"] = f"{np.percentile(log.ages_ms, 95):.1f}"
    total = sum(log.statuses.values())
    failures = log.statuses[Result.MODEL_FAILURE] + log.statuses[Result.UNPARSABLE]
    level = DiagnosticStatus.WARN if failures else DiagnosticStatus.OK
    return _status(f"{name}: queries", level, f"{total} queries, {failures} failed in the model", values)


def rss_bytes() -> int:
    """Memory of this process: resident now where /proc tells it, else the most it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _silences_and_losses(topics: RgbdTopics) -> list[str]:
    never = [topic for topic in topics.required if not topic.arrivals and topic.open_for_s > SILENT_S]
    found = [explain_silence(never)] if never else []
    came = [topic for topic in topics.required if topic.arrivals]
    found += [
        f"{topic.name} has been silent for {_age(topic):.0f} s ({topic.publishers} publishers)"
        for topic in came
        if _age(topic) > SILENT_S
    ]
    lossy = [topic for topic in came if topic.statistics.received_share() < LOSS_SHARE]
    if lossy:
        shares = ", ".join(f"{100 * topic.statistics.received_share():.0f} % of {topic.name}" for topic in lossy)
        found.append(f"only {shares} is received: {LOSS_CURE}")
    return found


def _mismatches(topics: RgbdTopics, arrivals: dict[NewestTopic, list[Any]], tolerance_s: float) -> list[str]:
    """What would keep the newest messages from becoming a frame, as far as headers tell."""
    color, depth, info = (arrivals[topic][-1].message for topic in topics.required)
    found = []
    gap = min(abs(c.stamp_ns - d.stamp_ns) for c in arrivals[topics.color] for d in arrivals[topics.depth]) / 1e9
    if gap > tolerance_s:
        found.append(
            f"colour and depth do not pair: nearest stamps are {gap:.3f} s apart, pairing_tolerance is {tolerance_s} s"
        )
    size, depth_size = ((m.width, m.height) if hasattr(m, "width") else None for m in (color, depth))
    if size and size != (info.width, info.height) and not (info.roi.width or info.binning_x):
        found.append(f"colour is {size[0]}x{size[1]} and its camera info {info.width}x{info.height}")
    registered = bool(topics.depth_info.arrivals) or topics.depth_info.open_for_s < SILENT_S
    if size and depth_size and size != depth_size and not registered:
        found.append(
            f"depth is {depth_size[0]}x{depth_size[1]} and colour {size[0]}x{size[1]}, and "
            f"{topics.depth_info.name} is silent: depth cannot be registered"
        )
    if depth.header.frame_id not in ("", color.header.frame_id) and not registered:
        found.append(
            f"depth is in frame {depth.header.frame_id!r} and colour in {color.header.frame_id!r}, and "
            f"{topics.depth_info.name} is silent"
        )
    return found


def _age(topic: NewestTopic) -> float:
    """Seconds since a message was received, -1 if none ever was."""
    received = topic.statistics.last_received_ns
    return time.time() - received / 1e9 if received else -1.0


def _status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs: Sequence[KeyValue] = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, hardware_id="n3d", level=level, message=message, values=pairs)
