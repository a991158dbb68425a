"""`n3d import` makes frame folders and tours of public recordings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.cli import main
from n3d_core.geometry.boxes import quaternion_of
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import FrameFolder

REAL = Path(__file__).parents[3] / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real RGB-D images are not at {REAL}")
CAMERA = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
PITCH = math.radians(30.0)


def looking_at_the_floor(x: float) -> NDArray[np.float64]:
    """A camera 1.5 m above the floor of a map whose z is up, pitched down and moved along x."""
    ahead, down = np.array([0, math.cos(PITCH), -math.sin(PITCH)]), np.array([0, -math.sin(PITCH), -math.cos(PITCH)])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(down, ahead), down, ahead], axis=1)
    pose[:3, 3] = x, 0, 1.5
    return pose


POSES = [looking_at_the_floor(x) for x in (0.0, 0.2, 0.4)]


def floor_depth(pose: NDArray[np.float64], camera: Camera = CAMERA) -> NDArray[np.float64]:
    rays = np.dstack([camera.rays(), np.ones((camera.height, camera.width))]) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        z = pose[2, 3] / -rays[..., 2]
    return np.where((z > 0) & (z < 6), z, 0)


def save(
    color: Path, depth: Path, pose: NDArray[np.float64], per_metre: float, size: tuple[int, int] | None = None
) -> None:
    for path in (color, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(color), picture)
    camera = CAMERA if size is None else CAMERA.resized(*size)
    values = floor_depth(pose, camera) * per_metre
    if depth.suffix == ".npy":
        np.save(depth, values.astype(np.float32))
    else:
        cv2.imwrite(str(depth), values.round().astype(np.uint16))


def tum(root: Path) -> list[str]:
    lines = {"rgb": [], "depth": [], "truth": []}
    for i, pose in enumerate(POSES):
        save(root / f"rgb/{i}.png", root / f"depth/{i}.png", pose, 5000)
        lines["rgb"].append(f"{i + 1}.000 rgb/{i}.png")
        lines["depth"].append(f"{i + 1}.010 depth/{i}.png")
        numbers = " ".join(map(str, (*pose[:3, 3], *quaternion_of(pose[:3, :3]))))
        lines["truth"].append(f"{i + 1}.005 {numbers}")
    (root / "rgb.txt").write_text("# colour\n" + "\n".join([*lines["rgb"], "9.0 rgb/none.png"]))
    (root / "depth.txt").write_text("\n".join(lines["depth"]))
    (root / "groundtruth.txt").write_text("\n".join(lines["truth"]))
    return ["--camera", "70,70,39.5,29.5"]


def bop(root: Path) -> list[str]:
    cameras = {}
    for i, pose in enumerate(POSES):
        save(root / f"rgb/{i + 1:06d}.jpg", root / f"depth/{i + 1:06d}.png", pose, 10000)
        back = np.linalg.inv(pose)
        cameras[str(i + 1)] = {
            "cam_K": CAMERA.matrix.reshape(-1).tolist(),
            "depth_scale": 0.1,
            "cam_R_w2c": back[:3, :3].reshape(-1).tolist(),
            "cam_t_w2c": (back[:3, 3] * 1000).tolist(),
        }
    (root / "scene_camera.json").write_text(json.dumps(cameras))
    return []


def ycb(root: Path) -> list[str]:
    matlab = pytest.importorskip("scipy.io", reason="scipy, which reads .mat, is not installed")
    for i, pose in enumerate(POSES):
        save(root / f"{i + 1:06d}-color.png", root / f"{i + 1:06d}-depth.png", pose, 10000)
        meta = {
            "intrinsic_matrix": CAMERA.matrix,
            "factor_depth": 10000,
            "rotation_translation_matrix": np.linalg.inv(pose)[:3],
        }
        matlab.savemat(root / f"{i + 1:06d}-meta.mat", meta)
    return []


def record3d(root: Path) -> list[str]:
    poses = []
    for i, pose in enumerate(POSES):
        save(root / f"rgb/{i}.jpg", root / f"depth/{i}.npy", pose, 1.0, size=(40, 30))
        to_arkit = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # y up
        there = to_arkit @ pose @ np.diag([1.0, -1, -1, 1])
        poses.append([*quaternion_of(there[:3, :3]), *there[:3, 3]])
    data = {"K": CAMERA.matrix.T.reshape(-1).tolist(), "w": 80, "h": 60, "dw": 40, "dh": 30, "fps": 30, "poses": poses}
    (root / "metadata.json").write_text(json.dumps(data))
    return []


def seven_scenes(root: Path) -> list[str]:
    for i, pose in enumerate(POSES):
        name = f"frame-{i:06d}"
        save(root / f"{name}.color.png", root / f"{name}.depth.png", pose, 1000)
        np.savetxt(root / f"{name}.pose.txt", pose)
    np.savetxt(root / "camera-intrinsics.txt", CAMERA.matrix)
    return []


def open3d(root: Path) -> list[str]:
    lines = []
    for i, pose in enumerate(POSES):
        save(root / f"color/{i:05d}.jpg", root / f"depth/{i:05d}.png", pose, 1000)
        lines += [f"{i} {i} {i + 1}", *(" ".join(map(str, row)) for row in pose)]
    (root / "trajectory.log").write_text("\n".join(lines) + "\n")
    intrinsic = {"width": 80, "height": 60, "intrinsic_matrix": CAMERA.matrix.T.reshape(-1).tolist()}
    (root / "camera_intrinsic.json").write_text(json.dumps(intrinsic))
    return []


@pytest.mark.parametrize("make", [tum, bop, ycb, record3d, seven_scenes, open3d])
def test_a_recording_becomes_a_tour_in_metres_in_a_map_whose_z_is_up(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "recording"
    root.mkdir()
    options = make(root)
    assert main(["import", str(root), str(tmp_path / "tour"), *options]) == 0
    assert "3 frames with poses (a tour)" in capsys.readouterr().out
    folder = FrameFolder(tmp_path / "tour")
    stamps = []
    for i, expected in enumerate(POSES):
        frame, pose = folder.frame(i), folder.pose(i)
        assert pose is not None
        np.testing.assert_allclose(pose.camera_to_map, expected, atol=1e-6)
        truth = floor_depth(expected)
        both = np.isfinite(frame.depth) & (truth > 0)
        assert both.mean() > 0.5
        assert np.median(np.abs(frame.depth - truth)[both]) < (0.05 if make is record3d else 0.001)
        assert frame.camera.fx == pytest.approx(70)
        stamps.append(pose.stamp_ns)
    assert stamps == sorted(set(stamps))
    assert main(["import", str(root), str(tmp_path / "tour"), *options]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_world_that_is_not_z_up_is_turned_and_kept_on_request(tmp_path: Path) -> None:
    root = tmp_path / "recording"
    root.mkdir()
    seven_scenes(root)
    lying = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    for i, pose in enumerate(POSES):
        np.savetxt(root / f"frame-{i:06d}.pose.txt", lying @ pose)
    assert main(["import", str(root), str(tmp_path / "turned"), "--limit", "2"]) == 0
    assert main(["import", str(root), str(tmp_path / "kept"), "--keep-world", "--every", "2"]) == 0
    kept, turned = (FrameFolder(tmp_path / name) for name in ("kept", "turned"))
    assert (len(kept), len(turned)) == (2, 2)
    pose = turned.pose(0)
    assert pose is not None
    down = pose.camera_to_map[:3, :3] @ np.linalg.inv(POSES[0][:3, :3]) @ (0, 0, -1.0)
    np.testing.assert_allclose(down, (0, 0, -1), atol=0.02)
    first = kept.pose(0)
    assert first is not None
    np.testing.assert_allclose(first.camera_to_map, lying @ POSES[0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "unknown kind of recording; expected a bag"),
        (["--kind", "tum"], "cannot be read as a list of stamps"),
        (["--every", "0"], "at least 1"),
    ],
)
def test_what_is_no_recording_is_told(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").mkdir()
    assert main(["import", str(tmp_path / "x"), str(tmp_path / "out"), *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "file", "content", "words"),
    [
        (bop, "scene_camera.json", "{", "cannot be read as a recording of kind bop (JSONDecodeError"),
        (bop, "scene_camera.json", '{"1": {"cam_R_w2c": [1], "cam_t_w2c": [0, 0, 0]}}', "(ValueError: "),
        (bop, "scene_camera.json", '{"1": {"depth_scale": 0}}', "(ZeroDivisionError: "),
        (record3d, "metadata.json", "[]", "cannot be read as a recording of kind record3d (AttributeError"),
        (record3d, "metadata.json", '{"poses": [[1, 2]]}', "(ValueError: "),
        (tum, "groundtruth.txt", "1.005 1 2", "cannot be read as a recording of kind tum (ValueError"),
    ],
)
def test_a_damaged_recording_is_told(
    tmp_path: Path, make: Any, file: str, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "x")
    (tmp_path / "x" / file).write_text(content)
    assert main(["import", str(tmp_path / "x"), str(tmp_path / "out")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_depth_without_colour_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open3d(tmp_path / "x")
    (tmp_path / "x" / "color").rename(tmp_path / "x" / "somewhere")
    assert main(["import", str(tmp_path / "x"), str(tmp_path / "out")]) == 1
    assert "no frame with colour and depth in this open3d recording" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["nan", "inf", "-inf"])
def test_frames_whose_tracking_was_lost_are_left_out(
    tmp_path: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "x"
    root.mkdir()
    seven_scenes(root)
    np.savetxt(root / "frame-000001.pose.txt", np.full((4, 4), float(lost)))
    assert main(["import", str(root), str(tmp_path / "tour"), "--keep-world"]) == 0
    assert "2 frames with poses (a tour); 1 skipped" in capsys.readouterr().out
    assert len(FrameFolder(tmp_path / "tour")) == 2


def test_damaged_frames_are_left_out_even_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "x"
    root.mkdir()
    seven_scenes(root)
    (root / "frame-000000.color.png").write_bytes(b"")
    assert main(["import", str(root), str(tmp_path / "tour")]) == 0
    shown = capsys.readouterr()
    assert "2 frames with poses (a tour); 1 skipped" in shown.out
    assert "frame-000000.color.png: 0 bytes" in shown.err
    for index in (1, 2):
        (root / f"frame-{index:06d}.depth.png").write_bytes(b"")
    assert main(["import", str(root), str(tmp_path / "none")]) == 1
    assert "n3d: " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_quaternion_of_zeros_is_no_pose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "x"
    root.mkdir()
    tum(root)
    lines = (root / "groundtruth.txt").read_text().splitlines()
    (root / "groundtruth.txt").write_text("\n".join([*lines[:-1], " ".join([*lines[-1].split()[:4], *"0000"])]))
    assert main(["import", str(root), str(tmp_path / "tour")]) == 0
    assert "2 frames with poses (a tour); 1 skipped" in capsys.readouterr().out


def test_what_is_assumed_or_looks_wrong_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "x"
    root.mkdir()
    for index, pose in enumerate(POSES):
        save(root / f"frame-{index:06d}.color.png", root / f"frame-{index:06d}.depth.png", pose, 10_000)
    assert main(["import", str(root), str(tmp_path / "frames")]) == 0
    assert "assuming 7-Scenes' 585,585,320,240" in caplog.text
    assert "n3d: warning: median depth is" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "frames"), str(tmp_path / "again")]) == 1
    assert "is already a frame folder" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "nothing"), str(tmp_path / "again")]) == 1
    assert "nothing: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--camera", "1,1,1,1"], "remove --camera"), (["--map-frame", "moon"], "camera_link; got 'moon'")],
)
def test_options_that_a_bag_cannot_use_are_refused(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = Path(__file__).parents[2] / "demo" / "bag"
    assert main(["import", str(bag), str(tmp_path / "out"), *options]) == 1
    assert words in capsys.readouterr().err


def test_a_name_that_is_too_long_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    question = "How far is the red mug from the blue box? " * 10
    for command in (["ask", question, "demo/frames"], ["import", question, "somewhere"]):
        assert main(command) == 1
        assert capsys.readouterr().err.startswith(f"n3d: {question[:80]}: File name too long")


def test_a_bag_with_poses_becomes_a_tour(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    demo = Path(__file__).parents[2] / "demo/bag"
    assert main(["import", str(demo), str(tmp_path / "frames"), "--limit", "2"]) == 0
    folder = FrameFolder(tmp_path / "frames")
    assert len(folder) == 2
    assert 0.2 < float(np.nanmedian(folder.frame(0).depth)) < 5


@needs_real
def test_real_poses_agree_with_real_depth(tmp_path: Path) -> None:
    assert main(["import", str(REAL / "7scenes_posed"), str(tmp_path / "tour"), "--limit", "6"]) == 0
    folder = FrameFolder(tmp_path / "tour")
    first, second = folder.frame(0), folder.frame(1)
    poses = [folder.pose(i) for i in (0, 1)]
    assert poses[0] is not None
    assert poses[1] is not None
    points = first.points[::4, ::4].reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    there = np.linalg.inv(poses[1].camera_to_map) @ poses[0].camera_to_map
    moved = points @ there[:3, :3].T + there[:3, 3]
    u, v = second.camera.project(moved).round().T
    inside = (u >= 0) & (u < second.width) & (v >= 0) & (v < second.height)
    seen = second.depth[v[inside].astype(int), u[inside].astype(int)]
    error = np.abs(seen - moved[inside, 2])
    assert float(np.nanmedian(error)) < 0.03


@pytest.mark.parametrize("damage", ["zeroed", "cut", "flipped"])
def test_a_damaged_bag_is_told(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((Path(__file__).parents[2] / "demo" / "bag" / "bag.mcap").read_bytes())
    middle = len(data) // 2
    if damage == "zeroed":
        data[1000 : len(data) - 20_000] = bytes(len(data) - 21_000)
    elif damage == "cut":
        del data[middle:]
    else:
        for at in range(1000, len(data) - 20_000, 5000):
            data[at] ^= 0xFF
    path = tmp_path / "bag.mcap"
    path.write_bytes(data)
    assert main(["import", str(path), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"n3d: {path}: ")
