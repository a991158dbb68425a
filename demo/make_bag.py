"""Writes a frame folder as an MCAP bag: `python demo/make_bag.py` makes demo/bag from demo/frames.

The bag is what a recorded RGB-D camera gives: colour (rgb8), depth (16UC1, millimetres), both camera infos and the
camera's place on /tf_static, CDR with ros2msg schemas, in chunks compressed by zstd. The same frames give the same bag.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import BagError, MissingDependencyError, N3DError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.recordings.bag import CAMERA_INFO, IMAGE, TRANSFORMS

HERE = Path(__file__).resolve().parent
START_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC: a fixed day, so that a bag can be made again byte by byte
BASE_FRAME, OPTICAL_FRAME = "camera_link", "camera_color_optical_frame"
OPTICAL_IN_BASE = (-0.5, 0.5, -0.5, 0.5)  # REP 103: z forward, x right, y down, in x forward, y left, z up; x, y, z, w
TOPICS = {
    "/color/camera_info": CAMERA_INFO,
    "/color/image_raw": IMAGE,
    "/depth/camera_info": CAMERA_INFO,
    "/depth/image_raw": IMAGE,
    "/tf_static": TRANSFORMS,
}


class BagWriter:
    """Messages of one RGB-D camera, made and stored by `rosbags`.

    Raises:
        MissingDependencyError: if rosbags is not installed.
        BagError: if the folder exists, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
            from rosbags.typesys import Stores, get_typestore
        except ImportError as missing:
            raise MissingDependencyError(
                f"writing bags needs rosbags ({missing}): pip install 'n3d-ros[bags]'"
            ) from missing
        self._store = get_typestore(Stores.ROS2_JAZZY)
        try:
            self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.set_custom_data("made_by", "n3d_ros demo/make_bag.py")
            self._writer.open()
        except (OSError, WriterError) as error:
            raise BagError(f"{path}: no bag can be written there: {error}") from error
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._store, offered_qos_profiles=[_qos(topic)])
            for topic, kind in TOPICS.items()
        }

    def close(self) -> None:
        """Writes the index and metadata.yaml."""
        self._writer.close()

    def write_transform(self, stamp_ns: int) -> None:
        """The optical frame in the camera's own."""
        x, y, z, w = OPTICAL_IN_BASE
        transform = self._new(
            "geometry_msgs/msg/Transform",
            translation=self._new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0),
            rotation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )
        header = self._header(stamp_ns, BASE_FRAME)
        stamped = self._new(
            "geometry_msgs/msg/TransformStamped", header=header, child_frame_id=OPTICAL_FRAME, transform=transform
        )
        self._write("/tf_static", stamp_ns, self._new(TRANSFORMS, transforms=[stamped]))

    def write_frame(self, stamp_ns: int, frame: Frame) -> None:
        """Colour, depth and both infos with one stamp."""
        millimetres = np.clip(np.nan_to_num(frame.depth * 1000), 0, 65535).round().astype(np.uint16)
        for side, pixels, encoding in (("color", frame.color, "rgb8"), ("depth", millimetres, "16UC1")):
            self._write(f"/{side}/camera_info", stamp_ns, self._info(stamp_ns, frame.camera))
            self._write(f"/{side}/image_raw", stamp_ns, self._image(stamp_ns, pixels, encoding))

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        self._writer.write(self._connections[topic], stamp_ns, self._store.serialize_cdr(message, TOPICS[topic]))

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str = OPTICAL_FRAME) -> Any:
        stamp = self._new("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _image(self, stamp_ns: int, pixels: NDArray[Any], encoding: str) -> Any:
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
        return self._new(
            IMAGE,
            header=self._header(stamp_ns),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=rows.shape[1],
            data=rows.reshape(-1),
        )

    def _info(self, stamp_ns: int, camera: Camera) -> Any:
        window = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
        return self._new(
            CAMERA_INFO,
            header=self._header(stamp_ns),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=camera.matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([camera.matrix, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._new("sensor_msgs/msg/RegionOfInterest", **window),
        )


def _qos(topic: str) -> Any:
    """Reliable as a driver's; /tf_static stays for those who come later, which `ros2 bag play` takes from here."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    durability = QosDurability.TRANSIENT_LOCAL if topic == "/tf_static" else QosDurability.VOLATILE
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def write_bag(folder: FrameFolder, path: Path, rate: float) -> None:
    """The frames of a folder, once each at `rate` Hz, as a bag that replaces an earlier one at `path`.

    Raises:
        BagError, MissingDependencyError: see `BagWriter`; or `path` is something else than a bag.
        ImageError, DepthError: if a frame cannot be read; an earlier bag is then left as it was.
    """
    if path.exists() and {file.suffix for file in path.iterdir()} != {".mcap", ".yaml"}:
        raise BagError(f"{path}: exists and is no bag that this program made; it is left alone, name another --output")
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    writer = BagWriter(part / path.name)  # the folder's name is the name of the file in it
    try:
        writer.write_transform(START_NS)
        for stamp_ns, frame in _stamped(folder, rate):
            writer.write_frame(stamp_ns, frame)
    finally:
        writer.close()
    shutil.rmtree(path, ignore_errors=True)
    (part / path.name).rename(path)
    part.rmdir()


def _stamped(folder: FrameFolder, rate: float) -> Iterator[tuple[int, Frame]]:
    for index in range(len(folder)):
        yield START_NS + round(index * 1e9 / rate), folder.frame(index)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the bag and says how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="?", type=Path, default=HERE / "frames", help="frame folder (%(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "bag", help="the bag, a folder (%(default)s)")
    parser.add_argument("--rate", type=float, default=2.0, help="frames a second (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.rate > 0:
        parser.error(f"--rate is {options.rate}: more than 0 is wanted")
    try:
        write_bag(FrameFolder(options.frames), options.output.resolve(), options.rate)
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(file.stat().st_size for file in options.output.iterdir())
    print(f"{options.output}: {size / 1e6:.1f} MB; play it: ros2 bag play --loop --clock {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
