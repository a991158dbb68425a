"""Reads public RGB-D recordings in their published formats, frame by frame, for `n3d import`.

A pose is `camera_to_world` [4, 4]. Which axis of the world is up depends on the recording (see `upright`).
"""

from __future__ import annotations

import json
import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.files import read_depth
from n3d_core.errors import CameraError, ConfigError, N3DError, TransformError, reading
from n3d_core.geometry.camera_file import read_camera, read_mat, read_pose
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.image_file import read_color
from n3d_core.geometry.points import register_depth
from n3d_core.geometry.transforms import Matrix, rigid, rigid_of
from n3d_core.geometry.upright_box import gravity_from_points
from n3d_core.messages.assembly import FrameOptions, frame_of, nanoseconds_of
from n3d_core.recordings.bag import Bag, is_bag

log = logging.getLogger("n3d.recordings")

PAIR_S = 0.02  # largest difference between the stamps of colour, depth and pose, as in TUM's associate.py
MAP_FRAMES = ("map", "world", "odom")
_PICTURES = (".png", ".jpg", ".jpeg")
_TILT = 10.0  # degrees; if the floor is tilted further, the world is not z up
_GRAVITY_FRAMES = 12  # number of frames that gravity is estimated from


@dataclass(frozen=True)
class Shot:
    """A frame that has not been read yet.

    Attributes:
        load: reads the frame.
        stamp_ns: time of the frame; 0 if unknown.
        camera_to_world: pose of the camera [4, 4]; None if unknown.
    """

    load: Callable[[], Frame]
    stamp_ns: int = 0
    camera_to_world: Matrix | None = None


@dataclass(frozen=True)
class Overrides:
    """Settings that override a recording's own; empty ones do not.

    Attributes:
        camera: intrinsics, as for `read_camera`.
        depth_unit: as for `DepthUnit.parse`.
        map_frame: frame of a bag's poses; empty takes the first of `MAP_FRAMES` that exists.
    """

    camera: str = ""
    depth_unit: str = ""
    map_frame: str = ""


