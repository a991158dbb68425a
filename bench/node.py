"""Measures the cost of the grounding node at camera rate: `python -m bench.node [--sizes 640x480,1280x720] [--json]`.

Plays RGB-D at 30 Hz to the idle grounding node and to a plain rclpy node (`bench/plain_node.py`) side by side, and
compares their CPU time; then queries the node, and measures the age of its images and the overhead of a service call
over the bare pipeline. The first query finds the images unsubscribed (parameter `lazy`) and is reported separately.
With `--always-subscribed` they never are. The last line is JSON; with several sizes, the targets apply to the first.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.client import BenchClient, cpu_seconds
from bench.command import bench_parser, run_bench
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import write_frame
from n3d_ros.demo.node_process import NodeProcess

RATE = 30.0
TARGETS = {"idle_cpu_ratio": 0.12, "frame_age_p95_periods": 1.5, "service_overhead_ms": 10.0}
LEAST_RECEIVED = 0.98  # below it the comparison is meaningless


@dataclass(frozen=True)
class Figures:
    """Figures of one image size. CPU in percent of one core; ages in camera periods; times in milliseconds."""

    size: str
    idle_cpu_percent: float
    plain_cpu_percent: float
    idle_cpu_ratio: float
    received_share: float
    frame_age_p95_periods: float
    service_overhead_ms: float
    service_latency_ms: float
    first_query_added_ms: float

    @property
    def void(self) -> bool:
        """Whether too many images were lost for a comparison."""
        return self.received_share < LEAST_RECEIVED


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table and a JSON line; exit code 1 if a target is missed, 2 if too many images were lost."""
    parser = bench_parser(__doc__)
    parser.add_argument("--sizes", default="640x480,1280x720")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the idle comparison, each size")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--model", default="n3d-tiny")
    parser.add_argument("--always-subscribed", action="store_true", help="run the node with lazy:=false")

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        sizes = [measure(size, options) for size in options.sizes.split(",")]
        missed = [name for name, target in TARGETS.items() if getattr(sizes[0], name) > target]
        return {**asdict(sizes[0]), "void": sizes[0].void, "missed": missed, "sizes": [asdict(f) for f in sizes]}

    return run_bench(figures, parser, arguments, status=lambda f: 2 if f["void"] else int(bool(f["missed"])))


def measure(size: str, options: argparse.Namespace) -> Figures:
    """All figures of one image size."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        write_scene(Path(scratch), size)
        log = stack.enter_context(open(Path(scratch) / "plain.log", "w+"))
        camera = NodeProcess("n3d_ros.playback.camera_node", {"folder": scratch, "rate": RATE})
        settings = {"model": options.model, "image_timeout": 5.0, "lazy": not options.always_subscribed}
        stack.enter_context(camera)
        node = stack.enter_context(NodeProcess("n3d_ros.grounding_node", settings))
        client = stack.enter_context(BenchClient(node))
        client.wait_until_answered()
        plain = stack.enter_context(NodeProcess("bench.plain_node", log=log))
        time.sleep(5.0)  # discovery and imports are over
        if not options.always_subscribed:
            client.wait_until_idle()
        idle, busy = share_of_cpu((node, plain), options.seconds)
        plain.interrupt()
        log.seek(0)
        plain_report = json.loads(log.readlines()[-1])
        first = client.timed_query("mug")
        asked = [client.timed_query("mug", random.uniform(0, 2 / RATE)) for _ in range(options.queries)]
        received = client.received_share("/color/image_raw")
        latency_ms = statistics.median(query.latency_ms for query in asked)
        return Figures(
            size,
            round(100 * idle, 2),
            round(100 * busy, 2),
            round(idle / busy, 4),
            round(min(received, plain_report["received_share"]), 4),
            round(float(np.percentile([query.age_s for query in asked], 95)) * RATE, 3),
            round(statistics.median(query.overhead_ms for query in asked), 2),
            round(latency_ms, 1),
            round(first.latency_ms - latency_ms, 1),
        )


def write_scene(folder: Path, size: str) -> None:
    """One textured frame in front of a wall."""
    width, height = (int(part) for part in size.split("x"))
    color = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    write_frame(folder, 0, Frame(color, np.full((height, width), 1.2, np.float32), Camera.from_fov(60, width, height)))


def share_of_cpu(nodes: tuple[NodeProcess, ...], seconds: float) -> list[float]:
    """Cores that each process used over the same span."""
    before, began = [cpu_seconds(node.pid) for node in nodes], time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - began
    return [(cpu_seconds(node.pid) - start) / spent for node, start in zip(nodes, before, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
