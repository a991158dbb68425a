"""Endurance: `python test/soak.py --minutes 10 --json`.

A camera at 30 Hz and random queries (good, empty, endless, of absent things) for minutes. Memory must not grow, latency
must not drift: `rss_growth` is the resident memory at the end over that after the first tenth, less one; `p95_ratio` is
the latency p95 of the last third over that of the first. A status other than the one
that a text must have is `unexplained`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from n3d_ros.msg import Result

from n3d_ros.node_process import NodeProcess
from test.bench_client import BenchClient, resident_bytes
from test.bench_node import write_scene

TARGETS = {"rss_growth": 0.02, "p95_ratio": 1.1}
TEXTS = {
    "mug": Result.OK,
    "red mug; blue can": Result.OK,
    "all objects": Result.OK,
    "unicorn": Result.OK,
    "": Result.EMPTY_TEXT,
    "mug " * 5000: Result.TEXT_TOO_LONG,
}


def main() -> int:
    """Runs and prints one JSON line; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="n3d-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_scene(Path(scratch), "640x480")
        with (
            NodeProcess("n3d_ros.camera_node", {"folder": scratch}),
            NodeProcess("n3d_ros.grounding_node", {"model": options.model}) as node,
            BenchClient(node) as client,
        ):
            client.wait_until_answered()
            report = soak(client, node.pid, 60 * options.minutes, random.Random(options.seed), not options.json)
    report["missed"] = [name for name, target in TARGETS.items() if report[name] > target]
    print(json.dumps(report))
    return int(bool(report["missed"]) or report["unexplained"] > 0)


def soak(client: BenchClient, pid: int, seconds: float, chance: random.Random, tell: bool) -> dict:
    """Asks for `seconds`, and returns the figures."""
    began = time.monotonic()
    latencies: list[tuple[float, float]] = []
    memory: list[tuple[float, int]] = []
    queries = unexplained = 0
    while (now := time.monotonic() - began) < seconds:
        text, wanted = chance.choice(list(TEXTS.items()))
        answer = client.timed_query(text, chance.uniform(0, 0.1))
        queries += 1
        unexplained += answer.status != wanted
        if text == "mug":  # one text, so that its times can be compared
            latencies.append((now, answer.latency_ms))
        if not memory or now - memory[-1][0] >= 1.0:
            memory.append((now, resident_bytes(pid)))
            if tell and len(memory) % 60 == 0:
                print(f"{now:.0f} s: {queries} queries, {memory[-1][1] / 1e6:.0f} MB", file=sys.stderr)
    early = np.median([size for when, size in memory if when < 0.2 * seconds and when >= 0.1 * seconds])
    late = np.median([size for when, size in memory if when >= 0.9 * seconds])
    first, last = (
        np.percentile([ms for when, ms in latencies if low <= when / seconds < high], 95)
        for low, high in ((0, 1 / 3), (2 / 3, 1))
    )
    return {
        "minutes": round(seconds / 60, 2),
        "queries": queries,
        "unexplained": unexplained,
        "rss_mb": round(float(late) / 1e6, 1),
        "rss_growth": round(float(late / early - 1), 4),
        "p95_ms": round(float(last), 1),
        "p95_ratio": round(float(last / first), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