def read_recording(path: Path, kind: str, given: Overrides) -> list[Shot]:
    """The frames of a recording in order of time.

    Args:
        kind: one of `KINDS`; empty detects it from the files.

    Raises:
        N3DError: if something is missing; the message names it.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; give a bag, or the folder of a recording")
    kind = kind or next((name for name, (looks, _) in KINDS.items() if looks(path)), "")
    if kind not in KINDS and (path / "camera.yaml").is_file() and any(path.glob("*.color.*")):
        raise ConfigError(f"{path} is already a frame folder: n3d ground {path} reads it directly")
    if kind not in KINDS:
        raise ConfigError(
            f"{path}: unknown kind of recording; expected a bag, or a folder of TUM (rgb.txt), 7-Scenes (frame-000000."
            "color.png), BOP (scene_camera.json), YCB-Video (000001-color.png), record3d (metadata.json) or Open3D "
            f"(color/ and depth/); --kind can be one of {', '.join(KINDS)}"
        )
    with reading(path, f"a recording of kind {kind}", ConfigError, ": a file of it is missing or damaged"):
        shots = list(KINDS[kind][1](path, given))
    if not shots:
        raise ConfigError(f"{path}: no frame with colour and depth in this {kind} recording")
    return shots


def upright(shots: list[Shot]) -> Matrix | None:
    """The rotation [4, 4] that makes the world z up, judging by the floors and tables in view.

    None if the world is z up already, or if there are no poses or no level planes.
    """
    downs = []
    for shot in shots[:: max(1, len(shots) // _GRAVITY_FRAMES)]:
        with suppress(N3DError):  # importing the frame will report the error
            frame = shot.load()
            down = gravity_from_points(frame.points[frame.valid])
            if shot.camera_to_world is not None and down is not None:
                downs.append(shot.camera_to_world[:3, :3] @ down)
    if not downs:
        return None
    agree = np.array(downs) @ np.array(downs).T > np.cos(np.radians(_TILT))
    down = np.array(downs)[agree[int(agree.sum(axis=1).argmax())]].mean(axis=0)
    down /= np.linalg.norm(down)
    if -down[2] > np.cos(np.radians(_TILT)):
        return None
    ahead = np.cross([1.0, 0, 0] if abs(down[0]) < 0.9 else [0, 1.0, 0], -down)
    ahead /= np.linalg.norm(ahead)
    return rigid(np.stack([np.cross(ahead, -down), ahead, -down]), 0.0)


def _frame(color: Path, depth: Path, camera: str | Path, unit: str, index: int = 0) -> Frame:
    """Reads a frame; depth of the same aspect ratio is resized to the colour image."""
    picture = read_color(color)
    height, width = picture.shape[:2]
    seen = read_camera(camera, width, height, index).checked_for(width, height, camera, color).camera
    metres = read_depth(depth, unit or None)
    if metres.shape != (height, width):
        metres = register_depth(metres, seen.resized(metres.shape[1], metres.shape[0]), seen)
    return Frame(picture, metres, seen)


def _shot(
    color: Path,
    depth: Path,
    camera: str | Path,
    unit: str,
    stamp_ns: int,
    camera_to_world: Matrix | None,
    index: int = 0,
) -> Shot:
    return Shot(partial(_frame, color, depth, camera, unit, index), stamp_ns, camera_to_world)


def _pictures(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.suffix in _PICTURES)


def _camera_beside(folder: Path, given: Overrides, *names: str) -> str | Path:
    found = given.camera or next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise CameraError(f"{folder}: {', '.join(names)} not found; give --camera FILE or FX,FY,CX,CY")
    return found


def _read_tum(root: Path, given: Overrides) -> Iterator[Shot]:
    colors, depths = _tum_list(root / "rgb.txt"), _tum_list(root / "depth.txt")
    poses = _tum_list(root / "groundtruth.txt") if (root / "groundtruth.txt").is_file() else []
    camera: str | Path = given.camera or "525.0,525.0,319.5,239.5"  # TUM's values for registered depth
    if not given.camera:
        log.warning("%s: assuming TUM's default intrinsics %s; --camera sets others", root, camera)
    for stamp, (name, *_) in colors:
        depth, pose = _nearest(depths, stamp), _nearest(poses, stamp)
        if depth is None:
            continue
        where = None
        if pose is not None:
            x, y, z, *turn = map(float, pose[:7])
            where = rigid_of((x, y, z), turn)  # None where tracking was lost
        unit = given.depth_unit or "tum"
        yield _shot(root / name, root / depth[0], camera, unit, round(stamp * 1e9), where)


def _tum_list(path: Path) -> list[tuple[float, list[str]]]:
    with reading(path, "a list of stamps of TUM", ConfigError):
        lines = [line.split() for line in path.read_text().splitlines()]
        return sorted((float(words[0]), words[1:]) for words in lines if len(words) > 1 and words[0][0] != "#")


def _nearest(entries: list[tuple[float, list[str]]], stamp: float) -> list[str] | None:
    at = bisect_left(entries, (stamp, []))
    near = min(entries[max(at - 1, 0) : at + 1], key=lambda entry: abs(entry[0] - stamp), default=None)
    return near[1] if near is not None and abs(near[0] - stamp) <= PAIR_S else None


def _read_7scenes(root: Path, given: Overrides) -> Iterator[Shot]:
    camera: str | Path = given.camera or root / "camera-intrinsics.txt"
    if not given.camera and not Path(camera).is_file():
        camera = "585,585,320,240"  # 7-Scenes' values for its depth camera
        log.warning("%s: no camera-intrinsics.txt: assuming 7-Scenes' %s; --camera sets others", root, camera)
    for color in _pictures(root, "frame-*.color.*"):
        name = color.name.partition(".")[0]
        pose = root / f"{name}.pose.txt"
        depth = root / f"{name}.depth.png"
        if depth.is_file():
            where = None
            with suppress(CameraError):  # missing, or infinite where tracking was lost
                where = read_pose(pose)
            stamp_ns = _at_30_hz(int("0" + re.sub(r"\D", "", name)))
            yield _shot(color, depth, camera, given.depth_unit or "mm", stamp_ns, where)


def _at_30_hz(index: int) -> int:
    """A stamp for recordings without any: poses need an order in time."""
    return round((index + 1) * 1e9 / 30)


def _read_bop(root: Path, given: Overrides) -> Iterator[Shot]:
    cameras = json.loads((root / "scene_camera.json").read_text())
    for number in sorted(cameras, key=int):
        entry, stem = cameras[number], f"{int(number):06d}"
        color = next((p for e in _PICTURES if (p := root / "rgb" / (stem + e)).is_file()), None)
        depth = root / "depth" / f"{stem}.png"
        if color is None or not depth.is_file():
            continue
        where = None
        if "cam_R_w2c" in entry and "cam_t_w2c" in entry:
            where = _inverse(np.reshape(entry["cam_R_w2c"], (3, 3)), np.array(entry["cam_t_w2c"]) / 1000)
        unit = given.depth_unit or f"{1000 / float(entry.get('depth_scale', 1.0)):g}"
        camera: str | Path = given.camera or root / "scene_camera.json"
        yield _shot(color, depth, camera, unit, _at_30_hz(int(number)), where, int(number))


def _inverse(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> Matrix:
    return rigid(rotation.T, -rotation.T @ translation)


def _read_ycb(root: Path, given: Overrides) -> Iterator[Shot]:
    for index, color in enumerate(_pictures(root, "*-color.*")):
        stem = color.name.partition("-")[0]
        depth, meta = root / f"{stem}-depth.png", root / f"{stem}-meta.mat"
        if not depth.is_file():
            continue
        camera: str | Path = given.camera or meta
        where, unit = None, given.depth_unit or "10000"  # YCB-Video's default
        if meta.is_file():
            held = read_mat(meta)
            unit = given.depth_unit or f"{float(np.asarray(held.get('factor_depth', 10000)).reshape(-1)[0]):g}"
            if "rotation_translation_matrix" in held:
                matrix = np.asarray(held["rotation_translation_matrix"], dtype=np.float64).reshape(3, 4)
                where = _inverse(matrix[:, :3], matrix[:, 3])
        elif not given.camera:
            raise CameraError(f"{meta} not found: give --camera FX,FY,CX,CY")
        yield _shot(color, depth, camera, unit, _at_30_hz(index), where)


_Z_UP = rigid(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), 0.0)  # from y up


def _read_record3d(root: Path, given: Overrides) -> Iterator[Shot]:
    """record3d's EXR + JPG export; ARKit's world is y up, and its cameras look along -z."""
    data = json.loads((root / "metadata.json").read_text())
    poses, fps = data.get("poses") or [], float(data.get("fps") or 60)
    folder = next((root / name for name in ("rgb", "EXR_RGBD/rgb", "rgbd") if (root / name).is_dir()), root)
    deep = folder.parent / "depth" if (folder.parent / "depth").is_dir() else folder
    for index, color in enumerate(sorted(_pictures(folder), key=lambda p: (len(p.stem), p.stem))):
        depth = next((p for p in deep.glob(f"{color.stem}.*") if p.suffix in (".exr", ".npy", ".png", ".tiff")), None)
        if depth is None or depth == color:
            continue
        where = None
        if index < len(poses):
            *turn, x, y, z = map(float, poses[index])
            seen = rigid_of((x, y, z), turn)
            where = None if seen is None else _Z_UP @ seen @ np.diag([1.0, -1, -1, 1])
        camera: str | Path = given.camera or root / "metadata.json"
        yield _shot(color, depth, camera, given.depth_unit, round((index + 1) * 1e9 / fps), where)


def _read_open3d(root: Path, given: Overrides) -> Iterator[Shot]:
    names = ("camera_intrinsic.json", "intrinsic.json", "camera.yaml", "camera_primesense.json")
    camera = _camera_beside(root, given, *names)
    folder = next((root / name for name in ("color", "image", "rgb") if (root / name).is_dir()), root / "color")
    poses = _trajectory(root / "trajectory.log")
    for index, color in enumerate(_pictures(folder)):
        depth = root / "depth" / f"{color.stem}.png"
        if depth.is_file():
            where = poses[index] if index < len(poses) else None
            yield _shot(color, depth, camera, given.depth_unit, _at_30_hz(index), where)


def _trajectory(path: Path) -> list[Matrix]:
    """The poses of a `.log` file of Redwood or Open3D: a line of numbers, then four rows, for each."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()] if path.is_file() else []
    with reading(path, "a trajectory of Open3D", ConfigError):
        return [np.array(rows[i + 1 : i + 5], dtype=np.float64).reshape(4, 4) for i in range(0, len(rows) - 4, 5)]


