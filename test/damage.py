"""A good RGB-D set of messages and random damage to it, for the fuzzer."""

from __future__ import annotations

import array
import copy
import random
import struct

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.messages.assembly import RgbdMessages, TransformLookup
from n3d_ros.errors import TransformError
from n3d_ros.playback.camera_node import frame_messages

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
    "yuyv",
    "nv12",
    "nv21",
    "rgb16",
    "bgra16",
    "bayer_rggb8",
    "bayer_gbrg16",
    "",
    "é\0x",
]
NUMBERS = [0, 1, 2, 3, 7, 64, 65, 255, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
FLOATS = [0.0, -1.0, 1.0, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")]


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


def transform(chance: random.Random) -> TransformLookup:
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
    shape, kind = chance.choice([((12, 16, 3), np.uint8), ((12, 16), np.uint8), ((12, 16, 3), np.uint16)])
    _, data = cv2.imencode(chance.choice([".jpg", ".png"]), np.full(shape, 200, kind))
    forms = ["jpeg", "png", "", "rgb8; jpeg compressed rgb8", "bayer_rggb8; png compressed ", "16UC1; png compressed "]
    return CompressedImage(format=chance.choice(forms), data=_cut(data.tobytes(), chance))


def _compressed_depth(chance: random.Random) -> CompressedImage:
    _, data = cv2.imencode(".png", np.full((12, 16), 1500, np.uint16))
    rvl = struct.pack("<II", 16, 12) + chance.randbytes(chance.choice([0, 8, 200, 2000]))
    body = chance.choice([data.tobytes(), rvl])
    header = struct.pack("<iff", 0, chance.choice(FLOATS[:3]), chance.choice(FLOATS[:3]))
    forms = ["16UC1; compressedDepth png", "32FC1; compressedDepth png", "16UC1; compressedDepth rvl", "16UC1; png", ""]
    return CompressedImage(format=chance.choice(forms), data=_cut(header + body, chance))
