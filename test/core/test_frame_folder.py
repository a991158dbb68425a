"""A frame folder gives back what was written; what is damaged is named in the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n3d_core.errors import CameraError, DepthError, ImageError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, TrueObject, Truth, write_frame

CAMERA = Camera.from_fov(60.0, 8, 6)
MUG = TrueObject(Box3D("red mug", (0.1, -0.05, 0.8), (0.1, 0.12, 0.09)), "mug", "red", 0.8)
HEIGHT = {"text": "How tall is it?", "type": "height", "form": "number", "objects": [0], "answer": 0.12, "unit": "m"}
TRUTH = Truth([MUG], [{"text": "red mug", "objects": [0]}], [HEIGHT])


def frame() -> Frame:
    rng = np.random.default_rng(0)
    depth = rng.integers(500, 4000, (6, 8)).astype(np.float32) / np.float32(1000.0)
    depth[0, :3] = np.nan
    return Frame(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), depth, CAMERA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_frame(tmp_path, 0, frame(), TRUTH)
    write_frame(tmp_path, 1, frame())
    return tmp_path


def test_what_was_written_is_read_back(folder: Path) -> None:
    read = FrameFolder(folder)
    assert (len(read), read.camera) == (2, CAMERA)
    np.testing.assert_array_equal(read.frame(0).color, frame().color)
    np.testing.assert_array_equal(read.frame(0).depth, frame().depth)
    assert read.truth(0) == TRUTH
    assert read.truth(1) is None
    assert not list(folder.glob("*.part"))


def test_the_camera_may_be_a_printed_camera_info_with_a_unit(folder: Path) -> None:
    """As `ros2 topic echo --once /camera_info` prints it."""
    k = "\n".join(f"- {value}" for value in CAMERA.matrix.reshape(-1))
    roi = "roi:\n  x_offset: 0\n  y_offset: 0\n  height: 0\n  width: 0\n  do_rectify: false"
    printed = (
        f"height: 6\nwidth: 8\ndistortion_model: plumb_bob\nd:\n- 0.0\nk:\n{k}\nbinning_x: 0\nbinning_y: 0\n{roi}\n"
    )
    (folder / "camera.yaml").write_text(f"{printed}units_per_metre: 500\n---\n")
    read = FrameFolder(folder)
    assert (read.camera, read.unit_is_given) == (CAMERA, True)
    np.testing.assert_allclose(read.frame(0).depth, frame().depth * 2, rtol=1e-6)


def read_all(folder: Path) -> None:
    read = FrameFolder(folder)
    read.frame(0)
    read.truth(0)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("000000.color.png", b"no image", ImageError),
        ("000000.depth.png", b"no image", ImageError),
        ("camera.yaml", b"\xff\xfe", CameraError),
        ("000000.truth.json", b"[1, 2]", ImageError),
        ("000000.truth.json", b'{"objects": [{"label": "mug", "center": [0, 1], "size": [1, 1, 1]}]}', ImageError),
        ("000000.truth.json", b"\xff", ImageError),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes, error: type[Exception]) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(error, match=name.replace(".", r"\.")):
        read_all(folder)


def test_depth_of_eight_bits_and_an_empty_folder_are_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "000000.depth.png").write_bytes((folder / "000000.color.png").read_bytes())
    with pytest.raises(DepthError, match="must be a 16-bit single-channel PNG"):
        FrameFolder(folder).frame(0)
    with pytest.raises(ImageError, match="no frame found"):
        FrameFolder(tmp_path_factory.mktemp("empty"))
