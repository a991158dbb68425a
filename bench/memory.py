"""Measures how well objects are remembered over tours of rooms: `python -m bench.memory --tours 10 --seed N --json`.

Each tour is a room of boxes that a camera circles for `--looks` looks; some objects are moved and some removed during
the tour. Depth is ray-cast; boxes are the true ones with a detector's errors: misses, noise of centre and size, false
alarms. With `--boxes model` the rooms are those of `training.scenes --tour`, and the boxes what n3d-tiny finds in the
rendered images (about a minute a tour). `--pose-noise` disturbs the poses that the memory is told (2 cm and 1 degree).

* `recall`: share of objects in view in at least three looks since they came to their place that are present there at
  the end (within half their size and 10 cm); `precision`: share of present remembered objects that are a true one;
  `doubled`: share of true objects with more than one.
* `center_error_m`: median error of the centre; `single_error_m`: that of the boxes of single looks.
* `gone_found`: share of removed or moved objects recognised as such within five looks that would have shown them at
  their old place: it is gone there, or remembered nearer to its new place than to the old one, however short the way;
  `gone_wrongly`: share of remaining objects believed gone at the end.
* `id_switches`: changes of id for each object; `covariance_coverage_95`: share of centres within their 95 % ellipsoid.
* `look_ms_p95`, `recall_ms_p95`: with `--objects` (100,000) in the map; `_cpu_`: the processor's time alone, which
  other programs do not lengthen.
* `restart_lost`: looks that a writer had reported and that were lost when it was killed, over `--kills` random moments.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.tours import CAMERA, CLASSES, COLORS, cast, false_alarm, pose_at, tour
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Look, Pose


def crowded(folder: Path, objects: int, seed: int) -> dict[str, float]:
    """Times of looks and recalls in a map of many objects, one for each square metre or so of a building."""
    rng = np.random.default_rng(seed)
    side = math.sqrt(objects) / 2 * 1.3
    memory = ObjectMap(folder / "crowded.db", most=2 * objects)
    blank = np.zeros(3)
    first = RememberedObject({}, blank, np.eye(3) * 1e-4, blank, 0.0, 2.0, 0.0, 0.0, 0.0)
    lines = []
    for _ in range(objects):
        label = f"{rng.choice(COLORS)} {rng.choice(CLASSES)}"
        center = np.array([*rng.uniform(-side, side, 2), rng.uniform(0.1, 1.0)])
        lines.append(
            replace(
                first,
                labels={label: 1.0},
                center=center,
                size=rng.uniform(0.1, 0.5, 3),
                last_seen=float(rng.uniform(0, 1e5)),
            )
        )
    memory.add(lines)
    times: dict[str, list[float]] = {"look_ms": [], "look_cpu_ms": [], "recall_ms": [], "recall_cpu_ms": []}
    for number in range(200):
        here = pose_at(number, 200)
        at = Pose(here.rotation, here.translation + np.array([*rng.uniform(-side, side, 2) * 0.9, 0.0]))
        boxes = [false_alarm(rng) for _ in range(6)]
        depth, _ = cast(here, [], CAMERA)
        noun = str(rng.choice(CLASSES))
        with _timed(times, "look"):
            memory.look(Look(1e5 + number, at, CAMERA, boxes, depth=depth))
        with _timed(times, "recall"):
            memory.recall(noun, max_age=5e4, now=1e5, limit=20)
    memory.close()
    return {f"{name}_p95": float(np.percentile(values, 95)) for name, values in times.items()}


@contextmanager
def _timed(times: dict[str, list[float]], name: str) -> Iterator[None]:
    """Adds the milliseconds of a block, by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    times[f"{name}_ms"].append((time.perf_counter() - clock) * 1000)
    times[f"{name}_cpu_ms"].append((time.process_time() - processor) * 1000)


def killed(folder: Path, kills: int, seed: int) -> int:
    """Looks that were reported and then lost, over many kills of a database's writer."""
    rng, path = np.random.default_rng(seed), folder / "killed.db"
    lost = written = 0
    for _ in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _write_looks(path, writer)
        os.close(writer)
        os.read(reader, 1)  # the database is open
        time.sleep(float(rng.uniform(0, 0.1)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(reader, "rb") as told:
            reported = len(told.read())
        memory = ObjectMap(path)
        now = sum(one.observations for one in memory.recall(limit=10**6))
        memory.close()
        lost += max(0, written + reported - now)
        written = now
    return lost


def _write_looks(path: Path, reports: int) -> None:
    """Takes look after look into a map, with a byte to `reports` when it is open and after each look; never returns."""
    try:
        memory = ObjectMap(path)
        os.write(reports, b".")
        for number in range(10**6):
            pose = pose_at(number, 60)
            mug = OrientedBox("red mug", (0.0, 0.0, 2.0 + number % 3), (0.1, 0.1, 0.1), 0.9)
            memory.look(Look(float(number), pose, CAMERA, [mug]))
            os.write(reports, b".")
    finally:
        os._exit(1)


def _quality(lists: dict[str, list[float]]) -> dict[str, float]:
    """The figures of the tours from the values of all objects and looks."""
    columns = ("recall", "precision", "doubled", "gone_found", "gone_wrongly")
    report = {name: float(np.mean(lists[name])) for name in columns}
    report |= {"center_error_m": float(np.median(lists["center"])), "single_error_m": float(np.median(lists["single"]))}
    report |= {"id_switches": float(np.mean(lists["switches"]))}
    report |= {"covariance_coverage_95": float(np.mean(lists["covered"]))}
    return {name: round(value, 4) for name, value in report.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of the module's docstring."""
    run = tour if args.boxes == "true" else _model_tour(args.model)
    lists: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as work:
        for number in range(args.tours):
            memory = ObjectMap(Path(work, f"{number}.db"))
            for name, values in run(memory, args.seed * 1000 + number, args.looks, args.pose_noise).items():
                lists[name] += values
            memory.close()
        report: dict[str, Any] = _quality(lists) if args.tours else {}
        if args.objects:
            report |= {name: round(value, 2) for name, value in crowded(Path(work), args.objects, args.seed).items()}
        if args.kills:
            report["restart_lost"] = killed(Path(work), args.kills, args.seed)
    return report


def _model_tour(name: str) -> Callable[..., dict[str, list[float]]]:
    from bench.rendered_tours import model_tour
    from n3d_core.models import find_model
    from n3d_core.n3d import N3D
    from training.scenes.vocabulary import Vocabulary

    return partial(model_tour, N3D.load(name), Vocabulary.of_model(find_model(name)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tours", type=int, default=10)
    parser.add_argument("--looks", type=int, default=60, help="in each tour")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--boxes", choices=("true", "model"), default="true", help="the true ones with errors, or a model's"
    )
    parser.add_argument("--model", default="n3d-tiny", help="of --boxes model")
    parser.add_argument("--pose-noise", action="store_true", help="2 cm and 1 degree")
    parser.add_argument("--objects", type=int, default=100_000, help="objects in the map for timing; 0: none")
    parser.add_argument("--kills", type=int, default=200, help="0: none")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args(arguments)
    report = measure(args)
    if not args.json:
        for name, value in report.items():
            print(f"{name:24s}{value:>10}", file=sys.stderr)
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
