"""Measures how well the audit tells right answers from wrong ones.

`python -m bench.audit --n 500 --seed 0 --json`: random boxes, generated questions of all types, their chains of thought
and answers; every second one is corrupted in one place. A corruption changes the meaning by construction (see
`corruption`), independently of the audit.

* `audit.found`: share of corrupted answers that are contradicted or have a step reported as wrong.
* `audit.false_alarms`: share of right answers that are contradicted or have a step reported as wrong.
* `audit.unverifiable`: share of all answers that the audit cannot check.
* `audit.contradicted`: share of the corruptions of the answer itself whose verdict is `contradicted`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.command import bench_parser, run_bench
from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.reasoning.audit import CONTRADICTED, UNVERIFIABLE, VERIFIED, Finding, audit
from training.questions.corruption import Corrupted, corrupt
from training.questions.grounding import SceneObjects
from training.questions.samples import SpatialSample
from training.questions.spatial import spatial_samples

CLASSES = ("mug", "bottle", "can", "box", "ball", "bowl", "book", "vase", "chair", "table", "keyboard", "teddy bear")
COLORS = ("red", "green", "blue", "yellow", "white", "black")


@dataclass(frozen=True)
class Case:
    """One question with a right or corrupted answer."""

    sample: SpatialSample
    reasoning: str
    answer: str
    corruption: Corrupted | None

    def judged(self) -> Finding:
        """The audit's finding on it."""
        return audit(self.sample.solution, self.reasoning, self.answer)


def cases(count: int, seed: int) -> Iterator[Case]:
    """`count` cases, every second corrupted; a pure function of its arguments."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        scene = _scene(rng)
        style = rng.choice(("compact", "published"))
        for sample in spatial_samples(scene, 3, rng.getrandbits(48), style=style):
            case = _case(sample, scene, rng, corrupted=made % 2 == 1)
            if case is not None and made < count:
                yield case
                made += 1


def _scene(rng: random.Random) -> SceneObjects:
    scale = rng.choice((1.0, 1.0, 4.0))  # a table, sometimes a room
    objects = []
    for _ in range(rng.randint(2, 9)):
        cls, color = rng.choice(CLASSES), rng.choice(COLORS)
        center = (rng.uniform(-0.6, 0.6) * scale, rng.uniform(-0.3, 0.3) * scale, rng.uniform(0.5, 1.6) * scale)
        size = tuple(rng.uniform(0.04, 0.35) * scale for _ in range(3))
        objects.append(TrueObject(Box3D(f"{color} {cls}", center, (size[0], size[1], size[2])), cls, color, 1.0))
    return SceneObjects.of(objects)


def _case(sample: SpatialSample, scene: SceneObjects, rng: random.Random, corrupted: bool) -> Case | None:
    reasoning, answer = sample.solution.reasoning, sample.solution.text
    if not corrupted:
        return Case(sample, reasoning, answer, None)
    others = [o.box.label for o in scene.objects]
    change = corrupt(sample.solution, others, rng)
    return Case(sample, change.reasoning, change.answer, change) if change else None


def measure(count: int, seed: int) -> tuple[dict[str, float], dict[str, tuple[int, int]], list[tuple[Case, Finding]]]:
    """Figures, (found, all) of each kind of corruption, and the cases that the audit got wrong."""
    started = time.perf_counter()
    tally: Counter[str] = Counter()
    kinds: dict[str, list[int]] = {}
    erred: list[tuple[Case, Finding]] = []
    for case in cases(count, seed):
        finding = case.judged()
        noticed = finding.verdict == CONTRADICTED or bool(finding.slips)
        tally["unverifiable"] += finding.verdict == UNVERIFIABLE
        if case.corruption is None:
            alarm = noticed or finding.verdict != VERIFIED
            tally["right"] += 1
            tally["alarms"] += alarm
        else:
            tally["wrong"] += 1
            tally["found"] += noticed
            if case.answer != case.sample.solution.text:
                tally["answers"] += 1
                tally["contradicted"] += finding.verdict == CONTRADICTED
            row = kinds.setdefault(case.corruption.kind, [0, 0])
            row[0] += noticed
            row[1] += 1
        if (case.corruption is None) == noticed or finding.verdict == UNVERIFIABLE:
            erred.append((case, finding))
    figures = {
        "audit.found": tally["found"] / max(tally["wrong"], 1),
        "audit.false_alarms": tally["alarms"] / max(tally["right"], 1),
        "audit.unverifiable": tally["unverifiable"] / max(count, 1),
        "audit.contradicted": tally["contradicted"] / max(tally["answers"], 1),
        "audit.per_second": count / (time.perf_counter() - started),
    }
    return figures, {kind: (row[0], row[1]) for kind, row in sorted(kinds.items())}, erred


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--n", type=int, default=500, help="answers, half of them corrupted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--show", type=int, default=0, metavar="K", help="print the first K cases that the audit got wrong"
    )

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        if options.n < 1:
            raise ConfigError(f"--n must be at least 1; got {options.n}")
        shares, kinds, erred = measure(options.n, options.seed)
        for kind, (found, total) in kinds.items():
            print(f"{kind:>12}: {found} of {total} found", file=sys.stderr)
        for case, finding in erred[: options.show]:
            print(_shown(case, finding), file=sys.stderr)
        return {"n": options.n, "seed": options.seed, **{name: round(share, 4) for name, share in shares.items()}}

    return run_bench(figures, parser, arguments)


def _shown(case: Case, finding: Finding) -> str:
    wrong = case.corruption
    what = f"{wrong.kind}: {wrong.before!r} -> {wrong.after!r}" if wrong else "right"
    return f"--- {what}\n{case.sample.text}\n{case.reasoning}\n=> {case.answer}\n{finding}"


if __name__ == "__main__":
    sys.exit(main())
