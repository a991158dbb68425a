"""Endurance: `python -m bench.soak --minutes 10 --json`.

Runs a camera at 30 Hz and random queries (valid, empty, too long, of absent objects) for minutes. Memory must not grow,
latency must not drift, and a status other than the one expected for a text is `unexplained`.

- `rss_growth`: the median of the node's resident memory over the last tenth of the run over that of the second tenth,
  minus one. Before the clock starts every text is asked once, and the first tenth does not count either: by then model,
  kernels and the allocator's arenas are there. Medians of a tenth (a sample a second), because allocators return pages
  at irregular times.
- `p95_ratio`: the latency p95 of the last third over that of the first, of one text. It compares the node with itself,
  so it is invalid if the machine's load changes during the run.
- `medians_ms`: of the same text's latency in each tenth. They distinguish drift from temporary load.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from n3d_ros.msg import Result

from bench.client import BenchClient, resident_bytes
from bench.command import bench_parser, run_bench
from bench.node import write_scene
from n3d_ros.demo.node_process import NodeProcess

TARGETS = {"rss_growth": 0.02, "p95_ratio": 1.1}
log = logging.getLogger("n3d.bench")

TEXTS = {
    "mug": Result.OK,
    "red mug; blue can": Result.OK,
    "all objects": Result.OK,
    "unicorn": Result.OK,
    "": Result.EMPTY_TEXT,
    "mug " * 5000: Result.TEXT_TOO_LONG,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints one JSON line; exit code 1 if a target is missed."""
    parser = bench_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="n3d-tiny")
    parser.add_argument("--seed", type=int, default=0)
    return run_bench(measure, parser, arguments, status=lambda f: int(bool(f["missed"]) or f["unexplained"] > 0))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a node that answers queries for some minutes."""
    with tempfile.TemporaryDirectory() as scratch:
        write_scene(Path(scratch), "640x480")
        with (
            NodeProcess("n3d_ros.playback.camera_node", {"folder": scratch}),
            NodeProcess("n3d_ros.grounding_node", {"model": options.model}) as node,
            BenchClient(node) as client,
        ):
            client.wait_until_answered()
            for text in TEXTS:
                client.call(text)
            report = soak(client, node.pid, 60 * options.minutes, random.Random(options.seed))
    return report | {"missed": [name for name, target in TARGETS.items() if report[name] > target]}


def soak(client: BenchClient, pid: int, seconds: float, chance: random.Random) -> dict[str, Any]:
    """Sends queries for `seconds`, and returns the figures."""
    began = time.monotonic()
    latencies: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    queries = unexplained = 0
    while (now := time.monotonic() - began) < seconds:
        text = "mug" if chance.random() < 0.5 else chance.choice(list(TEXTS))
        answer = client.timed_query(text, chance.uniform(0, 0.1))
        queries += 1
        unexplained += answer.status != TEXTS[text]
        if text == "mug":  # one text, so that times are comparable
            latencies.append((now, answer.latency_ms))
        if not memory or now - memory[-1][0] >= 1.0:
            memory.append((now, resident_bytes(pid)))
            if len(memory) % 60 == 0:
                log.info("%.0f s: %d queries, %.0f MB", now, queries, memory[-1][1] / 1e6)
    early = np.median(_between(memory, 0.1 * seconds, 0.2 * seconds))
    late = np.median(_between(memory, 0.9 * seconds, seconds))
    first, last = (
        np.percentile(_between(latencies, third * seconds / 3, (third + 1) * seconds / 3), 95) for third in (0, 2)
    )
    tenths = [[ms for when, ms in latencies if int(10 * when / seconds) == k] for k in range(10)]
    return {
        "medians_ms": [round(float(np.median(tenth)), 1) if tenth else None for tenth in tenths],
        "minutes": round(seconds / 60, 2),
        "queries": queries,
        "unexplained": unexplained,
        "rss_mb": round(float(late) / 1e6, 1),
        "rss_growth": round(float(late / early - 1), 4),
        "p95_ms": round(float(last), 1),
        "p95_ratio": round(float(last / first), 3),
    }


def _between(samples: list[tuple[float, float]], low: float, high: float) -> list[float]:
    """The values measured in a span of time."""
    found = [value for when, value in samples if low <= when < high]
    if not found:
        sys.exit(
            f"nothing was measured from {low:.0f} s to {high:.0f} s: queries take too long here; give more --minutes"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
