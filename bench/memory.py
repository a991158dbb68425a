"""Measures how well objects are remembered over tours of rooms: `python -m bench.memory --tours 10 --seed N --json`.

Each tour is a room of boxes that a camera circles for `--looks` looks; some objects are moved and some removed during
the tour. Depth is ray-cast; boxes are the true ones with a detector's errors: misses, noise of centre and size, false
alarms. `--pose-noise` disturbs the poses that the memory is told (2 cm and 1 degree).

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Look, Pose

CAMERA = Camera.from_fov(70, 160, 120)
LEAST_PIXELS = 33  # of an object that a detector can find
CLASSES = ("mug", "bottle", "box", "ball", "lamp", "chair", "bowl", "bucket")
COLORS = ("red", "green", "blue", "yellow", "white", "black")
SIZES = {"mug": 0.1, "bottle": 0.2, "box": 0.25, "ball": 0.15, "lamp": 0.35, "chair": 0.7, "bowl": 0.18, "bucket": 0.3}
MISS, FALSE_ALARM = 0.15, 0.03  # n3d-tiny finds more than 80 % on the standard suite, with few false boxes
CENTER_SIGMA, SIZE_SIGMA = 0.04, 0.12  # metres at 1.5 m, growing with distance; share of the size
POSE_SIGMA_M, POSE_SIGMA_RAD = 0.02, math.radians(1)  # of the whole error, in all three directions together
CHI2_95 = 7.815


@dataclass
class Thing:
    """A true object: where it is from one look on, None while it is away."""

    label: str
    size: np.ndarray
    yaw: float
    places: list[tuple[int, np.ndarray | None]]
    looks: int = 0
    ids: list[int] = field(default_factory=list)

    def place(self, look: int) -> np.ndarray | None:
        """Its centre at a look."""
        return next(place for start, place in reversed(self.places) if start <= look)


def room(rng: np.random.Generator, looks: int) -> list[Thing]:
    """Objects on a floor of 5 by 5 metres; a fifth of them is moved, a fifth removed."""
    things: list[Thing] = []
    while len(things) < 14:
        label = f"{rng.choice(COLORS)} {rng.choice(CLASSES)}"
        size = SIZES[label.split()[1]] * rng.uniform(0.8, 1.2, 3)
        place = np.array([*rng.uniform(-2, 2, 2), size[2] / 2 + rng.choice([0.0, 0.4])])
        if any(np.linalg.norm(place - t.places[0][1]) < 0.5 for t in things):
            continue
        places: list[tuple[int, np.ndarray | None]] = [(0, place)]
        fate, when = rng.random(), int(rng.integers(looks // 3, looks // 2))
        if fate < 0.2:
            places.append((when, None))
        elif fate < 0.4:
            places.append((when, place + np.array([*rng.uniform(-1, 1, 2), 0.0])))
        things.append(Thing(label, size, float(rng.uniform(-1.5, 1.5)), places))
    return things


def pose_at(look: int, looks: int) -> Pose:
    """On a circle around the room, looking at its middle from 1.4 m."""
    angle = 4 * math.pi * look / looks
    eye = np.array([2.8 * math.cos(angle), 2.8 * math.sin(angle), 1.4])
    ahead = np.array([0.0, 0.0, 0.3]) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Pose(np.column_stack([right, np.cross(ahead, right), ahead]), eye)


def disturbed(pose: Pose, rng: np.random.Generator) -> Pose:
    """A pose with localisation error, and the standard deviations of that error along each axis."""
    sigma_m, sigma_rad = POSE_SIGMA_M / math.sqrt(3), POSE_SIGMA_RAD / math.sqrt(3)
    axis = rng.normal(0, sigma_rad, 3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.linalg.qr(np.eye(3) + cross)[0]
    turn *= np.sign(np.diag(turn))
    shift = rng.normal(0, sigma_m, 3)
    return Pose(turn @ pose.rotation, pose.translation + shift, sigma_m, sigma_rad)


def cast(pose: Pose, boxes: Sequence[OrientedBox]) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] of boxes (map frame) on a floor in a room of 8 m, and which box is seen (-1: none)."""
    rows, columns = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    rays = np.stack([(columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones_like(rows)], -1)
    turned = rays.reshape(-1, 3) @ pose.rotation.T
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(turned[:, 2] < 0, -pose.translation[2] / turned[:, 2], np.inf)
        depth, owner = np.minimum(floor, 8.0), np.full(len(turned), -1)
        for number, box in enumerate(boxes):
            own, origin = turned @ box.rotation, (pose.translation - box.center) @ box.rotation
            half = np.asarray(box.size) / 2
            first, second = (-half - origin) / own, (half - origin) / own
            near, far = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
            hit = (near < far) & (near > 0.05) & (near < depth)
            depth[hit], owner[hit] = near[hit], number
    shape = (CAMERA.height, CAMERA.width)
    return depth.reshape(shape).astype(np.float32), owner.reshape(shape)


def detected(box: OrientedBox, pose: Pose, rng: np.random.Generator) -> OrientedBox:
    """A true box (map frame) as a detector gives it: axis-aligned in the optical frame, with noise."""
    own = box.transformed(pose.rotation.T, -pose.rotation.T @ pose.translation)
    hull = np.ptp(own.corners(), axis=0)
    sigma = CENTER_SIGMA * np.linalg.norm(own.center) / 1.5
    center = np.asarray(own.center) + rng.normal(0, sigma, 3)
    size = hull * np.exp(rng.normal(0, SIZE_SIGMA, 3))
    score = float(np.clip(rng.normal(0.85, 0.08), 0.5, 0.98))
    covariance = tuple((np.eye(3) * sigma**2).reshape(-1).tolist())
    return OrientedBox(box.label, tuple(center.tolist()), tuple(size.tolist()), score, covariance)


def tour(memory: ObjectMap, seed: int, looks: int, pose_noise: bool) -> dict[str, list[float]]:
    """Runs one tour through a memory; returns lists of values to average over tours."""
    rng = np.random.default_rng(seed)
    things, out = room(rng, looks), {name: [] for name in _LISTS}
    missing: dict[int, tuple[int, int]] = {}  # thing -> (id, looks of its old place so far)
    for number in range(looks):
        for thing in things:
            if number in [start for start, _ in thing.places]:
                thing.looks = 0
        true = pose_at(number, looks)
        told = disturbed(true, rng) if pose_noise else true
        standing = [(t, place) for t in things if (place := t.place(number)) is not None]
        boxes = [_true_box(t, place) for t, place in standing]
        depth, owner = cast(true, boxes)
        seen, whose = [], []
        for index, ((thing, _), box) in enumerate(zip(standing, boxes, strict=True)):
            if (owner == index).sum() < LEAST_PIXELS:
                continue
            thing.looks += 1
            if rng.random() >= MISS:
                seen.append(detected(box, true, rng))
                whose.append(thing)
                offset = true.rotation @ np.asarray(seen[-1].center) + true.translation - np.asarray(box.center)
                out["single"].append(float(np.linalg.norm(offset)))
        if rng.random() < FALSE_ALARM * len(seen):
            seen.append(_false_alarm(rng))
        result = memory.look(Look(float(number), told, CAMERA, seen, depth=depth))
        for thing, identity in zip(whose, result.seen, strict=False):
            thing.ids.append(identity)
        _follow(memory, things, number, missing, depth, true, out)
    _judge(memory, things, looks, out)
    return out


_LISTS = ("recall", "precision", "doubled", "center", "single", "gone_found", "gone_wrongly", "switches", "covered")


def _true_box(thing: Thing, place: np.ndarray) -> OrientedBox:
    from n3d_core.geometry.boxes import quaternion_of
    from n3d_core.memory.observations import level_axes

    center, size = tuple(place.tolist()), tuple(thing.size.tolist())
    return OrientedBox(thing.label, center, size, 1.0, None, quaternion_of(level_axes(thing.yaw)))


def _false_alarm(rng: np.random.Generator) -> OrientedBox:
    label = f"{rng.choice(COLORS)} {rng.choice(CLASSES)}"
    center = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.3, 0.6)), float(rng.uniform(1, 3)))
    return OrientedBox(label, center, (0.2, 0.2, 0.2), float(rng.uniform(0.5, 0.7)), tuple((np.eye(3) * 0.01).ravel()))


