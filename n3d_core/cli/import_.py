"""`n3d import SOURCE DIR`: public recordings and bags become frame folders, and tours where they have poses."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from n3d_core.errors import CameraError, ConfigError, DepthError, ImageError
from n3d_core.geometry.frame_folder import write_frame
from n3d_core.geometry.transforms import CameraPose
from n3d_core.recordings import KINDS, ReadAs, is_same_camera, read_recording, tour_of, upright

_DESCRIPTION = """\
Makes a frame folder of a recording: TUM, 7-Scenes (and tsdf-fusion's), BOP, YCB-Video, record3d, Open3D, or a bag.
Where the recording has poses it becomes a tour: each frame has its pose, in a map whose z is up."""


def add_parser(subparsers: Any) -> None:
    """Adds `n3d import`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        help="make a frame folder, or a tour, of a public recording or a bag",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the recording, or bag")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the frames go; new or empty")
    parser.add_argument("--kind", choices=list(KINDS), default="", help="by default found by the files of SOURCE")
    parser.add_argument(
        "--camera", default="", metavar="FILE|FX,FY,CX,CY", help="intrinsics, in place of the recording's"
    )
    parser.add_argument("--depth-unit", default="", metavar="UNIT", help="mm, m, tum, sun, 10000 … (the kind's)")
    parser.add_argument("--map-frame", default="", metavar="FRAME", help="of a bag's poses (map, world or odom)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth frame (1)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N frames (all)")
    parser.add_argument("--keep-world", action="store_true", help="do not turn the world z up")


def run(args: argparse.Namespace) -> int:
    """Imports one recording."""
    if args.every < 1 or args.limit < 0:
        raise ConfigError(f"--every must be at least 1 and --limit at least 0; got {args.every} and {args.limit}")
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ConfigError(f"{args.folder} is not empty: name a new folder")
    shots = read_recording(args.source, args.kind, ReadAs(args.camera, args.depth_unit, args.map_frame))[:: args.every]
    is_tour = tour_of(shots)
    posed = [shot for shot in shots if shot.camera_to_world is not None] if is_tour else shots
    left_out = len(shots) - len(posed)
    posed = posed[: args.limit or None]
    turn = upright(posed) if is_tour and not args.keep_world else None
    if turn is not None:
        print("n3d: the recording's world is not z up: turned by the floors and tables in view", file=sys.stderr)
    camera, written = None, 0
    for shot in posed:
        try:
            frame = replace(shot.load(), stamp_ns=shot.stamp_ns)
            camera = camera or frame.camera
            if not is_same_camera(frame.camera, camera):
                raise CameraError(f"a frame of another camera than the first: {frame.camera}")
        except (ImageError, DepthError, CameraError) as error:
            if not written:
                raise
            left_out += 1
            print(f"n3d: left out: {error}", file=sys.stderr)
            continue
        pose = None
        if shot.camera_to_world is not None:
            where = shot.camera_to_world if turn is None else turn @ shot.camera_to_world
            pose = CameraPose(shot.stamp_ns, where)
        write_frame(args.folder, written, frame, pose=pose)
        written += 1
    what = f"{written} frames" + (" with poses (a tour)" if is_tour else "")
    print(f"{args.folder}: {what}" + (f"; {left_out} left out" if left_out else ""))
    return 0
