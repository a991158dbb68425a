"""A map of objects that outlives the view: looks go in, what is remembered comes out."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.atomic_write import atomic_write
from n3d_core.errors import ObjectMapError
from n3d_core.memory.association import assign, overlapping, size_difference
from n3d_core.memory.camera_errors import DIRECTIONS, CameraErrors
from n3d_core.memory.database import ObjectStore, Places
from n3d_core.memory.objects import (
    GONE_LOG_ODDS,
    PRESENT_LOG_ODDS,
    WELL_KNOWN,
    RememberedObject,
    after_missing,
    doubted,
    first_log_odds,
    first_seen,
    moved,
    seen_again,
    seen_past,
    united,
)
from n3d_core.memory.observations import Array, Look, Observation, Pose, Visibility, visibility

REACH_M = 6.0  # a look says nothing of what is further away
MOST_OBJECTS = 100_000
MOST_RECALLED = 200
_SAME_SIZE = 0.15  # mean squared logarithm: sizes within about 40 %
_MOVED_WITHIN_S = 3600.0
_KEPT_LOOKS, _KEPT_WIDTH = 24, 240  # past looks that can tell that a place was empty, and their columns
_KEPT_APART_M, _KEPT_APART_RAD = 0.1, math.radians(8)
_MET_WITHIN = 0.46  # share of a box's size by which a ray may err and still meet what is in it
_AROUND_M = 1.0  # how far around an observation its object is looked for
_LEAST_MOVED = 0.0  # log-odds that a detection needs to be an object known from elsewhere
_ONE_OF_NOUN, _ONE = 0.2, 0.4  # 3D IoU above which two boxes with the same noun, or any, are one object
_TWICE_NOUN = 0.1
_STILL_FILLED = 0.3  # share of a place that must be seen filled for its object to be there still
_AS_RECORDED = ("yaw", "log_odds", "first_seen", "last_seen", "last_looked", "observations", "quality")


@dataclass(frozen=True)
class LookResult:
    """What one look changed.

    Attributes:
        seen: id of the object for each observation, in their order.
        new, moved: ids of objects that were made or are elsewhere now.
        gone: ids of objects that this look showed to be gone.
    """

    seen: tuple[int, ...]
    new: tuple[int, ...]
    moved: tuple[int, ...]
    gone: tuple[int, ...]


class ObjectMap:
    """Remembers objects of one map. Use it from one thread at a time; processes may share the file.

    Args:
        path: of the database.
        name: of the map in it.
        most: objects to keep; the least likely, then the longest unseen go first.

    Raises:
        ObjectMapError: if the database cannot be used.
    """

    def __init__(self, path: str | Path, name: str = "default", most: int = MOST_OBJECTS) -> None:
        if most < 1:
            raise ObjectMapError(f"the map must hold at least 1 object; got {most}")
        self._store, self._most = ObjectStore(path, name), most
        self._room = most - self._store.count()
        self._past: deque[Look] = deque(maxlen=_KEPT_LOOKS)
        self._errors: dict[str, CameraErrors] = {}

    def close(self) -> None:
        """Closes the database."""
        self._store.close()

    def __len__(self) -> int:
        return self._store.count()

    def look(self, look: Look) -> LookResult:
        """Takes one look in, as one transaction: all of it is kept, or nothing.

        Raises:
            ObjectMapError: if the database cannot be written.
        """
        learned = self._errors.setdefault(look.source, CameraErrors())
        errors = learned.current()
        every = [replace(one, covariance=one.covariance * errors.scale) for one in look.observations()]
        seen, number_of = _distinct(every)
        with self._store.transaction():
            near = self._store.near(*_region(look, seen))
            pairs = assign(near, seen, look.pose)
            known = self._store.many([near.ids[i] for i in pairs.values()])
            pairs, known, merged = self._merge(near, pairs, known)
            views, raw, against, shares = _views(look, near, seen)
            lost = _disproved(look, near, views, seen, set(pairs.values()))
            odds = [first_log_odds(one, less) for one, less in zip(seen, against, strict=True)]
            settled = {n for n, i in pairs.items() if not _is_other(known[near.ids[i]], seen[n])}
            unknown = {n: one for n, one in enumerate(seen) if n not in settled and odds[n] >= _LEAST_MOVED}
            arrived = {n for n in unknown if n not in pairs and odds[n] >= PRESENT_LOG_ODDS}
            elsewhere = self._elsewhere(look, near, views, lost, unknown, arrived, set(known))
            fresh = []
            for number, one in enumerate(seen):
                at = (one, look.pose, look.stamp, look.source)
                if number in elsewhere:
                    fresh.append(
                        moved(elsewhere[number], *at, against=against[number], through=shares[number], errors=errors)
                    )
                elif number in pairs:
                    index = pairs[number]
                    seen_through = float(raw[index])
                    there = not views.empty[index]
                    fresh.append(
                        seen_again(known[near.ids[index]], *at, was_there=there, through=seen_through, errors=errors)
                    )
                else:
                    fresh.append(first_seen(*at, against=against[number], through=shares[number], errors=errors))
            ids = self._store.write(fresh)
            gone_elsewhere = {one.id for one in elsewhere.values()}
            lost = {i: odds for i, odds in lost.items() if near.ids[i] not in gone_elsewhere | merged}
            self._store.discredit([(odds, look.stamp, near.ids[i]) for i, odds in lost.items()])
        for one, now, identity in zip(seen, fresh, ids, strict=True):
            if now.observations > 1 and now.center is one.center:
                learned.forget(identity)
            claimed = float(np.trace(one.covariance)) / 3 / errors.scale
            offset = look.pose.translation - one.center
            learned.add(identity, one.center, offset, claimed, float(look.pose.variance_at(one.center)))
        self._bound(sum(one.id == 0 for one in fresh))
        self._keep(look)
        gone = tuple(near.ids[i] for i, odds in lost.items() if odds < GONE_LOG_ODDS <= near.log_odds[i])
        new = tuple(i for i, one in zip(ids, fresh, strict=True) if one.id == 0)
        return LookResult(tuple(ids[n] for n in number_of), new, tuple(sorted(gone_elsewhere)), gone)

    def recall(
        self, noun: str | None = None, max_age: float = math.inf, now: float = 0.0, limit: int = MOST_RECALLED
    ) -> list[RememberedObject]:
        """What is remembered, the surest first.

        Args:
            noun: head noun in the singular ("mug"); None for every object.
            max_age: seconds since an object was last seen, counted from `now`.
        """
        return self._store.named(noun, limit, now - max_age if math.isfinite(max_age) else -math.inf)

    def get(self, identity: int) -> RememberedObject | None:
        """One object, None if the map has none of this id."""
        return self._store.get(identity)

    def known(self, seen: Sequence[Observation], pose: Pose) -> dict[int, RememberedObject]:
        """The remembered object that each observation shows, whatever its name there, by the observation's index."""
        if not seen:
            return {}
        reach = np.array([one.size.max() + _AROUND_M for one in seen])[:, None]
        centers = np.array([one.center for one in seen])
        near = self._store.near((centers - reach).min(axis=0), (centers + reach).max(axis=0))
        pairs = assign(near, seen, pose)
        objects = self._store.many([near.ids[i] for i in pairs.values()])
        return {number: objects[near.ids[i]] for number, i in pairs.items()}

    def forget(self, identities: Sequence[int]) -> int:
        """Removes objects; returns how many there were. `recollection.forget_named` removes them by name."""
        return self._store.forget(identities)

    def clear(self) -> int:
        """Removes all objects of this map; returns how many there were."""
        self._past.clear()
        return self._store.forget([one.id for one in self._store.every()])

    def transform(self, new_from_old: Array) -> None:
        """Moves everything with the map's frame, for instance after a relocalisation.

        Args:
            new_from_old: [4, 4], a rotation about z and a translation in metres.

        Raises:
            ObjectMapError: if it is no such transform; then nothing is changed.
        """
        matrix = np.asarray(new_from_old, np.float64)
        level = matrix.shape == (4, 4) and np.isfinite(matrix).all() and np.allclose(matrix[2, :3], (0, 0, 1), atol=0.1)
        if not level or not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3):
            raise ObjectMapError(
                f"new_from_old must be a 4x4 rigid transform about the map's z axis; got {np.round(matrix, 3).tolist()}"
            )
        turn, shift = matrix[:3, :3], matrix[:3, 3]
        yaw = math.atan2(turn[1, 0], turn[0, 0])

        def change(one: RememberedObject) -> RememberedObject:
            covariance = turn @ one.covariance @ turn.T
            directions = np.roll(one.directions, round(yaw / (2 * math.pi) * DIRECTIONS), axis=0)
            center = turn @ one.center + shift
            return replace(one, center=center, covariance=covariance, yaw=one.yaw + yaw, directions=directions, view=None)

        self._change_all(change)

    def doubt(self, sigma_m: float) -> None:
        """Makes every place less sure, after the map has moved by an unknown amount of about `sigma_m` metres."""
        if not (math.isfinite(sigma_m) and sigma_m >= 0):
            raise ObjectMapError(f"sigma_m must be a finite number of metres, 0 or more; got {sigma_m}")
        self._change_all(lambda one: doubted(one, sigma_m))

    def rewind(self, now: float) -> float:
        """Shifts all stamps so that none is later than `now`, after a clock has jumped back (a bag that loops).

        Times between looks stay as they were. Returns the seconds of the shift, 0 if there was none.
        """
        if not math.isfinite(now):
            raise ObjectMapError(f"now must be a finite number of seconds; got {now}")
        return self._store.rewind(now)

    def export(self, path: str | Path) -> int:
        """Writes the map as JSON lines; returns how many objects."""
        objects = self._store.every()
        with atomic_write(Path(path)) as aside:
            aside.write_text("".join(json.dumps(_record(one)) + "\n" for one in objects))
        return len(objects)

    def load(self, path: str | Path) -> int:
        """Adds the objects of a file that `export` wrote; returns how many.

        Raises:
            ObjectMapError: if a line is not an object of a map; then nothing is added.
        """
        objects = []
        for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
            try:
                objects.append(_from_record(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise ObjectMapError(f"{path}, line {number}: not an object of a map ({error})") from error
        self.add(objects)
        return len(objects)

    def add(self, objects: Sequence[RememberedObject]) -> None:
        """Adds objects as they are, without asking whether they are known."""
        with self._store.transaction():
            self._store.write([replace(one, id=0) for one in objects])
        self._bound(len(objects))

    def _elsewhere(
        self,
        look: Look,
        near: Places,
        views: Visibility,
        lost: dict[int, float],
        unknown: dict[int, Observation],
        arrived: set[int],
        found: set[int],
    ) -> dict[int, RememberedObject]:
        """By number of an observation that fits no object in place, or one by another name: the missing one it can be.

        That is the nearest of those whose place was seen to be empty; or, where something has arrived at a place that
        was empty before, the only one alike that this look does not see in its own place.
        """
        moved_here: dict[int, RememberedObject] = {}
        named, wholly_empty = {one.label for one in unknown.values()}, views.wholly_empty
        empty = {i for i, odds in lost.items() if wholly_empty[i] or odds < GONE_LOG_ODDS}
        emptied = {near.ids[i] for i in empty if named & near.labels[i].keys()}
        emptied_here = list(self._store.many(sorted(emptied)).values())
        for number, seen in unknown.items():
            known = self._store.missing(seen.label, look.stamp - _MOVED_WITHIN_S, number in arrived)
            either = {one.id: one for one in (*emptied_here, *known)}
            alike = [one for one in either.values() if one.id not in found and _could_be(one, seen)]
            missing = [one for one in alike if one.state == "gone" or one.id in emptied]
            if not missing and alike and number in arrived:
                places = Places.of(alike)
                view = visibility(look, places.centers, places.sizes, places.yaws)
                there = view.clear - view.through > _STILL_FILLED
                missing = [one for one, still in zip(alike, there, strict=True) if not still]
                missing = missing if len(missing) == 1 and self._was_empty(seen) else []
            if missing:
                moved_here[number] = min(missing, key=lambda one: float(np.linalg.norm(one.center - seen.center)))
                found = found | {moved_here[number].id}
        return moved_here

    def _merge(
        self, near: Places, pairs: dict[int, int], known: dict[int, RememberedObject]
    ) -> tuple[dict[int, int], dict[int, RememberedObject], set[int]]:
        """Makes one of two remembered objects that share their place and were seen by turns, never together."""
        found, merged = set(pairs.values()), set()
        names = [max(labels, key=lambda name: labels[name]) for labels in near.labels]
        for both in overlapping(names, near.centers, near.sizes, near.yaws, _ONE_OF_NOUN, _ONE):
            for i, j in (both, both[::-1]):
                if i in found and j not in found and min(near.log_odds[i], near.log_odds[j]) >= GONE_LOG_ODDS:
                    one, other = known[near.ids[i]], self._store.get(near.ids[j])
                    if other is None or one.first_seen > other.last_seen or other.first_seen > one.last_seen:
                        continue
                    keep, drop = (i, j) if one.observations >= other.observations else (j, i)
                    pairs = {n: keep if index == i else index for n, index in pairs.items()}
                    found = set(pairs.values())
                    known[near.ids[keep]] = united(*((one, other) if keep == i else (other, one)))
                    known.pop(near.ids[drop], None)
                    merged.add(near.ids[drop])
        self._store.remove(merged)
        return pairs, known, merged

    def _was_empty(self, seen: Observation) -> bool:
        """Whether past looks saw the place of an observation empty."""
        place = seen.center[None], seen.size[None], np.array([seen.yaw])
        return any(visibility(look, *place).empty[0] for look in self._past)

    def _keep(self, look: Look) -> None:
        """Keeps the depth of one look for each place that the camera was at."""
        if look.depth is None:
            return
        if self._past:
            metres, radians = self._past[-1].pose.apart(look.pose)
            if metres < _KEPT_APART_M and radians < _KEPT_APART_RAD and self._past[-1].source == look.source:
                return
        self._past.append(look.thinned(_KEPT_WIDTH))

    def _bound(self, added: int) -> None:
        """Drops what is over the bound. Counting reads the whole index, so it is done only when the bound is near."""
        self._room -= added
        if self._room <= 0:
            surplus = self._store.count() - self._most
            if surplus > 0:
                self._store.forget(self._store.least(surplus + self._most // 100))
            self._room = self._most - self._store.count()

    def _change_all(self, change: Callable[[RememberedObject], RememberedObject]) -> None:
        self._past.clear()  # their poses are of the map as it was
        with self._store.transaction():
            self._store.write(change(one) for one in self._store.every())


def _distinct(seen: Sequence[Observation]) -> tuple[list[Observation], list[int]]:
    """The observations without those that show an object a second time, and the place of each one's object in them."""
    doubles: dict[int, int] = {}
    if len(seen) > 1:
        boxes = np.array([one.center for one in seen]), np.array([one.size for one in seen])
        yaws = np.array([one.yaw for one in seen])
        order = sorted(
            overlapping([one.label for one in seen], *boxes, yaws, _TWICE_NOUN, _ONE),
            key=lambda pair: -max(seen[i].score for i in pair),
        )
        for i, j in order:
            better, worse = (i, j) if seen[i].score >= seen[j].score else (j, i)
            if better not in doubles and worse not in doubles:
                doubles[worse] = better
    kept = [n for n in range(len(seen)) if n not in doubles]
    numbers = {n: place for place, n in enumerate(kept)}
    return [seen[n] for n in kept], [numbers[doubles.get(n, n)] for n in range(len(seen))]


def _region(look: Look, seen: Sequence[Observation]) -> tuple[Array, Array]:
    """Corners of the part of the map that a look is about: what it could see within reach, and what it found."""
    camera = look.camera
    u, v = np.array([0, camera.width, camera.width, 0]), np.array([0, 0, camera.height, camera.height])
    rays = np.column_stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(4)]) * REACH_M
    corners = [look.pose.translation, *(rays @ look.pose.rotation.T + look.pose.translation)]
    corners += [one.center + sign * one.size.max() for one in seen for sign in (-1, 1)]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _disproved(
    look: Look, near: Places, views: Visibility, seen: Sequence[Observation], found: set[int]
) -> dict[int, float]:
    """The log-odds that are left of each object that the look should have found and did not, by index."""
    if look.depth is None:
        return {}
    asked = np.array([look.asked is None or _was_asked(labels, look.asked) for labels in near.labels], bool)
    met = _met(look.pose, near.centers, near.sizes)
    centers = np.array([one.center for one in seen]).reshape(-1, 1, 3)
    taken = (np.linalg.norm(centers - near.centers, axis=-1) < near.sizes.mean(axis=1) / 2).any(axis=0)
    after = after_missing(near.log_odds, views, asked, met, (near.observations >= WELL_KNOWN) & ~taken)
    changed = np.flatnonzero(after != near.log_odds).tolist()
    return {i: float(after[i]) for i in changed if i not in found}


def _met(pose: Pose, centers: Array, sizes: Array, variances: Array | float = 0.0) -> Array:
    """[N]: how probable it is that a ray to an object that is there meets it, given the errors of pose and place."""
    reach, error = _MET_WITHIN * sizes.mean(axis=1), pose.variance_at(centers) + variances
    met: Array = 1 - np.exp(-(reach**2) / (2 * np.maximum(error, 1e-12)))  # a normal error in two directions
    return met


def _views(look: Look, near: Places, seen: Sequence[Observation]) -> tuple[Visibility, Array, list[float], list[float]]:
    """How the look sees the places of what is known, and what its depth says against each observation, log-odds.

    In the former, `through` is what exceeds the share [N] that looks see through such an object when they find it; the
    whole share comes second. The log-odds are 0 where the look cannot tell.
    """
    known = len(near.ids)
    centers = np.concatenate([near.centers, np.array([one.center for one in seen]).reshape(-1, 3)])
    sizes = np.concatenate([near.sizes, np.array([one.size for one in seen]).reshape(-1, 3)])
    both = visibility(look, centers, sizes, np.concatenate([near.yaws, [one.yaw for one in seen]]))
    spread = [np.trace(one.covariance) / 3 for one in seen]
    met = _met(look.pose, centers[known:], sizes[known:], np.array(spread))
    through = np.where(both.empty, both.share_through, 0.0)[known:]
    against = (seen_past(met) * through).tolist()
    whole, clear = both.share_through[:known], (both.in_view - both.hidden)[:known]
    usual = np.minimum(near.through / np.maximum(clear, 1e-9), 1)  # all that is see-through may be in what is visible
    more = clear * np.maximum(whole - usual, 0) / np.maximum(1 - usual, 1e-9)
    return Visibility(both.in_view[:known], both.hidden[:known], more, both.pixels[:known]), whole, against, both.share_through[known:].tolist()


def _was_asked(labels: dict[str, float], asked: Sequence[str]) -> bool:
    """Whether one of the labels asked for is a name of an object: "mug" asks for the red mug, too."""
    usual = set(max(labels, key=lambda name: labels[name]).split())
    return any(label in labels or set(label.split()) <= usual for label in asked)


def _is_well_known(one: RememberedObject) -> bool:
    """Whether the place of an object is known well enough to tell that it is no longer there."""
    return one.observations >= WELL_KNOWN


def _is_other(known: RememberedObject, seen: Observation) -> bool:
    """Whether what is seen at an object's place may be another one: it is named otherwise, or that was hardly there."""
    return known.label != seen.label or (known.state == "gone" and not _is_well_known(known))


def _could_be(known: RememberedObject, seen: Observation) -> bool:
    """Whether an object that is well known, and not where it was, may be the one that is seen now."""
    return (
        _is_well_known(known)
        and known.label == seen.label
        and float(size_difference(known.size, seen.size)) < _SAME_SIZE
    )


def _record(one: RememberedObject) -> dict[str, Any]:
    """An object as JSON, without its id and the view that it was last seen from."""
    return {
        "labels": one.labels,
        "center": one.center.tolist(),
        "covariance": one.covariance.tolist(),
        "size": one.size.tolist(),
        **{name: getattr(one, name) for name in _AS_RECORDED},
    }


def _from_record(record: dict[str, Any]) -> RememberedObject:
    center, covariance, size = (np.array(record[name], np.float64) for name in ("center", "covariance", "size"))
    if center.shape != (3,) or covariance.shape != (3, 3) or size.shape != (3,) or not record["labels"]:
        raise ValueError("center, covariance and size must hold 3, 3x3 and 3 numbers, and labels must not be empty")
    labels = {str(name): float(weight) for name, weight in record["labels"].items()}
    rest: dict[str, Any] = {name: record[name] for name in _AS_RECORDED}
    return RememberedObject(labels, center, covariance, size, **rest)
