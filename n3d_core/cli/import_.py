"""`n3d import SOURCE DIR`: converts public recordings and bags to frame folders, or to tours if they have poses."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from n3d_core.cli import say
from n3d_core.depth import DepthUnit, suspect_unit
from n3d_core.errors import CameraError, ConfigError, DepthError, ImageError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import write_frame
from n3d_core.geometry.transforms import CameraPose, Matrix
from n3d_core.recordings.formats import KINDS, Overrides, Shot, has_poses, read_recording, upright

DESCRIPTION = """\
Converts a recording to a frame folder: TUM, 7-Scenes (and tsdf-fusion's), BOP, YCB-Video, record3d, Open3D, or a bag.
A recording with poses becomes a tour: each frame has its pose, in a map whose z is up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the recording, or bag")
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder; new or empty")
    parser.add_argument("--kind", choices=list(KINDS), default="", help="default: detected from SOURCE's files")
    parser.add_argument(
        "--camera", default="", metavar="FILE|FX,FY,CX,CY", help="intrinsics, overriding the recording's"
    )
    parser.add_argument("--depth-unit", default="", metavar="UNIT", help="mm, m, tum, sun, 10000 … (the kind's)")
    parser.add_argument("--map-frame", default="", metavar="FRAME", help="map frame of a bag (map, world or odom)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth frame (1)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N frames (all)")
    parser.add_argument("--keep-world", action="store_true", help="do not rotate the world to z up")


def run(args: argparse.Namespace) -> int:
    """Imports one recording."""
    _check(args)
    overrides = Overrides(args.camera, args.depth_unit, args.map_frame)
    shots = read_recording(args.source, args.kind, overrides)[:: args.every]
    is_tour = has_poses(shots)
    usable = [shot for shot in shots if _has_pose(shot)] if is_tour else shots
    wanted = usable[: args.limit or None]
    turn = upright(wanted) if is_tour and not args.keep_world else None
    if turn is not None:
        say("n3d: the recording's world is not z up: rotated to level the floors and tables in view")
    written = _write_frames(args, wanted, turn)
    skipped = len(shots) - len(usable) + len(wanted) - written
    what = f"{written} frame{'' if written == 1 else 's'}" + (" with poses (a tour)" if is_tour else "")
    print(f"{args.folder}: {what}" + (f"; {skipped} skipped" if skipped else ""))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.every < 1 or args.limit < 0:
        raise ConfigError(f"--every must be at least 1 and --limit at least 0; got {args.every} and {args.limit}")
    if args.depth_unit:
        DepthUnit.parse(args.depth_unit)
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ConfigError(f"{args.folder} is not empty: give a new or empty folder")


def _write_frames(args: argparse.Namespace, shots: list[Shot], turn: Matrix | None) -> int:
    """Writes the frames that can be read, with poses turned by `turn`; returns how many.

    Raises:
        CameraError: if the first frame's camera is unusable, since it is the camera of all.
        ImageError, DepthError: the first frame's, if no frame can be read.
    """
    camera, written, first = None, 0, None
    for shot in shots:
        try:
            frame = replace(shot.load(), stamp_ns=shot.stamp_ns)
            camera = camera or frame.camera
            if not _is_same(frame.camera, camera):
                raise CameraError(f"a frame has a different camera from the first: {frame.camera}")
            pose = _pose(shot, turn)
        except (ImageError, DepthError, CameraError) as error:
            if isinstance(error, CameraError) and not written:
                raise
            first = first or error
            say(f"n3d: skipped: {error}")
            continue
        if not written and (suspicion := suspect_unit(frame.depth, bool(args.depth_unit))) is not None:
            say(f"n3d: warning: {suspicion.message}")
        write_frame(args.folder, written, frame, pose=pose)
        written += 1
    if first is not None and not written:
        raise first
    return written


def _pose(shot: Shot, turn: Matrix | None) -> CameraPose | None:
    if shot.camera_to_world is None:
        return None
    return CameraPose(shot.stamp_ns, shot.camera_to_world if turn is None else turn @ shot.camera_to_world)


def _has_pose(shot: Shot) -> bool:
    """Whether a frame's pose is known; where tracking was lost, some recordings hold infinity or NaN."""
    return shot.camera_to_world is not None and bool(np.isfinite(shot.camera_to_world).all())


def _is_same(a: Camera, b: Camera) -> bool:
    """Whether two cameras differ by no more than rounding: a frame folder has only one."""
    sizes = (a.width, a.height) == (b.width, b.height)
    return sizes and bool(np.allclose((a.fx, a.fy, a.cx, a.cy), (b.fx, b.fy, b.cx, b.cy), rtol=1e-3, atol=0.2))
