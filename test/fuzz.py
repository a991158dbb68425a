"""Fuzzing of the door: `python test/fuzz.py --messages 1000000 --json`.

In this process: random damage to the messages of a good frame (sizes, steps, encodings, data, stamps, intrinsics,
distortion, frames, compressed payloads); each must become a frame or an error of the package's own with a message. Over
DDS: a share of them is published to a real node, which must stay alive and answer with a code that names the cause.
Progress goes to standard error, one JSON line to standard output.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from n3d_ros.msg import Result
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image

from bench.client import BenchClient, resident_bytes
from n3d_core.errors import N3DError
from n3d_core.messages.assembly import FrameOptions, RgbdMessages, assemble_frame
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.errors import status_of
from test.damage import damaged, good_messages, transform

EXPLAINED = {Result.OK, Result.NO_IMAGE, Result.STALE_IMAGE, Result.BAD_DEPTH, Result.BAD_CAMERA, Result.NO_TRANSFORM}
TELL_EVERY_S = 10.0
ANSWER_S = 60.0  # a node that does not answer for this long hangs


def main() -> int:
    """Runs both parts and prints one JSON line; exit code 1 on a crash or an unexplained outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="sets damaged in this process")
    parser.add_argument("--dds-messages", type=int, help="sets published to a real node (default: a thousandth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="n3d-tiny")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    began = time.monotonic()
    with decoders_silenced():
        report = in_process(options.messages, chance)
    on_wire = options.messages // 1000 if options.dds_messages is None else options.dds_messages
    if on_wire:
        over_dds(on_wire, chance, options.model, report)
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report))
    return int(report["crashes"] > 0 or report["unexplained"] > 0)


@contextmanager
def decoders_silenced() -> Iterator[None]:
    """Keeps what image libraries say of broken pictures off standard error; Python's own words still go there."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.simplefilter("ignore", RuntimeWarning)  # of intrinsics of 1e300
    terminal, usual = os.dup(2), sys.stderr
    with open(terminal, "w", buffering=1) as ours, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = ours
        faulthandler.enable(ours)  # a library that crashes takes this process with it
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            faulthandler.enable(usual)
            sys.stderr = usual


class Progress:
    """Tells how far a part is, now and then."""

    def __init__(self, part: str, count: int) -> None:
        self._part, self._count = part, count
        self._began = self._told = time.monotonic()

    def at(self, number: int) -> None:
        """Tells if it is time to."""
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            rate = number / (now - self._began)
            print(f"{self._part}: {number} of {self._count} sets, {rate:.0f} a second", file=sys.stderr)


def in_process(count: int, chance: random.Random) -> dict:
    """Damages `count` sets and assembles them."""
    good = good_messages()
    progress = Progress("in process", count)
    outcomes: Counter[str] = Counter()
    report = {"messages": count, "crashes": 0, "unexplained": 0, "first_crash": ""}
    start = resident_bytes(os.getpid())
    for number in range(count):
        progress.at(number)
        options = FrameOptions(
            chance.choice(["rectify", "rectified", "refuse"]), chance.choice(["auto", "aligned", "register"])
        )
        try:
            frame = assemble_frame(damaged(good, chance), options, transform(chance))
            sound = frame.color.shape[:2] == frame.depth.shape == (frame.camera.height, frame.camera.width)
            outcomes["frame"] += 1
            report["unexplained"] += not sound
        except N3DError as error:
            outcomes[type(error).__name__] += 1
            report["unexplained"] += len(str(error)) < 20 or status_of(error) not in EXPLAINED
        except Exception as error:  # what the fuzzer is looking for
            report["crashes"] += 1
            report["first_crash"] = report["first_crash"] or f"set {number}: {type(error).__name__}: {error}"
    report["outcomes"] = dict(outcomes)
    report["rss_growth_mb"] = round((resident_bytes(os.getpid()) - start) / 1e6, 1)
    return report


def over_dds(count: int, chance: random.Random, model: str, report: dict) -> None:
    """Publishes `count` damaged sets to a node and asks it now and then; adds to the report."""
    good = good_messages()
    settings = {"model": model, "image_timeout": 0.2, "max_image_age": 0.0}
    progress = Progress("over DDS", count)
    statuses: Counter[int] = Counter()
    with NodeProcess("n3d_ros.grounding_node", settings) as node, BenchClient(node) as client:
        client.wait_until_answered(Result.NO_IMAGE)
        publishers = [
            client.create_publisher(kind, name)
            for kind, name in (
                (Image, "color/image_raw"),
                (Image, "depth/image_raw"),
                (CameraInfo, "color/camera_info"),
                (CameraInfo, "depth/camera_info"),
            )
        ]
        for number in range(count):
            progress.at(number)
            publish(publishers, damaged(good, chance, compressed=False), chance)
            if number % 5 == 0:
                try:
                    result = client.call("mug", ANSWER_S)
                except RuntimeError as silence:  # it has crashed, or hangs
                    print(silence, file=sys.stderr)
                    report["unexplained"] += 1
                    break
                statuses[result.status] += 1
                if result.status not in EXPLAINED or (result.status != Result.OK and not result.message):
                    print(f"set {number}: status {result.status}, {result.message!r}", file=sys.stderr)
                    report["unexplained"] += 1
        report["dds"] = {"messages": count, "statuses": {str(k): v for k, v in sorted(statuses.items())}}
        report["crashes"] += node.interrupt() != 0  # its exit code, if it has crashed


def publish(publishers: list[Publisher], messages: RgbdMessages, chance: random.Random) -> None:
    """Publishes a set; now and then a message of it gets lost."""
    parts = (messages.color, messages.depth, messages.info, messages.depth_info)
    for publisher, message in zip(publishers, parts, strict=True):
        if message is not None and chance.random() < 0.95:
            publisher.publish(message)


if __name__ == "__main__":
    sys.exit(main())