def _follow(
    memory: ObjectMap,
    things: list[Thing],
    number: int,
    missing: dict[int, tuple[int, int]],
    depth: np.ndarray,
    pose: Pose,
    out: dict[str, list[float]],
) -> None:
    """Whether removed or moved objects are recognised as such within five looks that would have shown them."""
    for index, thing in enumerate(things):
        if len(thing.places) == 1:
            continue
        (_, old), (start, new) = thing.places
        if number == start and thing.ids:
            missing[index] = (thing.ids[-1], 0)
        if index not in missing or old is None or not _would_show(thing, old, depth, pose):
            continue
        identity, looks = missing[index]
        known = memory.get(identity)
        if known is None or known.state == "gone" or _has_left(known.center, old, new):
            out["gone_found"].append(1.0)
            del missing[index]
        elif looks + 1 == 5:
            out["gone_found"].append(0.0)
            del missing[index]
        else:
            missing[index] = (identity, looks + 1)


def _would_show(thing: Thing, place: np.ndarray, depth: np.ndarray, pose: Pose) -> bool:
    """Whether a look sees the middle of a place, and from near enough to find an object there."""
    own = (place - pose.translation) @ pose.rotation
    u, v = (float(x) for x in CAMERA.project(own[None])[0])
    inside = own[2] > 0 and 2 < u < CAMERA.width - 3 and 2 < v < CAMERA.height - 3
    if not inside or depth[round(v), round(u)] < own[2] - 0.1:
        return False
    there, owner = cast(pose, [_true_box(thing, place)])
    return int(((owner == 0) & (there < depth + 0.005)).sum()) >= LEAST_PIXELS


