"""`python -m n3d_ros.demo.run`: a camera, the grounding node, a few questions, and how right the boxes are.

Starts both nodes as processes of their own, asks `~/ground` over DDS for what the frames' truth files say can be asked,
and compares the boxes with the true ones. Exit code 0 only if true boxes were found. `--seed N` renders a scene that
nobody has seen (MuJoCo).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.models import find_model
from n3d_ros.demo.report import Row, picture, table
from n3d_ros.demo.session import DemoSession
from n3d_ros.node.shipped import demo_frames

FOUND_IOU = 0.25  # a box that overlaps its true box by this much has found it (the field's usual threshold)
OUTPUT = Path("out/demo")


@dataclass(frozen=True)
class Scores:
    """How right the answers were.

    Attributes:
        found: true boxes with a box over `FOUND_IOU`, of `wanted` in all.
        extra: boxes that match no true box.
        latency_ms: of the middle query.
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
            frames = options.frames or demo_frames()
            if options.seed is not None:
                frames = render(options.seed, options.model, Path(scratch))
            return run(FrameFolder(frames), options.model, options.backend, options.output)
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(folder: FrameFolder, model: str, backend: str, output: Path) -> int:
    """Asks for everything that the folder's truth files name; prints a table, the pictures' paths and one JSON line."""
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
    print(f"cold start to ready {cold_start_s:.1f} s; latency of the middle query {scores.latency_ms:.0f} ms")
    print(f"{scores.found} of {scores.wanted} true boxes found (3D IoU >= {FOUND_IOU}), {scores.extra} boxes too many")
    print(json.dumps({**vars(scores), "cold_start_s": round(cold_start_s, 2), "pictures": [str(p) for p in pictures]}))
    return 0 if scores.found > 0 and scores.found * 2 >= scores.wanted else 1


def judge(rows: Sequence[Row]) -> Scores:
    """Counts what was found; each true box and each box count once."""
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
    """A frame folder with the scene of a seed, made of what a model is taught, and questions about it."""
    from n3d_core.geometry.frame_folder import write_frame
    from training.questions.fill import fill
    from training.scenes import DEMO_SEEDS, SceneConfig, check_seeds
    from training.scenes import render as render_scene
    from training.scenes.vocabulary import Vocabulary

    scene_seed = DEMO_SEEDS.start + seed
    check_seeds(range(scene_seed, scene_seed + 1), DEMO_SEEDS, "the demo")
    print(f"rendering the scene of seed {scene_seed}", file=sys.stderr)
    taught = Vocabulary.of_model(find_model(model))
    scene = render_scene(scene_seed, SceneConfig.standard(640, 480).made_of(taught))
    write_frame(scratch, 0, scene.frame, fill(scene.truth, seed, scene.frame.camera, vocabulary=taught))
    return scratch


def _ask(session: DemoSession, frame: str, text: str, truth: list[Box3D]) -> Row:
    began = time.monotonic()
    boxes, times = session.ground(text)
    return Row(frame, text, truth, boxes, 1000 * (time.monotonic() - began), times)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m n3d_ros.demo.run", description="Asks for objects and shows their boxes."
    )
    parser.add_argument("--seed", type=int, help="render scene N, which nobody has seen, instead of the shipped frames")
    parser.add_argument("--frames", type=Path, help="a frame folder with truth files to play instead")
    parser.add_argument("--model", default="n3d-tiny", help="name of a shipped model, or a checkpoint folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"where the pictures go (default {OUTPUT})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
