"""Simulated tours for `python -m bench.memory`: rooms of boxes with a detector's errors, and the truth about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.geometry.camera import Camera
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Look, Pose, level_axes

CAMERA = Camera.from_fov(70, 160, 120)
LEAST_PIXELS = 33  # of an object that a detector can find
CLASSES = ("mug", "bottle", "box", "ball", "lamp", "chair", "bowl", "bucket")
COLORS = ("red", "green", "blue", "yellow", "white", "black")
SIZES = {"mug": 0.1, "bottle": 0.2, "box": 0.25, "ball": 0.15, "lamp": 0.35, "chair": 0.7, "bowl": 0.18, "bucket": 0.3}
MISS, FALSE_ALARM = 0.15, 0.03  # n3d-tiny finds more than 80 % on the standard suite, with few false boxes
CENTER_SIGMA, SIZE_SIGMA = 0.04, 0.12  # metres at 1.5 m, growing with distance; share of the size
POSE_SIGMA_M, POSE_SIGMA_RAD = 0.02, math.radians(1)  # of the whole error, in all three directions together
CHI2_95 = 7.815
_DEPTH_NOISE = 0.005  # of the distance
_LISTS = ("recall", "precision", "doubled", "center", "single", "gone_found", "gone_wrongly", "switches", "covered")


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


def cast(pose: Pose, boxes: Sequence[OrientedBox], camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] of boxes (map frame) on a floor in a room of 8 m, and which box is seen (-1: none)."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)], -1)
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
    shape = (camera.height, camera.width)
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


class Follower:
    """Compares a memory with the truth, from look to look and at the end of a tour.

    Attributes:
        out: lists of values to average over tours, by figure.
    """

    def __init__(self, memory: ObjectMap, things: list[Thing], camera: Camera) -> None:
        self.out: dict[str, list[float]] = {name: [] for name in _LISTS}
        self._memory, self._things, self._camera = memory, things, camera
        self._missing: dict[int, tuple[int, int]] = {}  # thing -> (id, looks at its old place so far)

    def start(self, number: int) -> None:
        """Before each look: what comes to a new place has not been seen there yet."""
        for thing in self._things:
            if number in [start for start, _ in thing.places]:
                thing.looks = 0

    def follow(self, number: int, depth: np.ndarray, pose: Pose) -> None:
        """Whether removed or moved objects are recognised as such within five looks that would have shown them."""
        found, missing = self.out["gone_found"], self._missing
        for index, thing in enumerate(self._things):
            if len(thing.places) == 1:
                continue
            (_, old), (start, new) = thing.places[:2]
            if number == start and thing.ids:
                missing[index] = (thing.ids[-1], 0)
            if index not in missing or old is None or not self._would_show(thing, old, depth, pose):
                continue
            identity, looks = missing[index]
            known = self._memory.get(identity)
            if known is None or known.state == "gone" or _has_left(known.center, old, new):
                found.append(1.0)
                del missing[index]
            elif looks + 1 == 5:
                found.append(0.0)
                del missing[index]
            else:
                missing[index] = (identity, looks + 1)

    def judge(self, last: int) -> None:
        """The map at the end of a tour against the truth at its last look."""
        out, remembered = self.out, self._memory.recall(limit=1000)
        present = [one for one in remembered if one.state == "present"]
        standing = [(t, place) for t in self._things if (place := t.place(last)) is not None]
        for thing, place in standing:
            near = [one for one in present if is_at(one, thing, place)]
            if thing.looks >= 3:
                out["recall"].append(float(bool(near)))
                out["doubled"].append(float(len(near) > 1))
                gone = [one for one in remembered if one.state == "gone" and is_at(one, thing, place)]
                out["gone_wrongly"].append(float(not near and bool(gone)))
            if near:
                error = near[0].center - place
                out["center"].append(float(np.linalg.norm(error)))
                out["covered"].append(float(error @ np.linalg.solve(near[0].covariance, error) < CHI2_95))
        for one in present:
            out["precision"].append(float(any(is_at(one, thing, place) for thing, place in standing)))
        for thing in self._things:
            if thing.ids:
                out["switches"].append(float(sum(a != b for a, b in zip(thing.ids, thing.ids[1:], strict=False))))

    def _would_show(self, thing: Thing, place: np.ndarray, depth: np.ndarray, pose: Pose) -> bool:
        """Whether a look sees the middle of a place, and from near enough to find an object there."""
        camera = self._camera
        own = (place - pose.translation) @ pose.rotation
        u, v = (float(x) for x in camera.project(own[None])[0])
        inside = own[2] > 0 and 2 < u < camera.width - 3 and 2 < v < camera.height - 3
        if not inside or not depth[round(v), round(u)] >= own[2] - 0.1:
            return False
        there, owner = cast(pose, [true_box(thing, place)], camera)
        pixels = int(((owner == 0) & (there < depth + _DEPTH_NOISE * there)).sum())
        return pixels >= LEAST_PIXELS * (camera.width / CAMERA.width) ** 2


def tour(memory: ObjectMap, seed: int, looks: int, pose_noise: bool) -> dict[str, list[float]]:
    """Runs one tour through a memory; returns lists of values to average over tours."""
    rng = np.random.default_rng(seed)
    things = room(rng, looks)
    follower = Follower(memory, things, CAMERA)
    for number in range(looks):
        follower.start(number)
        true = pose_at(number, looks)
        told = disturbed(true, rng) if pose_noise else true
        standing = [(t, place) for t in things if (place := t.place(number)) is not None]
        boxes = [true_box(t, place) for t, place in standing]
        depth, owner = cast(true, boxes, CAMERA)
        seen, whose = [], []
        for index, ((thing, _), box) in enumerate(zip(standing, boxes, strict=True)):
            if (owner == index).sum() < LEAST_PIXELS:
                continue
            thing.looks += 1
            if rng.random() >= MISS:
                seen.append(detected(box, true, rng))
                whose.append(thing)
                offset = true.rotation @ np.asarray(seen[-1].center) + true.translation - np.asarray(box.center)
                follower.out["single"].append(float(np.linalg.norm(offset)))
        if rng.random() < FALSE_ALARM * len(seen):
            seen.append(false_alarm(rng))
        result = memory.look(Look(float(number), told, CAMERA, seen, depth=depth))
        for thing, identity in zip(whose, result.seen, strict=False):
            thing.ids.append(identity)
        follower.follow(number, depth, true)
    follower.judge(looks)
    return follower.out


def true_box(thing: Thing, place: np.ndarray) -> OrientedBox:
    center, size = tuple(place.tolist()), tuple(thing.size.tolist())
    return OrientedBox(thing.label, center, size, 1.0, None, quaternion_of(level_axes(thing.yaw)))


def false_alarm(rng: np.random.Generator) -> OrientedBox:
    label = f"{rng.choice(COLORS)} {rng.choice(CLASSES)}"
    center = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.3, 0.6)), float(rng.uniform(1, 3)))
    return OrientedBox(label, center, (0.2, 0.2, 0.2), float(rng.uniform(0.5, 0.7)), tuple((np.eye(3) * 0.01).ravel()))


def _has_left(center: np.ndarray, old: np.ndarray, new: np.ndarray | None) -> bool:
    """Whether an object is remembered away from its old place: nearer to the new one, if there is one."""
    apart = float(np.linalg.norm(center - old))
    return apart > 0.3 if new is None else float(np.linalg.norm(center - new)) < apart


def is_at(one: RememberedObject, thing: Thing, place: np.ndarray) -> bool:
    close = float(np.linalg.norm(one.center - place)) < 0.1 + thing.size.max() / 2
    return close and one.label.split()[-1] == thing.label.split()[-1]
