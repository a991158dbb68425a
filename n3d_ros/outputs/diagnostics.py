"""Publishes the node's state on /diagnostics once a second (model, inputs, queries) and limits repeated logs."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from n3d_ros.msg import Result
from rclpy.clock import Clock
from rclpy.node import Node

from n3d_ros.errors import STATUS_NAMES
from n3d_ros.inputs.health import InputReport
from n3d_ros.queries.models import gpu_memory, rss_bytes

RECENT = 100
_UNINFORMATIVE = (Result.CANCELLED, Result.REPLACED, Result.BUSY, Result.NOT_ACTIVE)


@dataclass
class QueryLog:
    """Counts by status, latencies of the last queries, the last status and the last error; written by several threads.

    Queries that were cancelled, or refused by a busy or inactive node, are counted but do not change the last status.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    stages_ms: dict[str, float] = field(default_factory=dict)
    last_status: int = Result.OK
    last_error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def succeeded(self, times: dict[str, float], age_ms: float) -> None:
        """Records an answered query: its stages, and the age of its image when taken."""
        with self._lock:
            self.statuses[Result.OK] += 1
            self.last_status = Result.OK
            self.latencies_ms.append(sum(times.values()))
            self.ages_ms.append(age_ms)
            self.stages_ms = dict(times)

    def failed(self, status: int, message: str) -> None:
        """Records a query that was not answered."""
        with self._lock:
            self.statuses[status] += 1
            if status not in _UNINFORMATIVE:
                self.last_status = status
            if status not in (Result.CANCELLED, Result.REPLACED):
                self.last_error = message

    def snapshot(self) -> QueryLog:
        """A consistent copy."""
        with self._lock:
            return QueryLog(
                Counter(self.statuses),
                deque(self.latencies_ms),
                deque(self.ages_ms),
                dict(self.stages_ms),
                self.last_status,
                self.last_error,
            )


_NUMBER = re.compile(r"\d+(\.\d+)?")
_SHARES = re.compile(r"# % of [^\s,]+(, # % of [^\s,]+)*")


class BackOff:
    """Decides which of many equal messages are logged: the first, then one after 10 s, 20 s, 40 s, … up to 10 min.

    Messages that differ only in their numbers are equal, and shares of whichever topics (`7 % of /color/image_raw, 4 %
    of …`). The pause resets for one not seen for twice as long.
    """

    FIRST_S, LONGEST_S, MOST = 10.0, 600.0, 100

    def __init__(self) -> None:
        self._seen: dict[str, _Repeats] = {}
        self._lock = threading.Lock()

    def due(self, message: str, now: float | None = None) -> int | None:
        """How many equal messages were suppressed since the last logged one; None if this one is suppressed too.

        `now`: monotonic seconds.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            key = _SHARES.sub("shares", _NUMBER.sub("#", message))
            known = self._seen.pop(key, None)
            if known is None or now - known.seen > 2 * known.pause_s:
                known = _Repeats(now, now, self.FIRST_S)
                left_out: int | None = 0
            elif now - known.logged >= known.pause_s:
                left_out = known.left_out
                known = _Repeats(now, now, min(2 * known.pause_s, self.LONGEST_S))
            else:
                known = _Repeats(known.logged, now, known.pause_s, known.left_out + 1)
                left_out = None
            self._seen[key] = known
            if len(self._seen) > self.MOST:
                del self._seen[next(iter(self._seen))]  # the least recently seen
            return left_out


@dataclass(frozen=True)
class _Repeats:
    logged: float
    seen: float
    pause_s: float
    left_out: int = 0


_OF_THE_MODEL = (Result.MODEL_FAILURE, Result.UNPARSABLE)


class DiagnosticsTopic:
    """Publishes the statuses that `collect` returns, once a second by `clock`, and logs their warnings."""

    def __init__(self, node: Node, collect: Callable[[], Sequence[DiagnosticStatus]], clock: Clock) -> None:
        self._node = node
        self._collect = collect
        self._repeats = BackOff()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(1.0, self._publish, clock=clock)

    def _publish(self) -> None:
        message = DiagnosticArray(status=self._collect())
        problems = "; ".join(s.message for s in message.status if s.level == DiagnosticStatus.WARN)
        # one by one: each new combination of the same problems would count as a new message
        if [p for p in problems.split("; ") if p and self._repeats.due(p) is not None]:
            self._node.get_logger().warning(problems)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def model_status(name: str, state: str, model: Any, error: str) -> DiagnosticStatus:
    """Model, backend and memory use; `error`: why the last transition failed."""
    values = {"state": state, "memory_rss_mb": f"{rss_bytes() / 1e6:.0f}", **gpu_memory()}
    level = DiagnosticStatus.ERROR if error else DiagnosticStatus.OK
    if model is None:
        return status_message(f"{name}: model", level, error or f"no model is loaded ({state})", values)
    values |= {
        "model": model.name,
        "backend": model.backend.name,
        "backend_reason": model.backend.reason,
        "memory_model_mb": f"{model.memory_bytes / 1e6:.0f}",
    }
    return status_message(f"{name}: model", level, error or f"{model.name} on {model.backend.name}", values)


def input_status(name: str, report: InputReport | None) -> DiagnosticStatus:
    """Rates, ages and losses of the inputs, and each problem with its fix."""
    if report is None:
        return status_message(f"{name}: inputs", DiagnosticStatus.OK, "no topic is subscribed", {})
    level = DiagnosticStatus.WARN if report.problems else DiagnosticStatus.OK
    well = "idle: images are not subscribed until a query needs them (parameter lazy)"
    well = well if report.is_resting else "images and camera info are arriving"
    message = "; ".join(report.problems) or well
    return status_message(f"{name}: inputs", level, message, report.values)


def query_status(name: str, log: QueryLog, load: tuple[int, int]) -> DiagnosticStatus:
    """Latencies, image ages, queue and the last error; a warning if the last query failed in the model."""
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
    failures = sum(log.statuses[status] for status in _OF_THE_MODEL)
    level = DiagnosticStatus.WARN if log.last_status in _OF_THE_MODEL else DiagnosticStatus.OK
    return status_message(f"{name}: queries", level, f"{total} queries, {failures} failed in the model", values)


def status_message(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    """A status of this package."""
    pairs: Sequence[KeyValue] = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, hardware_id="n3d", level=level, message=message, values=pairs)
