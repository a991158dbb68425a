"""Intrinsics in every form that people have them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

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
        ("empty.json", "{}", "or fx, fy, cx and cy; got values for nothing"),
        ("broken.json", "{", "JSONDecodeError"),
        ("broken.yaml", "a: [", "not YAML"),
        ("code.yaml", "!!python/object/apply:os.system ['true']", "not YAML .could not determine a constructor"),
        ("null.json", '{"fx": null, "fy": 1, "cx": 1, "cy": 1}', "got values for fy, cx, cy"),
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


PRINTED = {  # a CameraInfo message of a rectified camera, as `ros2 topic echo` prints it
    "height": 480,
    "width": 640,
    "distortion_model": "plumb_bob",
    "d": [0.1, -0.2, 0.0, 0.0, 0.0],
    "k": FLAT,
    "p": [500.0, 0.0, 300.0, 0.0, 0.0, 510.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "binning_x": 0,
    "binning_y": 0,
    "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
}


@pytest.mark.parametrize("name", ["info.yaml", "info.txt", "info"])
def test_a_printed_message_has_its_lens_its_projection_and_the_mark_of_the_next(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(yaml.safe_dump(PRINTED) + "---\n")
    found = read_camera(tmp_path / name, 640, 480)
    assert (found.camera, found.model, found.coefficients) == (CAMERA, "plumb_bob", (0.1, -0.2, 0.0, 0.0, 0.0))
    assert found.lens("rectified").camera == Camera(640, 480, 500.0, 510.0, 300.0, 200.0)


def test_a_printed_message_of_a_window_or_of_binned_pixels_is_for_the_published_image(tmp_path: Path) -> None:
    whole = {**PRINTED, "width": 1280, "height": 960}
    roi = {"x_offset": 10, "y_offset": 20, "width": 640, "height": 480, "do_rectify": False}
    (tmp_path / "window.yaml").write_text(yaml.safe_dump({**whole, "roi": roi}))
    assert read_camera(tmp_path / "window.yaml", 640, 480).camera == Camera(640, 480, 601.5, 602.5, 308.25, 221.75)
    (tmp_path / "binned.yaml").write_text(yaml.safe_dump({**whole, "binning_x": 2, "binning_y": 2}))
    binned = read_camera(tmp_path / "binned.yaml", 640, 480).camera
    assert (binned.width, binned.fx, binned.cx) == (640, 300.75, pytest.approx(158.875))
    (tmp_path / "outside.yaml").write_text(yaml.safe_dump({**whole, "roi": {**roi, "x_offset": 1000}}))
    with pytest.raises(CameraError, match="exceeds the image of 1280x960"):
        read_camera(tmp_path / "outside.yaml", 640, 480)


@pytest.mark.parametrize("model", ["inverse_brown_conrady", "distortion.brown_conrady"])
def test_the_coefficients_of_a_realsense_are_not_lost(tmp_path: Path, model: str) -> None:
    lens = {"fx": 601.5, "fy": 602.5, "ppx": 318.25, "ppy": 241.75, "model": model, "coeffs": [0.1, -0.2, 0, 0, 0.0]}
    (tmp_path / "rs.json").write_text(json.dumps(lens))
    found = read_camera(tmp_path / "rs.json", 640, 480)
    assert found.lens().coefficients == (0.1, -0.2, 0.0, 0.0, 0.0)
    assert found.lens().model == "plumb_bob"


def test_a_pose_is_a_rigid_4x4(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0.2, 0.3
    np.save(tmp_path / "p.npy", pose)
    (tmp_path / "p.json").write_text(json.dumps(pose.tolist()))
    (tmp_path / "p.txt").write_text("\n".join(" ".join(map(str, row)) for row in pose))
    (tmp_path / "rows.txt").write_text("\n".join(" ".join(map(str, row)) for row in pose[:3]))
    for name in ("p.npy", "p.json", "p.txt", "rows.txt"):
        np.testing.assert_array_equal(read_pose(tmp_path / name), pose)
    (tmp_path / "scaled.json").write_text(json.dumps((2 * pose).tolist()))
    with pytest.raises(CameraError, match=r"scaled.json: camera pose must be a rotation and translation"):
        read_pose(tmp_path / "scaled.json")
    with pytest.raises(CameraError, match="4x4"):
        read_pose(tmp_path / "none.txt")
