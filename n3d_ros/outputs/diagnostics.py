"""The node's state on /diagnostics, once a second: model, inputs, queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.node import Node

from n3d_ros.errors import STATUS_NAMES
from n3d_ros.inputs.health import InputReport
from n3d_ros.msg import Result
from n3d_ros.outputs.query_log import QueryLog
from n3d_ros.queries.memory import gpu_memory, rss_bytes

_OF_THE_MODEL = (Result.MODEL_FAILURE, Result.UNPARSABLE)


class DiagnosticsTopic:
    """Publishes the statuses that `collect` returns, once a second by `clock`; warnings go to the log too."""

    def __init__(self, node: Node, collect: Callable[[], Sequence[DiagnosticStatus]], clock: Clock) -> None:
        self._node = node
        self._collect = collect
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(1.0, self._publish, clock=clock)

    def _publish(self) -> None:
        message = DiagnosticArray(status=self._collect())
        warnings = [status.message for status in message.status if status.level == DiagnosticStatus.WARN]
        if warnings:
            self._node.get_logger().warning("; ".join(warnings), throttle_duration_sec=10.0)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def model_status(name: str, state: str, model: Any, error: str) -> DiagnosticStatus:
    """Which model runs on which backend, and the memory that it takes; `error`: why the last transition failed."""
    values = {"state": state, "memory_rss_mb": f"{rss_bytes() / 1e6:.0f}", **gpu_memory()}
    level = DiagnosticStatus.ERROR if error else DiagnosticStatus.OK
    if model is None:
        return _status(f"{name}: model", level, error or f"no model is loaded ({state})", values)
    values |= {
        "model": model.name,
        "backend": model.backend.name,
        "backend_reason": model.backend.reason,
        "memory_model_mb": f"{model.memory_bytes / 1e6:.0f}",
    }
    return _status(f"{name}: model", level, error or f"{model.name} on {model.backend.name}", values)


def input_status(name: str, report: InputReport | None) -> DiagnosticStatus:
    """Rates, ages and losses of the inputs; what is wrong with them is named, with its cure."""
    if report is None:
        return _status(f"{name}: inputs", DiagnosticStatus.OK, "no topic is subscribed", {})
    level = DiagnosticStatus.WARN if report.problems else DiagnosticStatus.OK
    message = "; ".join(report.problems) or "images and camera info are coming"
    return _status(f"{name}: inputs", level, message, report.values)


def query_status(name: str, log: QueryLog, load: tuple[int, int]) -> DiagnosticStatus:
    """Latencies, image ages, queue and the last error; a warning while the last query is one that the model failed."""
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
    return _status(f"{name}: queries", level, f"{total} queries, {failures} failed in the model", values)


def _status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs: Sequence[KeyValue] = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, hardware_id="n3d", level=level, message=message, values=pairs)