def _read_bag(path: Path, given: Overrides) -> Iterator[Shot]:
    if given.camera:
        raise ConfigError(f"{path} is a bag, which has its own camera info: remove --camera")
    bag = Bag(path)
    names = bag.rgbd_topics()
    known = bag.transforms.frames
    if given.map_frame and given.map_frame not in known:
        raise ConfigError(
            f"{path}: --map-frame must be one of {', '.join(sorted(known)) or 'none: the bag has no TF'}; "
            f"got {given.map_frame!r}"
        )
    world = given.map_frame or next((frame for frame in MAP_FRAMES if frame in known), "")
    optical = frame_of(bag.message(names.color))
    for color_ns, depth_ns in bag.frame_times(names):
        if depth_ns is None:
            continue
        where = None
        if world and optical in known:
            stamp_ns = nanoseconds_of(bag.message(names.color, color_ns).header.stamp) or color_ns
            with suppress(TransformError):  # this frame has no pose
                where = rigid(*bag.transforms.look_up(world, optical, stamp_ns))
        yield Shot(
            partial(bag.frame, names, color_ns, depth_ns, FrameOptions(depth_unit=given.depth_unit)), color_ns, where
        )


KINDS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, Overrides], Iterator[Shot]]]] = {
    "bag": (is_bag, _read_bag),
    "tum": (lambda root: (root / "rgb.txt").is_file(), _read_tum),
    "bop": (lambda root: (root / "scene_camera.json").is_file(), _read_bop),
    "record3d": (lambda root: (root / "metadata.json").is_file(), _read_record3d),
    "7scenes": (lambda root: any(root.glob("frame-*.color.*")), _read_7scenes),
    "ycb": (lambda root: any(root.glob("*-color.*")), _read_ycb),
    "open3d": (lambda root: (root / "depth").is_dir(), _read_open3d),
}


def has_poses(shots: list[Shot]) -> bool:
    """Whether a recording has poses."""
    return any(shot.camera_to_world is not None for shot in shots)
