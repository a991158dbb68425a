"""Fuzzing of the door: `python test/fuzz.py --messages 1000000 --json`.

In this process: random damage to the messages of a good frame (sizes, steps, encodings, data, stamps, intrinsics,
distortion, frames, compressed payloads); each must become a frame or an error of the package's own with a message. Over
DDS: a share of them is published to a real node, which must stay alive and answer with a code that names the cause.
"""

from __future__ import annotations

import argparse
import array
import copy
import json
import os
import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from n3d_ros.msg import Result
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from n3d_core.errors import N3DError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_ros.camera_node import frame_messages
from n3d_ros.errors import TransformError, status_of
from n3d_ros.frame_assembly import Door, RgbdMessages, assemble_frame
from n3d_ros.node_process import NodeProcess
from test.bench_client import BenchClient, resident_bytes

ENCODINGS = [
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "mono16",
    "16UC1",
    "32FC1",
    "64FC1",
    "8UC3",
    "yuv422",
    "",
    "é\0x",
]
NUMBERS = [0, 1, 2, 3, 7, 64, 65, 255, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
FLOATS = [0.0, -1.0, 1.0, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")]
EXPLAINED = {Result.OK, Result.NO_IMAGE, Result.STALE_IMAGE, Result.BAD_DEPTH, Result.BAD_CAMERA}


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
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # broken pictures are what it is about
    began = time.monotonic()
    report = in_process(options.messages, chance)
    on_wire = options.messages // 1000 if options.dds_messages is None else options.dds_messages
    if on_wire:
        over_dds(on_wire, chance, options.model, report)
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report))
    return int(report["crashes"] > 0 or report["unexplained"] > 0)


def in_process(count: int, chance: random.Random) -> dict:
    """Damages `count` sets and assembles them."""
    good = good_messages()
    outcomes: Counter[str] = Counter()
    report = {"messages": count, "crashes": 0, "unexplained": 0, "first_crash": ""}
    start = resident_bytes(os.getpid())
    for number in range(count):
        door = Door(chance.choice(["rectify", "rectified", "refuse"]), chance.choice(["auto", "aligned", "register"]))
        try:
            frame = assemble_frame(damaged(good, chance), door, transform(chance))
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
            messages = damaged(good, chance, compressed=False)
            parts = (messages.color, messages.depth, messages.info, messages.depth_info)
            for publisher, message in zip(publishers, parts, strict=True):
                if message is not None and chance.random() < 0.95:
                    publisher.publish(message)
            if number % 5 == 0:
                result = client.call("mug")
                statuses[result.status] += 1
                report["unexplained"] += result.status not in EXPLAINED or (result.status != 0 and not result.message)
        report["crashes"] += node.exit_code is not None
        report["dds"] = {"messages": count, "statuses": {str(k): v for k, v in sorted(statuses.items())}}
        report["crashes"] += node.interrupt() != 0


def good_messages() -> RgbdMessages:
    """A small good set, from which each damaged one starts."""
    color = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    frame = Frame(color, np.full((12, 16), 1.5, np.float32), Camera.from_fov(60, 16, 12), 10**18, "optical")
    return frame_messages(frame, "optical")


def damaged(good: RgbdMessages, chance: random.Random, compressed: bool = True) -> RgbdMessages:
    """A copy with one to four things changed."""
    color, depth, info, depth_info = (_own(each) for each in (good.color, good.depth, good.info, good.depth_info))
    for _ in range(chance.randint(1, 4)):
        damage = chance.choice([_image, _image, _data, _header, _info])
        damage(chance.choice([info, depth_info] if damage is _info else [color, depth]), chance)
    if compressed and chance.random() < 0.1:
        color = _compressed_color(chance)
    if compressed and chance.random() < 0.1:
        depth = _compressed_depth(chance)
    return RgbdMessages(color, depth, info, depth_info if chance.random() < 0.7 else None)


