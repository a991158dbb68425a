"""RGB-D bags: an MCAP bag as ROS 2 writes it, and a real ROS 1 recording."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from n3d_core.errors import TransformError
from n3d_core.geometry import Camera
from n3d_core.geometry.transforms import TransformTree
from training.lift.lift_config import SourceConfig
from training.lift.problems import ImageProblem, SourceError
from training.lift.record import Problems, Record
from training.lift.sources import read_source
from training.lift.sources.bag import read_bag_image

pytest.importorskip("rosbags")

REALSENSE = Path(__file__).parents[3] / "shared/data/realsense/single_depth_color_640x480.bag"


@pytest.fixture(scope="module")
def mcap(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = store.types
    rng = np.random.default_rng(0)
    color = rng.integers(0, 255, (3, 6, 8, 3), dtype=np.uint8)
    depth = rng.integers(500, 4000, (3, 6, 8)).astype(np.uint16)
    path = tmp_path_factory.mktemp("bag") / "rgbd"

    def header(stamp: int) -> object:
        time = kinds["builtin_interfaces/msg/Time"](sec=0, nanosec=stamp)
        return kinds["std_msgs/msg/Header"](stamp=time, frame_id="camera_color_optical_frame")

    def image(stamp: int, pixels: np.ndarray, encoding: str, padding: int) -> object:
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
        rows = np.pad(rows, ((0, 0), (0, padding)))
        return kinds["sensor_msgs/msg/Image"](
            header=header(stamp),
            height=6,
            width=8,
            encoding=encoding,
            is_bigendian=0,
            step=rows.shape[1],
            data=rows.ravel(),
        )

    info = kinds["sensor_msgs/msg/CameraInfo"](
        header=header(0),
        height=6,
        width=8,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([9.0, 0, 3.5, 0, 9.0, 2.5, 0, 0, 1]),
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=kinds["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
    topics = {
        "/camera/camera/color/image_raw": "sensor_msgs/msg/Image",
        "/camera/camera/aligned_depth_to_color/image_raw": "sensor_msgs/msg/Image",
        "/camera/camera/color/camera_info": "sensor_msgs/msg/CameraInfo",
        "/camera/camera/aligned_depth_to_color/camera_info": "sensor_msgs/msg/CameraInfo",
    }
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {t: writer.add_connection(t, kind, typestore=store) for t, kind in topics.items()}

        def write(topic: str, stamp: int, message: object) -> None:
            writer.write(made[topic], stamp, store.serialize_cdr(message, topics[topic]))

        for topic in list(topics)[2:]:
            write(topic, 1, info)
        for i in range(3):
            at = (i + 1) * 33_000_000
            write("/camera/camera/color/image_raw", at, image(at, color[i][..., ::-1], "bgr8", 4))
            write("/camera/camera/aligned_depth_to_color/image_raw", at + 2, image(at, depth[i], "16UC1", 0))
    return path, color, depth


def test_an_mcap_bag_gives_its_images_bit_for_bit(mcap: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, color, depth = mcap
    problems = Problems()
    records = list(read_source(SourceConfig("bag", str(path)), problems))
    assert [r.stamp_ns for r in records] == [33_000_000, 66_000_000, 99_000_000]
    assert records[0].camera == Camera(8, 6, 9.0, 9.0, 3.5, 2.5)
    for record, c, d in zip(records, color, depth, strict=True):
        seen, metres = read_bag_image(record)
        assert np.array_equal(seen, c)
        np.testing.assert_allclose(metres, d / 1000, atol=1e-6)
    assert not problems.counts


def test_a_bare_mcap_file_is_read_too(mcap: tuple[Path, np.ndarray, np.ndarray]) -> None:
    (file,) = mcap[0].glob("*.mcap")
    assert len(list(read_source(SourceConfig("bag", str(file)), Problems()))) == 3


def test_a_file_that_is_no_bag_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(b"not a bag")
    with pytest.raises(SourceError, match="cannot be read as a bag"):
        list(read_source(SourceConfig("bag", str(tmp_path / "x.mcap")), Problems()))


def test_a_realsense_recording_registers_depth_to_colour() -> None:
    if not REALSENSE.exists():
        pytest.skip("the real recording is not here")
    records = list(read_source(SourceConfig("bag", str(REALSENSE)), Problems()))
    assert len(records) == 1
    color, depth = read_bag_image(records[0])
    assert color.shape == (480, 640, 3)
    assert depth.shape == (480, 640)
    assert records[0].camera.fx == pytest.approx(613.2, abs=0.1)
    assert 0.2 < np.nanmedian(depth) < 10


# ------------------------------------------------- two cameras, lenses, windows and compression, as the node reads them

W, H = 320, 240


class BagWriter:
    """Writes a bag of two cameras that look at a step: depth of 0.8 m on the left and 1 m on the right."""

    def __init__(self, path: Path) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.path = path
        self.store = get_typestore(Stores.ROS2_JAZZY)

    def make(self, kind: str, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        time = self.make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def info(self, stamp_ns: int, frame: str, f: float, d: list[float], roi: tuple[int, ...]) -> Any:
        k = np.array([f, 0, 159.5, 0, f, 119.5, 0, 0, 1.0])
        window = dict(zip(("x_offset", "y_offset", "width", "height"), roi, strict=True))
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_ns, frame),
            height=H,
            width=W,
            distortion_model="plumb_bob",
            d=np.array(d),
            k=k,
            r=np.eye(3).ravel(),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=self.make("sensor_msgs/msg/RegionOfInterest", **window, do_rectify=False),
        )

    def image(self, stamp_ns: int, frame: str, pixels: np.ndarray, encoding: str) -> Any:
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
        height, width = pixels.shape[:2]
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns, frame),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=rows.shape[1],
            data=rows.ravel(),
        )

    def packed(self, stamp_ns: int, frame: str, data: bytes, form: str) -> Any:
        header = self.header(stamp_ns, frame)
        return self.make(
            "sensor_msgs/msg/CompressedImage", header=header, format=form, data=np.frombuffer(data, np.uint8)
        )

    def transform(self, x: float) -> Any:
        one = self.make(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(1, "color"),
            child_frame_id="depth",
            transform=self.make(
                "geometry_msgs/msg/Transform",
                translation=self.make("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0),
                rotation=self.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
            ),
        )
        return self.make("tf2_msgs/msg/TFMessage", transforms=[one])

    def write(self, messages: dict[str, Any]) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        with Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for topic, message in messages.items():
                kind = message.__msgtype__
                connection = writer.add_connection(topic, kind, typestore=self.store)
                writer.write(connection, 1_700_000_000 * 10**9, self.store.serialize_cdr(message, kind))


STAMP = 1_700_000_000 * 10**9
STEP = np.where(np.arange(W) < 160, 800, 1000).astype(np.uint16) * np.ones((H, 1), np.uint16)


def two_cameras(path: Path, **changes: Any) -> Path:
    """A bag of one frame; `changes` are topics with other messages, or without (None)."""
    bag = BagWriter(path)
    d, roi = changes.pop("d", [0.0] * 5), changes.pop("roi", (0, 0, 0, 0))
    color = changes.pop("color", np.zeros((H, W, 3), np.uint8))
    messages = {
        "/tf_static": bag.transform(0.06),
        "/c/image_raw": bag.image(STAMP, "color", color, "rgb8"),
        "/c/camera_info": bag.info(STAMP, "color", 300.0, d, roi),
        "/d/image_raw": bag.image(STAMP, "depth", STEP, "16UC1"),
        "/d/camera_info": bag.info(STAMP, "depth", 250.0, [0.0] * 5, (0, 0, 0, 0)),
    }
    messages |= {topic: make(bag) for topic, make in changes.items()} if changes else {}
    bag.write({topic: message for topic, message in messages.items() if message is not None})
    return path


def seen(path: Path) -> tuple[Record, np.ndarray, np.ndarray]:
    (record,) = read_source(SourceConfig("bag", str(path)), Problems())
    return record, *read_bag_image(record)


def test_depth_of_another_camera_is_moved_by_the_transform_of_the_bag(tmp_path: Path) -> None:
    _, _, depth = seen(two_cameras(tmp_path / "bag"))
    row = depth[120]
    edge = int(np.flatnonzero(np.abs(np.diff(row)) > 0.1)[0])
    assert edge == pytest.approx(159.5 + 300 * 0.06 / 0.8, abs=2)  # 159 without the 6 cm


def test_a_bag_without_the_transform_is_told_and_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="no transform from 'depth' to 'color'"):
        seen(two_cameras(tmp_path / "bag", **{"/tf_static": lambda _: None}))


def test_distortion_is_rectified_and_a_window_moves_the_principal_point(tmp_path: Path) -> None:
    lines = np.zeros((H, W, 3), np.uint8)
    lines[:, 20:24] = 255  # straight in the picture, so bent in the world
    record, color, _ = seen(two_cameras(tmp_path / "bent", color=lines, d=[0.3, -0.2, 0, 0, 0]))
    assert record.camera.fx == 300
    bright = [int(np.argmax(color[v, :80, 0])) for v in (20, 120)]
    assert abs(bright[0] - bright[1]) >= 2
    part = np.zeros((100, 200, 3), np.uint8)
    record, color, _ = seen(two_cameras(tmp_path / "window", color=part, roi=(60, 40, 200, 100)))
    assert color.shape == (100, 200, 3)
    assert (record.camera.width, record.camera.cx, record.camera.cy) == (200, 99.5, 79.5)


def test_compressed_topics_are_found_and_read(tmp_path: Path) -> None:
    picture = np.full((H, W, 3), (200, 60, 30), np.uint8)
    jpeg = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    png = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", STEP)[1].tobytes()
    path = two_cameras(
        tmp_path / "bag",
        **{
            "/c/image_raw": lambda _: None,
            "/d/image_raw": lambda _: None,
            "/c/image_raw/compressed": lambda bag: bag.packed(STAMP, "color", jpeg, "rgb8; jpeg compressed bgr8"),
            "/d/image_raw/compressedDepth": lambda bag: bag.packed(STAMP, "depth", png, "16UC1; compressedDepth png"),
        },
    )
    record, color, depth = seen(path)
    assert record.depth.path.split("\n")[:2] == ["/c/image_raw/compressed", "/d/image_raw/compressedDepth"]
    assert np.abs(color.astype(int) - picture).max() <= 4
    assert set(np.unique(depth[np.isfinite(depth)].round(3))) == {np.float32(0.8), np.float32(1.0)}


def test_transforms_between_stamps_are_interpolated_and_beyond_them_refused() -> None:
    tree = TransformTree("a bag")
    for second, x, turn in ((1, 0.0, 0.0), (3, 2.0, math.pi / 2)):
        tree.add("map", "/camera", pose_at(x, turn), second * 10**9)
    tree.add("camera", "optical", pose_at(0.5, 0.0))
    rotation, translation = tree.look_up("map", "optical", 2 * 10**9)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(rotation @ (1, 0, 0), (half, half, 0), atol=1e-9)
    np.testing.assert_allclose(translation, (1 + 0.5 * half, 0.5 * half, 0), atol=1e-9)
    back = tree.look_up("optical", "map", 2 * 10**9)
    np.testing.assert_allclose(back[0] @ translation + back[1], 0, atol=1e-9)
    with pytest.raises(TransformError, match=r"at 9\.000 s, only from 1\.000 to 3\.000 s"):
        tree.look_up("map", "optical", 9 * 10**9)
    with pytest.raises(
        TransformError, match="no transform from 'optical' to 'base'; known frames: camera, map, optical"
    ):
        tree.look_up("base", "optical", 0)


def test_a_frame_has_one_parent_at_a_time_as_in_tf2() -> None:
    tree = TransformTree("/tf", 10 * 10**9)
    tree.add("map", "table", pose_at(5.0, 0.0))
    tree.add("table", "mug", pose_at(0.5, 0.0), 1 * 10**9)
    tree.add("table", "mug", pose_at(1.5, 0.0), 2 * 10**9)
    tree.add("map", "hand", pose_at(8.0, 0.0))
    tree.add("hand", "mug", pose_at(0.1, 0.0), 3 * 10**9)  # grasped
    tree.add("hand", "mug", pose_at(0.3, 0.0), 5 * 10**9)
    for seconds, x in ((1.5, 6.0), (2.5, 6.5), (3.0, 8.1), (4.0, 8.2), (0.0, 8.3)):  # 0: the newest
        assert tree.look_up("map", "mug", round(seconds * 1e9))[1][0] == pytest.approx(x)
    with pytest.raises(TransformError, match=r"'mug' to 'hand' at 6\.000 s"):
        tree.look_up("map", "mug", 6 * 10**9)
    tree.add("floor", "table", pose_at(7.0, 0.0))  # a second publisher of a static transform
    with pytest.raises(TransformError, match="no transform from 'table' to 'map'"):
        tree.look_up("map", "table", 1)
    assert tree.look_up("floor", "table", 1)[1][0] == 7.0
    tree.add("mug", "floor", pose_at(1.0, 0.0))  # a loop ends
    assert tree.look_up("floor", "table", 1)[1][0] == 7.0


def test_the_newest_transform_is_that_of_the_slowest_on_the_way() -> None:
    tree = TransformTree("/tf", 10 * 10**9)
    for second in range(1, 9):
        tree.add("odom", "base", pose_at(float(second), 0.0), second * 10**9)
        if second < 6:
            tree.add("map", "odom", pose_at(100.0 * second, 0.0), second * 10**9)
    assert tree.look_up("map", "base", 0)[1][0] == 505.0


@pytest.mark.parametrize(
    ("parent", "turn"),
    [
        ("map", (0, 0, 0, 0)),
        ("map", (0, 0, 0, 1.01)),
        ("map", (0, 0, math.nan, 1)),
        ("camera", (0, 0, 0, 1)),
        ("", (0, 0, 0, 1)),
    ],
)
def test_a_transform_that_is_none_is_ignored_and_named(parent: str, turn: tuple[float, ...]) -> None:
    tree, broken = TransformTree("/tf"), pose_at(1.0, 0.0)
    broken.rotation = SimpleNamespace(**dict(zip("xyzw", turn, strict=True)))
    tree.add(parent, "camera", broken)
    with pytest.raises(TransformError, match=r"known frames: none; the transform from 'camera' to .* is ignored"):
        tree.look_up("map", "camera", 1)
    tree.add("map", "camera", pose_at(2.0, 0.0))
    assert tree.look_up("map", "camera", 1)[1][0] == 2.0
    nearly = pose_at(2.0, 0.0)
    nearly.rotation.w = 1.004
    tree.add("map", "camera", nearly)
    np.testing.assert_allclose(tree.look_up("map", "camera", 1)[0], np.eye(3))


def test_a_turn_is_interpolated_at_constant_speed() -> None:
    tree = TransformTree("/tf")
    for second, turn in ((1, 0.0), (5, 2.0)):
        tree.add("map", "camera", pose_at(0.0, turn), second * 10**9)
    rotation, _ = tree.look_up("map", "camera", 2 * 10**9)
    assert math.atan2(rotation[1, 0], rotation[0, 0]) == pytest.approx(0.5)


def pose_at(x: float, turn: float) -> SimpleNamespace:
    rotation = SimpleNamespace(x=0.0, y=0.0, z=math.sin(turn / 2), w=math.cos(turn / 2))
    return SimpleNamespace(translation=SimpleNamespace(x=x, y=0.0, z=0.0), rotation=rotation)
