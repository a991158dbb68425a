"""Reads a command line's input files to one validated frame."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from n3d_core.cli import say
from n3d_core.depth import DepthLimits
from n3d_core.depth.files import is_point_map, read_depth, read_point_map
from n3d_core.depth.monocular import load_monocular
from n3d_core.errors import CameraError, ConfigError, DepthError, ImageError
from n3d_core.geometry.camera import DISTORTION_POLICIES, Camera, Lens
from n3d_core.geometry.camera_file import EXAMPLE, CameraFile, read_camera, read_pose
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, Truth
from n3d_core.geometry.image_file import read_color
from n3d_core.geometry.points import register_depth
from n3d_core.geometry.transforms import rigid_of
from n3d_core.recordings.formats import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FARTHEST = 1000.0  # metres; for sources that mark invalid depth themselves
_ONLY_FILES = ("depth", "depth_unit", "camera", "fov", "depth_camera", "depth_to_color", "mono", "distortion")
_POSE = "--depth-to-color"


@dataclass(frozen=True)
class CommandInput:
    """A frame, its ground truth, and its depth limits.

    Attributes:
        truth: ground truth from a frame folder, if any.
        limits: depth limits.
        source: origin of the depth, for display.
    """

    frame: Frame
    truth: Truth | None
    limits: DepthLimits
    source: str


def add_frame_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for `read_input`; the same for every command."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="colour image (PNG, JPEG …), frame folder or bag")
    group = parser.add_argument_group("depth and camera of an image")
    group.add_argument("--depth", type=Path, metavar="FILE", help="PNG, TIFF, NPY, NPZ, EXR, or a reference point map")
    group.add_argument(
        "--depth-unit",
        metavar="UNIT",
        help="mm, m, tum, sun, raw values per metre (10000), or both (sun:10000); default: the camera file's, "
        "else 16-bit files are mm and floats m",
    )
    group.add_argument(
        "--camera",
        metavar="FILE|FX,FY,CX,CY",
        help="intrinsics of the colour image: ROS camera info, a 3x3 matrix (text, .npy, JSON), JSON of Open3D, "
        "record3d, BOP or RealSense, a .mat, or four numbers in pixels",
    )
    group.add_argument(
        "--fov", type=float, metavar="DEG", help="horizontal field of view, if the intrinsics are unknown"
    )
    group.add_argument(
        "--distortion",
        choices=DISTORTION_POLICIES,
        help="if the camera file has distortion: rectify the image (default), treat it as already rectified (uses P), "
        "or refuse it",
    )
    group.add_argument(
        "--depth-camera", metavar="FILE|FX,FY,CX,CY", help="intrinsics of depth, if it is not registered to colour"
    )
    group.add_argument(
        _POSE,
        metavar="X Y Z QX QY QZ QW|FILE",
        help="pose of the depth camera in the colour camera's optical frame (metres, quaternion), or a file with the "
        "4x4 matrix from depth to colour",
    )
    group.add_argument(
        "--mono", metavar="MODEL", help="estimate depth: indoor, outdoor, moge, or the folder of a depth model"
    )
    group.add_argument("--min-depth", type=float, metavar="M", help="minimum depth (0.05)")
    group.add_argument("--max-depth", type=float, metavar="M", help="maximum depth (sensors: 20)")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="which frame of a folder or bag, from 0")

    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        return parse(_join_pose(sys.argv[1:] if args is None else args), namespace)

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _join_pose(arguments: Sequence[str]) -> list[str]:
    """Joins the numbers after --depth-to-color: argparse cannot accept either seven arguments or one."""
    if _POSE not in arguments:
        return list(arguments)
    at = list(arguments).index(_POSE)
    numbers = list(takewhile(_is_number, arguments[at + 1 :]))
    if len(numbers) < 2:
        return list(arguments)
    return [*arguments[:at], f"{_POSE}={' '.join(numbers)}", *arguments[at + 1 + len(numbers) :]]


def read_input(args: argparse.Namespace) -> CommandInput:
    """Reads a command line's frame.

    Raises:
        N3DError: if an input is invalid; the message names the file or option, and what to do.
    """
    from n3d_core.recordings.bag import is_bag

    if is_bag(args.image):
        return _from_bag(args)
    if args.image.is_dir():
        return _from_folder(args)
    _check_options(args)
    color = read_color(args.image, upright=args.depth is None and args.camera is None)
    height, width = color.shape[:2]
    given, lens = _lens(args, width, height)
    if lens is not None:
        color = np.ascontiguousarray(lens.rectify(color))
    camera = None if lens is None else lens.camera
    if args.depth is None:
        return _monocular(args, color, camera)
    if is_point_map(args.depth):
        depth, depth_camera = read_point_map(args.depth)
        camera = camera or depth_camera.resized(width, height)  # point maps have a reduced size
        depth = register_depth(depth, depth_camera, camera)
        return CommandInput(Frame(color, depth, camera), None, _limits(args, _FARTHEST), f"{args.depth} (point map)")
    if lens is None:
        raise CameraError(f"no camera given: give one, {EXAMPLE}, or --fov DEGREES")
    unit = args.depth_unit
    if unit is None and given is not None and given.units_per_metre and not str(args.depth).endswith((".npy", ".npz")):
        unit = f"{given.units_per_metre:g}"
        say(f"n3d: reading depth as {unit} values per metre, as {args.camera} says")
    depth = _registered(args, read_depth(args.depth, unit), lens)
    limits = _limits(args, DepthLimits.far, unit_is_given=unit is not None)
    return CommandInput(Frame(color, depth, lens.camera), None, limits, str(args.depth))


def _from_folder(args: argparse.Namespace) -> CommandInput:
    _refuse_files(args, "a frame folder")
    try:
        folder = FrameFolder(args.image)
    except (ImageError, CameraError) as error:
        kind = next((name for name, (looks, _) in KINDS.items() if looks(args.image)), None)
        if kind is None:
            raise
        raise ConfigError(
            f"{args.image} is not a frame folder but a recording ({kind}): convert it first, as in "
            f"n3d import {args.image} {args.image.name}-frames"
        ) from error
    if not 0 <= args.frame < len(folder):
        raise ConfigError(f"{args.image}: --frame must be one of 0..{len(folder) - 1}; got {args.frame}")
    frame, truth = folder.frame(args.frame), folder.truth(args.frame)
    limits = _limits(args, DepthLimits.far, unit_is_given=folder.unit_is_given)
    return CommandInput(frame, truth, limits, f"{args.image}, frame {args.frame}")


def _from_bag(args: argparse.Namespace) -> CommandInput:
    from n3d_core.messages.assembly import FrameOptions
    from n3d_core.recordings.bag import Bag

    _refuse_files(args, "a bag", but=("distortion", "depth_unit"))
    bag = Bag(args.image)
    names = bag.rgbd_topics()
    times = [(color, depth) for color, depth in bag.frame_times(names) if depth is not None]
    if not 0 <= args.frame < len(times):
        raise ConfigError(
            f"{args.image}: --frame must be one of 0..{len(times) - 1} (colour with depth); got {args.frame}"
        )
    color_ns, depth_ns = times[args.frame]
    options = FrameOptions(args.distortion or "rectify", depth_unit=args.depth_unit or "")
    frame = bag.frame(names, color_ns, depth_ns, options)
    limits = _limits(args, DepthLimits.far, unit_is_given=args.depth_unit is not None)
    return CommandInput(frame, None, limits, f"{args.image} {names.depth}, frame {args.frame}")


def _check_options(args: argparse.Namespace) -> None:
    """Refuses options of a single image that contradict each other or would be ignored."""
    if args.frame < 0:
        raise ConfigError(f"--frame must be at least 0; got {args.frame}")
    if args.depth is not None and args.mono is not None:
        raise ConfigError("--depth and --mono both give the depth: remove one")
    useless = [name for name in ("depth_unit", "depth_camera", "depth_to_color") if getattr(args, name) is not None]
    if useless and args.depth is None:
        raise ConfigError(f"--{useless[0].replace('_', '-')} needs --depth FILE")
    if useless and is_point_map(args.depth):
        raise ConfigError(
            f"{args.depth} is a point map, in metres and with its own camera: remove --{useless[0].replace('_', '-')}"
        )


def _refuse_files(args: argparse.Namespace, what: str, but: Sequence[str] = ()) -> None:
    given = [
        f"--{name.replace('_', '-')}" for name in _ONLY_FILES if name not in but and getattr(args, name) is not None
    ]
    if given:
        raise ConfigError(f"{args.image} is {what}, which has its own depth and camera: remove {', '.join(given)}")


def _monocular(args: argparse.Namespace, color: NDArray[np.uint8], camera: Camera | None) -> CommandInput:
    if args.mono is None:
        raise DepthError(
            "no depth given: use --depth FILE, as in --depth depth.png, or --mono indoor (outdoor, moge, a folder)"
        )
    model = load_monocular(args.mono)
    seen = model.estimate(color, camera)
    limits = _limits(args, min(model.far, _FARTHEST))
    return CommandInput(Frame(color, seen.depth, seen.camera), None, limits, model.name)


def _lens(args: argparse.Namespace, width: int, height: int) -> tuple[CameraFile | None, Lens | None]:
    if args.camera is not None and args.fov is not None:
        raise ConfigError("--camera and --fov both set the intrinsics: remove one")
    if args.fov is not None:
        return None, Lens(Camera.from_fov(args.fov, width, height))
    if args.camera is None:
        return None, None
    given = read_camera(args.camera, width, height, args.frame).checked_for(width, height, args.camera, args.image)
    return given, given.lens(args.distortion or "rectify")


def _registered(args: argparse.Namespace, depth: NDArray[np.float32], lens: Lens) -> NDArray[np.float32]:
    """Depth registered to the rectified colour camera."""
    camera, (height, width) = lens.camera, depth.shape
    if args.depth_camera is None:
        if args.depth_to_color is not None:
            raise ConfigError("--depth-to-color without --depth-camera: registration needs both cameras")
        if (width, height) == (camera.width, camera.height):
            return lens.rectify(depth, nearest=True)
        if abs(width * camera.height - height * camera.width) > 0.01 * width * camera.height or lens.model:
            raise DepthError(
                f"{args.depth} is {width}x{height} but the colour camera {camera.width}x{camera.height}: give depth's "
                "own intrinsics, as in --depth-camera depth.yaml, so that it can be registered"
            )
        say(
            f"n3d: depth is {width}x{height} and colour {camera.width}x{camera.height}: assuming the same view at "
            "another size, with scaled intrinsics (otherwise give --depth-camera)"
        )
        return register_depth(depth, camera.resized(width, height), camera)
    given = read_camera(args.depth_camera, width, height, args.frame, role="depth")
    own = given.checked_for(width, height, args.depth_camera, args.depth).lens(args.distortion or "rectify")
    depth = own.rectify(depth, nearest=True)
    if args.depth_to_color is None:
        return register_depth(depth, own.camera, camera)
    matrix = _pose(args.depth_to_color)
    return register_depth(depth, own.camera, camera, matrix[:3, :3], matrix[:3, 3])


def _pose(text: str) -> NDArray[np.float64]:
    """The 4x4 matrix from seven numbers or a file."""
    numbers = text.replace(",", " ").split()
    if len(numbers) != 7 or not all(_is_number(number) and math.isfinite(float(number)) for number in numbers):
        if not Path(text).is_file():
            raise ConfigError(
                f"{_POSE} must be seven numbers, as in {_POSE} 0.015 0 0 0 0 0 1 (x y z qx qy qz qw), or a file with a "
                f"4x4 matrix; got {text!r}"
            )
        return read_pose(text)
    x, y, z, *turn = map(float, numbers)
    pose = rigid_of((x, y, z), turn)
    if pose is None:
        raise ConfigError(f"{_POSE}: the quaternion must have length 1; got {turn} with length {math.hypot(*turn):.3f}")
    return pose


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _limits(args: argparse.Namespace, far: float, unit_is_given: bool = False) -> DepthLimits:
    near = DepthLimits.near if args.min_depth is None else args.min_depth
    return DepthLimits(near, far if args.max_depth is None else args.max_depth, unit_is_given=unit_is_given)
