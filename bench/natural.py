"""Measures answers to natural questions and noun phrases, on scenes that no training has seen.

`python -m bench.natural --json [--scenes 60] [--seed N] [--folder FRAMES]`: scenes are rendered from test seeds, or
read from a frame folder with truth, and questions are filled with their objects. The wordings are separate from those
of the parser's tests and of the training. Answers are judged by their typed value against
the true boxes:

* `right`: share of questions whose value is right (lengths within 25 %, or 4 cm); of questions about what is not there:
  refused; of those that boxes cannot answer: `unverifiable` without a value.
* `verified`, `trusted`: share of questions whose verdict is `verified`, and of these the share that is right.
* `refused`: share of questions about absent objects that are refused.
* `find.right`: share of phrases for which exactly the target objects were found (IoU 0.25); `find.precision` of
  boxes; `find.refused`: share of phrases for absent or unknown things that find nothing.
* `tokens_per_pass`: tokens a forward pass of the decoder, over all questions.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.command import bench_parser, run_bench
from bench.natural_cases import LEAST_VISIBLE, Scene, make_phrase, make_question
from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame_folder import FrameFolder, TrueObject
from n3d_core.models import find_model
from n3d_core.n3d import N3D
from training.scenes.__main__ import main as render_scenes
from training.scenes.vocabulary import Vocabulary

WORDINGS = Path(__file__).with_name("natural_wordings.json")
FOUND_IOU = 0.25


@dataclass
class Tally:
    """The questions and phrases, and their results."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    passes: int = 0

    def report(self) -> dict[str, Any]:
        """The figures of the module's docstring."""
        verified = [row for row in self.asked if row["verdict"] == "verified"]
        refusals = [row for row in self.asked if row["wants"] == "refusal"]
        absent = [row for row in self.found if row["kind"] in ("absent", "unknown")]
        boxes = sum(row["boxes"] for row in self.found)
        return {
            "questions": len(self.asked),
            "right": _share([row["right"] for row in self.asked]),
            "verified": _share([row["verdict"] == "verified" for row in self.asked]),
            "trusted": _share([row["right"] for row in verified]),
            "refused": _share([row["right"] for row in refusals]),
            "errors": sum(row["verdict"] == "error" for row in self.asked),
            "tokens_per_pass": round(self.tokens / max(self.passes, 1), 2),
            "find": {
                "phrases": len(self.found),
                "right": _share([row["right"] for row in self.found]),
                "precision": round(sum(row["hits"] for row in self.found) / max(boxes, 1), 4),
                "refused": _share([row["boxes"] == 0 for row in absent]),
            },
        }


def _share(held: Sequence[bool]) -> float | None:
    return round(sum(held) / len(held), 4) if held else None


def _hits(boxes: Sequence[Box3D], meant: Sequence[TrueObject]) -> int:
    """How many of the target objects have a matching box."""
    free, hits = list(boxes), 0
    for o in meant:
        best = max(free, key=lambda box: iou_3d(box, o.box), default=None)
        if best is not None and iou_3d(best, o.box) >= FOUND_IOU:
            free.remove(best)
            hits += 1
    return hits


def _kinds(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Kinds in random order, each as often as the others."""
    while True:
        yield from rng.sample(list(names), len(names))


def measure(folder: FrameFolder, model: N3D, vocabulary: Vocabulary, seed: int, per_frame: tuple[int, int]) -> Tally:
    """Asks about each frame of a folder with truth.

    Args:
        per_frame: questions and phrases a frame.
    """
    wordings = json.loads(WORDINGS.read_text())
    rng, tally = random.Random(seed), Tally()
    ask_kinds, find_kinds = _kinds(list(wordings["ask"]), rng), _kinds(list(wordings["find"]), rng)
    for index in range(len(folder)):
        truth = folder.truth(index)
        if truth is None or len(truth.objects) < 2:
            continue
        scene = Scene(truth.objects, vocabulary, rng)
        view = model.look(folder.frame(index))
        for _ in range(per_frame[0]):
            kind = next(ask_kinds)
            question = make_question(kind, scene)
            if question is None:
                continue
            text = rng.choice(wordings["ask"][kind]).format(**question.fill)
            row = {"kind": kind, "wants": question.wants, "text": text}
            try:
                answer = view.ask(text)
            except N3DError as error:
                tally.asked.append({**row, "right": False, "verdict": "error", "answer": str(error)})
                continue
            tally.tokens, tally.passes = tally.tokens + answer.tokens, tally.passes + answer.steps
            tally.asked.append(
                {**row, "right": question.judge(answer), "verdict": answer.verdict, "answer": answer.answer}
            )
        if any(o.visible < LEAST_VISIBLE for o in truth.objects):
            continue  # what a phrase means must be in sight
        for _ in range(per_frame[1]):
            kind = next(find_kinds)
            made = make_phrase(kind, scene)
            if not made:
                continue
            fill, meant = made
            phrase = rng.choice(wordings["find"][kind]).format(**fill)
            boxes = view.ground(phrase).boxes
            hits = _hits(boxes, meant)
            right = hits == len(meant) == len(boxes)
            tally.found.append({"kind": kind, "text": phrase, "right": right, "hits": hits, "boxes": len(boxes)})
    return tally


def _print_kinds(tally: Tally) -> None:
    for rows, what in ((tally.asked, "ask"), (tally.found, "find")):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            own = [row for row in rows if row["kind"] == kind]
            sure = [row for row in own if row.get("verdict") == "verified"]
            note = f"   verified {len(sure):3d}, right {sum(r['right'] for r in sure):3d}" if what == "ask" else ""
            print(f"{what:5s}{kind:18s}{sum(r['right'] for r in own):4d} of {len(own):4d}{note}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--model", default="n3d-tiny", help="name of a shipped model, or a checkpoint folder")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other scenes and questions")
    parser.add_argument("--folder", type=Path, help="frame folder with truth to ask about in place of rendered scenes")
    parser.add_argument("--questions", type=int, default=10, help="a frame")
    parser.add_argument("--phrases", type=int, default=6, help="a frame")
    parser.add_argument("--show", action="store_true", help="print the wrong answers")
    return run_bench(_figures, parser, arguments)


def _figures(options: argparse.Namespace) -> dict[str, Any]:
    model = find_model(options.model)
    with tempfile.TemporaryDirectory() as rendered:
        folder = options.folder or Path(rendered)
        if options.folder is None:
            first = 1_500_000 + 1000 * options.seed  # test seeds, which no training sees
            scenes = ["--seed", str(first), "--count", str(options.scenes), "--output", str(folder)]
            with redirect_stdout(sys.stderr):
                render_scenes([*scenes, "--model", str(model)])
        per_frame = (options.questions, options.phrases)
        vocabulary = Vocabulary.of_model(model)
        tally = measure(FrameFolder(folder), N3D.load(options.model), vocabulary, options.seed, per_frame)
    _print_kinds(tally)
    for row in [*tally.asked, *tally.found] if options.show else []:
        if not row["right"]:
            said = f"{row.get('answer', '')!r} {row.get('verdict', '')}"
            print(f"  {row['kind']}: {row['text']!r} -> {said}", file=sys.stderr)
    return tally.report()


if __name__ == "__main__":
    raise SystemExit(main())
