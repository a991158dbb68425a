"""Code shared by `n3d ground` and `n3d ask`: the model, progress, and output files."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from n3d_core.cli import say
from n3d_core.cli.inputs import CommandInput, add_frame_arguments, read_input
from n3d_core.cli.tables import times_line
from n3d_core.display.draw import draw_boxes, enlarged, save_picture
from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import Box3D, pairwise_iou_3d
from n3d_core.geometry.frame_folder import Truth
from n3d_core.results import Answer, BoxDecoded, Event, Grounding, StageStarted

if TYPE_CHECKING:
    from n3d_core.n3d import N3D, View

_PICTURE_SIDE = 960  # pixels; smaller images are enlarged to keep labels readable


def add_query_arguments(parser: argparse.ArgumentParser, words: str, help_text: str) -> None:
    """Adds arguments for the image, the text, the model and the outputs."""
    add_frame_arguments(parser)
    parser.add_argument("text", metavar=words, help=help_text)
    add_model_arguments(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")
    group.add_argument("--output", type=Path, metavar="PICTURE", help="write the annotated picture (.png, .jpg)")
    group.add_argument("--rrd", type=Path, metavar="FILE", help="write a Rerun recording: image, cloud, boxes, text")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for `load_model`, and the time limit of a query."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default="n3d-tiny", help="a shipped or downloaded model, or a folder (n3d-tiny)")
    group.add_argument("--backend", default="auto", help="auto, torch, onnx or tensorrt (auto)")
    group.add_argument("--device", default="", help="cpu, cuda or cuda:1 (the first GPU; the CPU if there is none)")
    group.add_argument("--sampling", default="checkpoint", help="checkpoint, greedy or released (checkpoint)")
    group.add_argument("--seed", type=int, default=0, help="random seed for sampling (0)")
    group.add_argument("--image-size", metavar="WxH", help="image size to compile the model for")
    group.add_argument(
        "--on-other-size", metavar="WHAT", help="for images of another size: recompile (default), resize or error"
    )
    group.add_argument("--timeout", type=float, metavar="S", help="give up after this many seconds")


@dataclass(frozen=True)
class LoadedView:
    """A model with an encoded frame, ready for a query."""

    args: argparse.Namespace
    input: CommandInput
    model: N3D
    view: View

    @cached_property
    def deadline(self) -> float | None:
        """When the query must end, counted from its start without loading the model or building engines."""
        return None if self.args.timeout is None else time.monotonic() + self.args.timeout

    def listen(self, event: Event) -> None:
        """Reports the running query's progress on stderr."""
        if isinstance(event, StageStarted):
            tell(self.args, f"{event.stage} …")
        elif isinstance(event, BoxDecoded):
            x, y, z = event.box.center
            tell(self.args, f"  {event.box.label} at ({x:.2f}, {y:.2f}, {z:.2f}) m")

    def record(self) -> dict[str, Any]:
        """Fields of the JSON line that are known before the query."""
        return {
            "image": str(self.args.image),
            "depth": self.input.source,
            "model": self.model.name,
            "backend": self.model.backend.name,
        }


def open_view(args: argparse.Namespace) -> LoadedView:
    """Checks the outputs, reads the frame, loads the model and encodes the frame.

    Raises:
        N3DError: if one of them fails.
    """
    _check_outputs(args)
    found = read_input(args)
    tell(args, f"depth from {found.source}")
    model = load_model(args)
    if model.purpose and found.truth is None:  # not one of our scenes
        tell(args, f"{model.purpose} (--model FOLDER)")
    return LoadedView(args, found, model, model.look(found.frame, found.limits))