def _has_left(center: np.ndarray, old: np.ndarray, new: np.ndarray | None) -> bool:
    """Whether an object is remembered away from its old place: nearer to the new one, if there is one."""
    apart = float(np.linalg.norm(center - old))
    return apart > 0.3 if new is None else float(np.linalg.norm(center - new)) < apart


def _judge(memory: ObjectMap, things: list[Thing], looks: int, out: dict[str, list[float]]) -> None:
    """The map at the end of a tour against the truth."""
    remembered = memory.recall(limit=1000)
    present = [one for one in remembered if one.state == "present"]
    standing = [(t, place) for t in things if (place := t.place(looks)) is not None]
    for thing, place in standing:
        near = [one for one in present if _is_at(one, thing, place)]
        if thing.looks >= 3:
            out["recall"].append(float(bool(near)))
            out["doubled"].append(float(len(near) > 1))
            gone = [one for one in remembered if one.state == "gone" and _is_at(one, thing, place)]
            out["gone_wrongly"].append(float(not near and bool(gone)))
        if near:
            error = near[0].center - place
            out["center"].append(float(np.linalg.norm(error)))
            out["covered"].append(float(error @ np.linalg.solve(near[0].covariance, error) < CHI2_95))
    for one in present:
        out["precision"].append(float(any(_is_at(one, thing, place) for thing, place in standing)))
    for thing in things:
        if thing.ids:
            out["switches"].append(float(sum(a != b for a, b in zip(thing.ids, thing.ids[1:], strict=False))))


def _is_at(one: RememberedObject, thing: Thing, place: np.ndarray) -> bool:
    close = float(np.linalg.norm(one.center - place)) < 0.1 + thing.size.max() / 2
    return close and one.label.split()[-1] == thing.label.split()[-1]


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
        boxes = [_false_alarm(rng) for _ in range(6)]
        depth, _ = cast(here, [])
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
    lists: dict[str, list[float]] = {name: [] for name in _LISTS}
    with tempfile.TemporaryDirectory() as work:
        for number in range(args.tours):
            memory = ObjectMap(Path(work, f"{number}.db"))
            for name, values in tour(memory, args.seed * 1000 + number, args.looks, args.pose_noise).items():
                lists[name] += values
            memory.close()
        report: dict[str, Any] = _quality(lists) if args.tours else {}
        if args.objects:
            report |= {name: round(value, 2) for name, value in crowded(Path(work), args.objects, args.seed).items()}
        if args.kills:
            report["restart_lost"] = killed(Path(work), args.kills, args.seed)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tours", type=int, default=10)
    parser.add_argument("--looks", type=int, default=60, help="in each tour")
    parser.add_argument("--seed", type=int, default=0)
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
