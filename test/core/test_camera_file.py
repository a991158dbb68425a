"""Intrinsics in every form that people have them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n3d_core.errors import CameraError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.camera_file import read_camera, read_pose

CAMERA = Camera(640, 480, 601.5, 602.5, 318.25, 241.75)
K = CAMERA.matrix
FLAT, COLUMNS = K.reshape(-1).tolist(), K.T.reshape(-1).tolist()
NUMBERS = {"fx": 601.5, "fy": 602.5, "cx": 318.25, "cy": 241.75}


def test_ros_yaml_with_its_distortion_and_its_rectified_camera(tmp_path: Path) -> None:
    CAMERA.to_yaml(tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text().replace("[0.0, 0.0, 0.0, 0.0, 0.0]", "[0.1, 0.0, 0.0, 0.0, 0.0]")
    (tmp_path / "c.yaml").write_text(text)
    found = read_camera(tmp_path / "c.yaml", 1, 1)
    assert (found.camera, found.model, found.coefficients[0], found.rectified) == (CAMERA, "plumb_bob", 0.1, CAMERA)
    assert found.lens("rectified").model == ""
    assert found.lens().coefficients[0] == 0.1


def test_four_numbers_need_no_file() -> None:
    assert read_camera("601.5,602.5,318.25,241.75", 640, 480).camera == CAMERA
    assert read_camera("601.5, 602.5, 318.25, 2.4175e2", 640, 480).camera == CAMERA


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.txt", "\n".join(" ".join(map(str, row)) for row in K)),
        ("one_line.txt", " ".join(map(str, FLAT))),
        ("commas.csv", "\n".join(",".join(map(str, row)) for row in K)),
        ("four.txt", "601.5 602.5 318.25 241.75"),
        ("scannet.txt", "\n".join(" ".join(map(str, row)) for row in np.pad(K, (0, 1)) + np.diag([0, 0, 0, 1]))),
        (
            "commented.txt",
            "# depth camera\n1 0 9\n0 1 9\n0 0 1\n# color camera\n" + "\n".join(f"{a} {b} {c}" for a, b, c in K),
        ),
    ],
)
def test_matrices_as_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_camera(tmp_path / name, 640, 480).camera == CAMERA


@pytest.mark.parametrize(
    "data",
    [
        K.tolist(),
        FLAT,
        {"K": K.tolist()},
        {"camera_matrix": K.tolist()},
        {"width": 640, "height": 480, "intrinsic_matrix": COLUMNS},  # Open3D
        {"K": COLUMNS, "w": 640, "h": 480, "dw": 192, "dh": 256, "poses": []},  # record3d
        {**NUMBERS, "width": 640, "height": 480},
        {"width": 640, "height": 480, "fx": 601.5, "fy": 602.5, "ppx": 318.25, "ppy": 241.75},  # librealsense
        {"intrinsic": {"width": 640, "height": 480, "intrinsic_matrix": COLUMNS}, "extrinsic": []},
        {"width": 640, "height": 480, "k": FLAT, "d": [], "distortion_model": "plumb_bob"},  # ros2 topic echo
    ],
)
def test_json(tmp_path: Path, data: Any) -> None:
    (tmp_path / "c.json").write_text(json.dumps(data))
    assert read_camera(tmp_path / "c.json", 640, 480).camera == CAMERA


def test_bop_has_an_entry_a_frame_and_its_depth_scale(tmp_path: Path) -> None:
    (tmp_path / "scene_camera.json").write_text(
        json.dumps(
            {str(i): {"cam_K": (K + np.diag([i, 0, 0])).reshape(-1).tolist(), "depth_scale": 0.1} for i in range(3)}
        )
    )
    found = read_camera(tmp_path / "scene_camera.json", 640, 480, frame=2)
    assert (found.camera.fx, found.units_per_metre) == (603.5, 10000)


def test_numpy_and_matlab(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", K)
    assert read_camera(tmp_path / "k.npy", 640, 480).camera == CAMERA
    matlab = pytest.importorskip("scipy.io", reason="scipy, which reads .mat, is not installed")
    matlab.savemat(tmp_path / "meta.mat", {"intrinsic_matrix": K, "factor_depth": [[1000.0]]})
    found = read_camera(tmp_path / "meta.mat", 640, 480)
    assert (found.camera, found.units_per_metre) == (CAMERA, 1000)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.yaml", None, "neither an existing file nor four numbers"),
        ("empty.json", "{}", "or fx, fy, cx and cy; got the keys"),
        ("broken.json", "{", "JSONDecodeError"),
        ("broken.yaml", "a: [", "not YAML"),
        ("two.txt", "1 2", "2 numbers"),
        ("turned.json", json.dumps(K.T.tolist()), "column-major"),
        ("fractions.txt", "0.94 0 0.5\n0 1.25 0.5\n0 0 1", "must be in pixels; got fractions of the image"),
        ("nan.txt", "nan 0 1\n0 1 1\n0 0 1", "finite"),
        ("list.yaml", "- a", "ValueError"),
        ("broken.npy", "x", "not a camera file"),
        ("broken.mat", "x", "not a MATLAB file"),
    ],
)
def test_errors_name_the_file_and_a_form_that_works(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CameraError, match=words) as raised:
        read_camera(tmp_path / name, 640, 480)
    assert name in str(raised.value)
    assert "--camera 615.3,615.3,319.5,239.5" in str(raised.value)


def test_a_pose_is_a_rigid_4x4(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0.2, 0.3
    np.save(tmp_path / "p.npy", pose)
    (tmp_path / "p.json").write_text(json.dumps(pose.tolist()))
    (tmp_path / "p.txt").write_text("\n".join(" ".join(map(str, row)) for row in pose))
    for name in ("p.npy", "p.json", "p.txt"):
        np.testing.assert_array_equal(read_pose(tmp_path / name), pose)
    (tmp_path / "scaled.json").write_text(json.dumps((2 * pose).tolist()))
    with pytest.raises(CameraError, match="must be a rotation and translation"):
        read_pose(tmp_path / "scaled.json")
    with pytest.raises(CameraError, match="4x4"):
        read_pose(tmp_path / "none.txt")
