"""Whether cleanup gives memory back: `python test/lifecycle_memory.py [--cycles 20] [--json]`.

One grounding node goes through configure, activate, deactivate and cleanup again and again. What torch and the kernels
keep for the process is taken in the first cycles; `growth_mb` is the resident memory after the last cleanup over that
after the third, and `held_mb` what a configured node holds over a cleaned one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from bench.client import resident_bytes
from n3d_ros.grounding_node import GroundingNode

SETTLED = 3  # cycles
MOST_GROWTH_MB = 15.0  # of allocators and DDS, in no relation to the number of cycles: one leaked model is 35 a cycle


def main() -> int:
    """Measures and prints one JSON line; exit code 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--model", default="n3d-tiny")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    if options.cycles <= SETTLED:
        parser.error(f"more than {SETTLED} cycles are wanted")
    report = measure(options.cycles, options.model, options.backend, tell=not options.json)
    print(json.dumps(report))
    return int(report["growth_mb"] > MOST_GROWTH_MB)


def measure(cycles: int, model: str, backend: str, tell: bool = False) -> dict:
    """Resident memory over `cycles` turns of the lifecycle, in MB."""
    context = rclpy.Context()
    rclpy.init(context=context)
    settings = {"model": model, "backend": backend, "autostart": False}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = GroundingNode(context=context, parameter_overrides=overrides)
    configured, cleaned = [], []
    try:
        for cycle in range(cycles):
            _must(node.trigger_configure)
            _must(node.trigger_activate)
            configured.append(resident_bytes(os.getpid()) / 1e6)
            _must(node.trigger_deactivate)
            _must(node.trigger_cleanup)
            cleaned.append(resident_bytes(os.getpid()) / 1e6)
            if tell:
                print(f"{cycle + 1}: {configured[-1]:.1f} MB active, {cleaned[-1]:.1f} MB cleaned", file=sys.stderr)
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return {
        "cycles": cycles,
        "model": model,
        "rss_mb": round(cleaned[-1], 1),
        "growth_mb": round(cleaned[-1] - cleaned[SETTLED - 1], 1),
        "held_mb": round(configured[-1] - cleaned[-1], 1),
    }


def _must(transition) -> None:
    if transition() != TransitionCallbackReturn.SUCCESS:
        raise RuntimeError(f"{transition.__name__} failed: see the log")


if __name__ == "__main__":
    sys.exit(main())
