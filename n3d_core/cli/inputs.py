"""From a command line's files to one checked frame."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from n3d_core.depth import DepthLimits
from n3d_core.depth.files import is_point_map, read_depth, read_point_map
from n3d_core.depth.monocular import load_monocular
from n3d_core.errors import CameraError, ConfigError, DepthError
from n3d_core.geometry.boxes import rotation_of
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, Truth
from n3d_core.geometry.image_file import read_color
from n3d_core.geometry.registration import register_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FARTHEST = 1000.0  # metres; for sources that say themselves what they do not see
_ONLY_FILES = ("depth", "depth_unit", "camera", "fov", "depth_camera", "depth_to_color", "mono")


@dataclass(frozen=True)
class CommandInput:
    """A frame, what is known of it, and which depth counts.

    Attributes:
        truth: of a frame folder's frame, where there is one.
        limits: of depth.
        source: where depth came from, for people.
    """

    frame: Frame
    truth: Truth | None
    limits: DepthLimits
    source: str


def add_frame_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `read_input` reads; the same for every command."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="colour image (PNG, JPEG …), or a frame folder")
    group = parser.add_argument_group("depth and camera of an image")
    group.add_argument("--depth", type=Path, metavar="FILE", help="PNG, TIFF, NPY, NPZ, EXR, or a reference point map")
    group.add_argument(
        "--depth-unit",
        metavar="UNIT",
        help="mm, m, tum, sun, or raw values a metre; by default 16-bit files are mm and floats m",
    )
    group.add_argument("--camera", type=Path, metavar="YAML", help="intrinsics of the colour image (ROS camera info)")
    group.add_argument("--fov", type=float, metavar="DEG", help="horizontal field of view, where no YAML is at hand")
    group.add_argument("--depth-camera", type=Path, metavar="YAML", help="intrinsics of depth, if it is not registered")
    group.add_argument(
        "--depth-to-color",
        type=float,
        nargs=7,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="pose of the depth camera in the colour camera's optical frame (metres, quaternion)",
    )
    group.add_argument(
        "--mono", metavar="MODEL", help="estimate depth: indoor, outdoor, moge, or the folder of a depth model"
    )
    group.add_argument("--min-depth", type=float, metavar="M", help="nearest depth that counts (0.05)")
    group.add_argument("--max-depth", type=float, metavar="M", help="farthest depth that counts (sensors: 20)")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="which frame of a folder, from 0")


def read_input(args: argparse.Namespace) -> CommandInput:
    """Reads the frame that a command line names.

    Raises:
        N3DError: naming the file or option that does not fit, and what to do.
    """
    if args.image.is_dir():
        return _from_folder(args)
    color = read_color(args.image)
    height, width = color.shape[:2]
    camera = _camera(args, width, height)
    if args.depth is None:
        return _monocular(args, color, camera)
    depth_camera: Camera | None
    if is_point_map(args.depth):
        depth, depth_camera = read_point_map(args.depth)
        camera = camera or depth_camera.resized(width, height)  # point maps are made at a reduced size
        far, source = _FARTHEST, f"{args.depth} (point map)"
    else:
        depth, depth_camera = read_depth(args.depth, args.depth_unit), _read_camera(args.depth_camera)
        far, source = DepthLimits.far, str(args.depth)
    if camera is None:
        raise CameraError("no camera is given: --camera YAML (ROS camera info) or --fov DEGREES is wanted")
    depth = _registered(args, depth, depth_camera, camera)
    return CommandInput(Frame(color, depth, camera), None, _limits(args, far), source)


def _from_folder(args: argparse.Namespace) -> CommandInput:
    given = [f"--{name.replace('_', '-')}" for name in _ONLY_FILES if getattr(args, name) is not None]
    if given:
        options = ", ".join(given)
        raise ConfigError(f"{args.image} is a frame folder, which has its own depth and camera: leave out {options}")
    folder = FrameFolder(args.image)
    if not 0 <= args.frame < len(folder):
        raise ConfigError(f"{args.image}: --frame {args.frame} is not one of 0..{len(folder) - 1}")
    frame, truth = folder.frame(args.frame), folder.truth(args.frame)
    return CommandInput(frame, truth, _limits(args, DepthLimits.far), f"{args.image}, frame {args.frame}")


def _monocular(args: argparse.Namespace, color: NDArray[np.uint8], camera: Camera | None) -> CommandInput:
    if args.mono is None:
        raise DepthError("no depth is given: --depth FILE, or --mono indoor|outdoor|FOLDER to estimate it, is wanted")
    model = load_monocular(args.mono)
    seen = model.estimate(color, camera)
    limits = _limits(args, min(model.far, _FARTHEST))
    return CommandInput(Frame(color, seen.depth, seen.camera), None, limits, model.name)


def _camera(args: argparse.Namespace, width: int, height: int) -> Camera | None:
    if args.camera is not None and args.fov is not None:
        raise ConfigError("--camera and --fov both give the intrinsics: leave one out")
    if args.fov is not None:
        return Camera.from_fov(args.fov, width, height)
    camera = _read_camera(args.camera)
    if camera is not None and (camera.width, camera.height) != (width, height):
        raise CameraError(
            f"{args.camera} is for {camera.width}x{camera.height} and {args.image} is {width}x{height}: "
            "the intrinsics of this image are wanted"
        )
    return camera


def _read_camera(path: Path | None) -> Camera | None:
    return None if path is None else Camera.from_yaml(path)


def _registered(
    args: argparse.Namespace, depth: NDArray[np.float32], depth_camera: Camera | None, camera: Camera
) -> NDArray[np.float32]:
    """Depth as the colour camera would have measured it; unchanged where the two are one."""
    if depth_camera is None:
        if args.depth_to_color is not None:
            raise ConfigError("--depth-to-color is given without --depth-camera: registration needs both cameras")
        if depth.shape != (camera.height, camera.width):
            raise DepthError(
                f"{args.depth} is {depth.shape[1]}x{depth.shape[0]} and the colour camera "
                f"{camera.width}x{camera.height}: give depth's own intrinsics with --depth-camera YAML, so that it can "
                "be registered"
            )
        return depth
    if args.depth_to_color is None:
        return register_depth(depth, depth_camera, camera)
    x, y, z, *turn = args.depth_to_color
    length = float(np.linalg.norm(turn))
    if not abs(length - 1) < 0.01:
        raise ConfigError(f"--depth-to-color: the quaternion {turn} has length {length:.3f}; 1 is wanted")
    qx, qy, qz, qw = (v / length for v in turn)
    return register_depth(depth, depth_camera, camera, rotation_of((qx, qy, qz, qw)), np.array([x, y, z]))


def _limits(args: argparse.Namespace, far: float) -> DepthLimits:
    near = DepthLimits.near if args.min_depth is None else args.min_depth
    return DepthLimits(near=near, far=far if args.max_depth is None else args.max_depth)