def load_model(args: argparse.Namespace) -> N3D:
    """The `N3D` that the arguments name.

    Raises:
        N3DError: if it cannot be loaded.
    """
    from n3d_core.n3d import N3D  # torch takes seconds to import; report wrong input before that
    from n3d_core.preparation import ImageSize

    start = time.monotonic()
    if args.on_other_size is not None and args.image_size is None:
        raise ConfigError("--on-other-size needs --image-size WxH, the size that others are compared with")
    size = None if args.image_size is None else ImageSize.parse(args.image_size, args.on_other_size or "recompile")
    model = N3D.load(args.model, args.backend, args.sampling, args.seed, size, device=args.device)
    backend = model.backend
    tell(
        args,
        f"{model.name} on {backend.name} ({backend.reason}), {model.memory_bytes / 1e6:.0f} MB, "
        f"loaded in {time.monotonic() - start:.1f} s",
    )
    return model


def check_timeout(args: argparse.Namespace) -> None:
    """Checks `--timeout`."""
    if args.timeout is not None and not args.timeout > 0:
        raise ConfigError(f"--timeout must be more than 0 seconds; got {args.timeout}")


def tell(args: argparse.Namespace, line: str) -> None:
    """Prints a line of progress to stderr."""
    if not args.quiet:
        say(line)


def true_boxes(truth: Truth | None, text: str) -> list[Box3D] | None:
    """The true boxes for a text or question; all of them if unknown, None without truth."""
    if truth is None:
        return None
    boxes, words = [thing.box for thing in truth.objects], text.lower()
    for entry in (*truth.groundings, *truth.questions):
        if str(entry.get("text", "")).lower() == words:
            return [boxes[i] for i in entry.get("objects", []) if isinstance(i, int) and 0 <= i < len(boxes)]
    for names in ([thing.box.label for thing in truth.objects], [thing.cls for thing in truth.objects]):
        named = [box for box, name in zip(boxes, names, strict=True) if name.lower() in words]
        if named:
            return named
    return boxes


def true_overlaps(boxes: Sequence[Box3D], truth: Sequence[Box3D] | None) -> list[float] | None:
    """3D IoU of each box with the best true one; None without truth or boxes."""
    if truth is None or not boxes:
        return None
    return [float(row.max(initial=0.0)) for row in pairwise_iou_3d(list(boxes), list(truth))]


def outputs(args: argparse.Namespace) -> dict[str, str]:
    """Paths of the requested image and recording, by name."""
    wanted = {"picture": args.output, "recording": args.rrd}
    return {name: str(path) for name, path in wanted.items() if path is not None}


def write_outputs(
    loaded: LoadedView, boxes: Sequence[Box3D], truth: Sequence[Box3D] | None, lines: Sequence[str]
) -> None:
    """Writes the requested image and recording; called last, so that a failure does not lose the answer.

    Args:
        truth: true boxes, if known.
        lines: text for the recording.
    """
    sys.stdout.flush()
    args, frame = loaded.args, loaded.input.frame
    if args.output is not None:
        color, camera = enlarged(frame.color, frame.camera, _PICTURE_SIDE)
        save_picture(args.output, draw_boxes(color, camera, boxes, truth=truth))
    if args.rrd is not None:
        from n3d_core.display.rerun import write_recording

        write_recording(args.rrd, frame, boxes, "\n".join(lines), truth=truth)


def print_notes(result: Grounding | Answer, written: dict[str, str]) -> None:
    """Prints the lines below a table: share of valid depth, times, files and warnings."""
    print(f"\ndepth valid {result.depth_valid:.0%}   {times_line(result.times)}")
    for name, path in written.items():
        print(f"{name}: {path}")
    for warning in result.warnings:
        print(f"warning: {warning}")


def _check_outputs(args: argparse.Namespace) -> None:
    """Checks before the model runs that its results can be written."""
    for option, path in (("--output", args.output), ("--rrd", args.rrd)):
        if path is None:
            continue
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise ConfigError(f"{option} {path}: the folder {folder} does not exist")
        if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            raise ConfigError(f"{option} {path}: not writable; give a file in a writable folder")
    if args.output is not None and not cv2.haveImageWriter(str(args.output)):
        raise ConfigError(f"--output {args.output}: unsupported image format; use .png or .jpg")
    check_timeout(args)
    if args.rrd is not None:
        from n3d_core.display.rerun import import_rerun

        import_rerun()
