"""A client of the grounding node for benchmarks and endurance runs."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher

from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import dds_profile

START_S = 300.0


@dataclass(frozen=True)
class TimedQuery:
    """A service call: the client's latency, the overhead over the pipeline, and the age of the image."""

    status: int
    latency_ms: float
    overhead_ms: float
    age_s: float


class BenchClient:
    """Calls `/grounding/ground` and reads `/diagnostics` of a node process, for the length of a `with` block.

    Its executor spins in a thread: rclpy's `spin_until_future_complete` returns before it has run the tasks that each
    future leaves, so they would pile up and slow down every further call.
    """

    def __init__(self, process: NodeProcess) -> None:
        self._process = process
        self.diagnostics: dict[str, str] = {}

    def __enter__(self) -> BenchClient:
        os.environ.update(dds_profile())
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = Node("bench", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._service = self._node.create_client(Ground, "/grounding/ground")
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait_until_answered(self, *wanted: int) -> None:
        """Returns after the first query with an expected status (default: OK); raises RuntimeError if there is none."""
        end, last = time.monotonic() + START_S, None
        while time.monotonic() < end and self._process.exit_code is None:
            if self._service.wait_for_service(1.0):
                last = self.call("mug", START_S)  # a node does not answer while it loads a model
                if last.status in (wanted or (Result.OK,)):
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the grounding node does not answer: {last.message if last else 'no service'}")

    def call(self, text: str, timeout_s: float = 120.0) -> Any:
        """The result of one query."""
        answered = threading.Event()
        future = self._service.call_async(Ground.Request(text=text))
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout_s):
            raise RuntimeError(f"no answer to {text!r} within {timeout_s:.0f} s")
        return future.result().result

    def timed_query(self, text: str, pause_s: float = 0.0) -> TimedQuery:
        """Calls after a pause. The overhead is the call's time minus the pipeline's stages (all but `image`)."""
        time.sleep(pause_s)
        began_ns = time.time_ns()
        result = self.call(text)
        latency_ms = (time.time_ns() - began_ns) / 1e6
        stages = {stage.stage: 1000 * stage.seconds for stage in result.times}
        stamp_ns = result.header.stamp.sec * 1_000_000_000 + result.header.stamp.nanosec
        taken_ns = began_ns + 1e6 * stages.get("image", 0.0)
        pipeline = sum(spent for stage, spent in stages.items() if stage != "image")
        return TimedQuery(result.status, latency_ms, latency_ms - pipeline, max(taken_ns - stamp_ns, 0) / 1e9)

    def create_publisher(self, kind: type, name: str) -> Publisher:
        """A reliable publisher of the client's node."""
        return self._node.create_publisher(kind, name, 2)

    def wait_until_idle(self, timeout_s: float = 60.0) -> None:
        """Returns once the node has ended its subscriptions to images; raises RuntimeError if it does not."""
        end = time.monotonic() + timeout_s
        while not self.diagnostics.get("/grounding: inputs", "").startswith("idle"):
            if time.monotonic() > end:
                raise RuntimeError(f"the node stays subscribed: {self.diagnostics.get('/grounding: inputs')}")
            time.sleep(0.1)

    def received_share(self, topic: str) -> float:
        """The node's diagnostics of a topic, from the next message."""
        self.diagnostics.clear()
        end = time.monotonic() + 10
        while f"{topic} received_share" not in self.diagnostics and time.monotonic() < end:
            time.sleep(0.1)
        return float(self.diagnostics[f"{topic} received_share"])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics.update({status.name: status.message for status in message.status})
        self.diagnostics.update({pair.key: pair.value for status in message.status for pair in status.values})


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
