"""RGB-D bags: an MCAP bag as ROS 2 writes it, and a real ROS 1 recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n3d_core.geometry import Camera
from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Problems
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