def _own(message: Image | CameraInfo) -> Image | CameraInfo:
    """A copy of all that damage changes in place; a deep copy would take most of the fuzzer's time."""
    out = copy.copy(message)
    out.header = copy.copy(message.header)
    out.header.stamp = copy.copy(message.header.stamp)
    if isinstance(out, CameraInfo):
        out.k, out.roi = message.k.copy(), copy.copy(message.roi)
    return out


def transform(chance: random.Random):
    """A look-up that now and then does not know the frames."""

    def look_up(target: str, source: str, stamp_ns: int):
        if chance.random() < 0.3:
            raise TransformError(f"no transform from {source!r} to {target!r}")
        return np.eye(3), np.array([0.05, 0.0, chance.choice([0.0, -2.0, 1e6])])

    return look_up


def _image(message: Image, chance: random.Random) -> None:
    field = chance.choice(["width", "height", "step", "encoding", "is_bigendian"])
    if field == "encoding":
        message.encoding = chance.choice(ENCODINGS)
    elif field == "is_bigendian":
        message.is_bigendian = chance.choice([0, 1, 255])
    else:
        setattr(message, field, chance.choice(NUMBERS))


def _data(message: Image, chance: random.Random) -> None:
    size = chance.choice([0, 1, len(message.data) - 1, len(message.data) // 2, 2 * len(message.data)])
    message.data = array.array("B", chance.randbytes(max(size, 0)))


def _header(message: Image, chance: random.Random) -> None:
    message.header.stamp.sec = chance.choice([0, -1, -(2**31), 2**31 - 1, 1_000_000_000])
    message.header.stamp.nanosec = chance.choice([0, 10**9 - 1, 2**32 - 1])
    message.header.frame_id = chance.choice(["", "optical", "depth_optical", "x" * 1000])


def _info(message: CameraInfo, chance: random.Random) -> None:
    field = chance.choice(["k", "d", "model", "width", "height", "roi", "binning"])
    if field == "k":
        message.k[chance.randrange(9)] = chance.choice(FLOATS)
    elif field == "d":
        message.d = [chance.choice([*FLOATS, 0.1]) for _ in range(chance.choice([0, 1, 4, 5, 8, 14]))]
    elif field == "model":
        message.distortion_model = chance.choice(["plumb_bob", "rational_polynomial", "equidistant", "", "é"])
    elif field == "roi":
        message.roi.width, message.roi.height = chance.choice(NUMBERS), chance.choice(NUMBERS)
        message.roi.x_offset = chance.choice(NUMBERS)
    elif field == "binning":
        message.binning_x = chance.choice(NUMBERS)
    else:
        setattr(message, field, chance.choice(NUMBERS))


def _cut(data: bytes, chance: random.Random) -> bytes:
    broken = bytearray(data[: chance.choice([len(data), len(data) // 2, 30, 8, 0])])
    for _ in range(chance.randint(0, 3)):
        if broken:
            broken[chance.randrange(len(broken))] = chance.randrange(256)
    return bytes(broken)


def _compressed_color(chance: random.Random) -> CompressedImage:
    _, data = cv2.imencode(chance.choice([".jpg", ".png"]), np.zeros((12, 16, 3), np.uint8))
    return CompressedImage(format=chance.choice(["jpeg", "png", ""]), data=_cut(data.tobytes(), chance))


def _compressed_depth(chance: random.Random) -> CompressedImage:
    _, data = cv2.imencode(".png", np.full((12, 16), 1500, np.uint16))
    header = struct.pack("<iff", 0, chance.choice(FLOATS[:3]), chance.choice(FLOATS[:3]))
    form = chance.choice(["16UC1; compressedDepth png", "32FC1; compressedDepth png", "16UC1; compressedDepth rvl", ""])
    return CompressedImage(format=form, data=_cut(header + data.tobytes(), chance))


if __name__ == "__main__":
    sys.exit(main())
