"""`python -m n3d_ros.demo.run`: a camera, the grounding node, a few queries, and how accurate the boxes are.

Starts both nodes as separate processes, asks `~/ground` over DDS for everything in the frames' truth files, and
compares the boxes with the true ones. Exits with 0 only if true boxes were found. `--seed N` renders a new scene
(MuJoCo). `--tour` plays a tour instead, and shows what the node remembers of it (see `tour.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from n3d_core.display.draw import draw_boxes
from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_ros.demo import tour
from n3d_ros.demo.session import DemoError, DemoSession
from n3d_ros.node.shipped import demo_frames, shipped

FOUND_IOU = 0.25  # a true box counts as found at this overlap (the field's usual threshold)
OUTPUT = Path("out/demo")
FIRST_DEMO_SEED = 2_000_000  # scenes reserved from training


@dataclass(frozen=True)
class Row:
    """One query: frame, text, true boxes, returned boxes and times.

    `times` are the node's own stages in milliseconds, `latency_ms` the whole call as the client saw it.
    """

    frame: str
    text: str
    truth: list[Box3D]
    boxes: list[Box3D]
    latency_ms: float
    times: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """How accurate the boxes were.

    Attributes:
        found: true boxes matched by a box over `FOUND_IOU`, out of `wanted`.
        extra: boxes that match no true box.
        latency_ms: median over the queries.
    """

    found: int
    wanted: int
    extra: int
    latency_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; see the module's docstring."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if options.tour:
                folder = FrameFolder(options.frames or shipped("demo/tour"))
                return tour.run(folder, options.model, options.backend, options.output, Path(scratch))
            frames = options.frames or demo_frames()
            if options.seed is not None:
                frames = render(options.seed, options.model, Path(scratch))
            return run(FrameFolder(frames), options.model, options.backend, options.output)
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(folder: FrameFolder, model: str, backend: str, output: Path) -> int:
    """Asks for everything in the folder's truth files; prints a table, the pictures' paths and one JSON line."""
    rows: list[Row] = []
    pictures: list[Path] = []
    began = time.monotonic()
    with DemoSession(folder.path, model, backend) as session:
        session.wait_until_active()
        cold_start_s = time.monotonic() - began
        for index, name in enumerate(folder.names):
            truth, frame = folder.truth(index), folder.frame(index)
            if truth is None:
                continue
            session.show(index)
            asked = [
                _ask(session, name, g["text"], [truth.objects[i].box for i in g["objects"]]) for g in truth.groundings
            ]
            rows += asked
            pictures.append(picture(output / f"{name}.png", frame, [box for row in asked for box in row.boxes]))
    scores = judge(rows)
    print(table(rows))
    for path in pictures:
        print(f"annotated picture: {path.resolve()}")
    print(f"cold start to ready {cold_start_s:.1f} s; median latency {scores.latency_ms:.0f} ms")
    print(f"{scores.found} of {scores.wanted} true boxes found (3D IoU >= {FOUND_IOU}), {scores.extra} false boxes")
    print(json.dumps({**vars(scores), "cold_start_s": round(cold_start_s, 2), "pictures": [str(p) for p in pictures]}))
    return 0 if scores.found > 0 and scores.found * 2 >= scores.wanted else 1


def judge(rows: Sequence[Row]) -> Scores:
    """Counts the true boxes that were found; each returned box matches at most one."""
    found = extra = 0
    for row in rows:
        left = list(row.boxes)
        for true in row.truth:
            best = max(left, key=lambda box: iou_3d(box, true), default=None)
            if best is not None and iou_3d(best, true) >= FOUND_IOU:
                found += 1
                left.remove(best)
        extra += len(left)
    latencies = sorted(row.latency_ms for row in rows)
    middle = latencies[len(latencies) // 2] if latencies else 0.0
    return Scores(found, sum(len(row.truth) for row in rows), extra, round(middle, 1))


def render(seed: int, model: str, scratch: Path) -> Path:
    """A new frame folder with scene `seed`, made of objects the model was trained on, and questions about it.

    Rendering belongs to `training`, so it runs in a separate process.

    Raises:
        DemoError: if that process fails.
    """
    program = shipped("demo/make_frames.py")
    root = str(program.parent.parent)
    frames = scratch / "frames"
    command = [sys.executable, str(program), "--seeds", str(FIRST_DEMO_SEED + seed), "--model", model]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    print(f"rendering the scene of seed {FIRST_DEMO_SEED + seed}", file=sys.stderr)
    ran = subprocess.run([*command, "--output", str(frames)], env=environment, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        raise DemoError(f"scene {seed} could not be rendered (exit code {ran.returncode}); see above")
    return frames


def table(rows: Sequence[Row]) -> str:
    """One line per box, and one per query without boxes."""
    titles = f"{'frame':7} {'asked for':26} {'box':18} {'score':>5} {'x':>6} {'y':>6} {'z':>6} {'size in cm':>14}"
    lines = [f"{titles} {'3D IoU':>7} {'ms':>6}"]
    for row in rows:
        lines += [_line(row, box) for box in row.boxes] or [_empty(row)]
    return "\n".join(lines)


def picture(path: Path, frame: Frame, boxes: Sequence[Box3D]) -> Path:
    """Writes the frame with its boxes; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_boxes(frame.color, frame.camera, boxes)
    cv2.imwrite(str(path), drawn[:, :, ::-1])
    return path


def _line(row: Row, box: Box3D) -> str:
    x, y, z = box.center
    size = "x".join(f"{100 * side:.0f}" for side in box.size)
    overlap = max((iou_3d(box, true) for true in row.truth), default=0.0)
    return (
        f"{row.frame:7} {row.text[:26]:26} {box.label[:18]:18} {box.score:5.2f} {x:6.2f} {y:6.2f} {z:6.2f} {size:>14} "
        f"{overlap:7.2f} {row.latency_ms:6.0f}"
    )


def _empty(row: Row) -> str:
    said = "nothing found, correctly" if not row.truth else f"nothing found, {len(row.truth)} expected"
    return f"{row.frame:7} {row.text[:26]:26} {said:60} {row.latency_ms:15.0f}"


def _ask(session: DemoSession, frame: str, text: str, truth: list[Box3D]) -> Row:
    began = time.monotonic()
    boxes, times = session.ground(text)
    return Row(frame, text, truth, boxes, 1000 * (time.monotonic() - began), times)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m n3d_ros.demo.run", description="Asks for objects and shows their boxes."
    )
    parser.add_argument("--seed", type=int, help="render scene N instead of playing the shipped frames")
    parser.add_argument("--tour", action="store_true", help="play a tour with the memory on, and compare the two")
    parser.add_argument("--frames", type=Path, help="a frame folder with truth files to play instead")
    parser.add_argument("--model", default="n3d-tiny", help="name of a shipped model, or a checkpoint folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"where the pictures go (default {OUTPUT})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
