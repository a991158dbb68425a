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
from n3d_core.memory.comparison import SHARED, SHARED_BY_NOUN, Comparison, compare, distinct, region
from n3d_core.memory.database import ObjectStore, Places
from n3d_core.memory.objects import (
    GONE_LOG_ODDS,
    PRESENT_LOG_ODDS,
    WELL_KNOWN,
    RememberedObject,
    doubted,
    first_seen,
    moved,
    noun_of,
    seen_again,
    united,
    usual_label,
)
from n3d_core.memory.observations import Array, Look, Observation, Pose, visibility

MOST_OBJECTS = 100_000
MOST_RECALLED = 200
_SAME_SIZE = 0.15  # mean squared logarithm: sizes within about 40 %
_MOVED_WITHIN_S = 3600.0
_KEPT_LOOKS, _KEPT_WIDTH = 24, 240  # past looks that can tell that a place was empty, and their columns
_KEPT_APART_M, _KEPT_APART_RAD = 0.1, math.radians(8)
_AROUND_M = 1.0  # how far around an observation its object is looked for
_LEAST_MOVED = 0.0  # log-odds that a detection needs to be an object known from elsewhere
_TOGETHER, _ALONE = 2.0, -1.0  # log-odds that such two are two, by a look that finds both or only one of them
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
        with self._store.transaction():
            learned.restore(self._store.camera(look.source) or b"")  # another process may have the same camera
            errors = learned.current()
            every = [replace(one, covariance=one.covariance * errors.scale) for one in look.observations()]
            near = self._store.near(*region(look, every))
            seen, pairs, number_of = distinct(every, assign(near, every, look.pose))
            known = self._store.many([near.ids[i] for i in pairs.values()])
            pairs, known, merged = self._merge(near, pairs, known)
            compared = compare(look, seen, near, pairs, errors)
            lost = {i: odds for i, odds in compared.disproved().items() if near.ids[i] not in merged}
            elsewhere = self._elsewhere(compared, known, lost)
            fresh = []
            for number, now in enumerate(compared.sightings):
                if number in elsewhere:
                    fresh.append(moved(elsewhere[number], now))
                elif number in pairs:
                    there = not compared.views.empty[pairs[number]]
                    fresh.append(seen_again(known[near.ids[pairs[number]]], now, was_there=there))
                else:
                    fresh.append(first_seen(now))
            ids = self._store.write(fresh)
            gone_elsewhere = {one.id for one in elsewhere.values()}
            lost = {i: odds for i, odds in lost.items() if near.ids[i] not in gone_elsewhere}
            self._store.discredit([(odds, look.stamp, near.ids[i]) for i, odds in lost.items()])
            for now, one, identity in zip(compared.sightings, fresh, ids, strict=True):
                anew = one.center is now.seen.center
                learned.add(identity, now.seen.center, now.offset, now.claimed, now.pose_variance, moved=anew)
            self._store.keep_camera(look.source, learned.to_bytes())
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
        return self._store.many([identity]).get(identity)

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
            return replace(
                one, center=center, covariance=covariance, yaw=one.yaw + yaw, directions=directions, view=None
            )

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
        self, compared: Comparison, recognised: dict[int, RememberedObject], lost: dict[int, float]
    ) -> dict[int, RememberedObject]:
        """By number of an observation that fits no object in place, or one by another name: the missing one it can be.

        That is the nearest of those whose place was seen to be empty; or, where something has arrived at a place that
        was empty before, the only one alike that this look does not see in its own place.
        """
        near, sightings, pairs = compared.near, compared.sightings, compared.pairs
        settled = {n for n, i in pairs.items() if not _is_other(recognised[near.ids[i]], sightings[n].seen)}
        unknown = {n: s for n, s in enumerate(sightings) if n not in settled and s.log_odds >= _LEAST_MOVED}
        named = {now.seen.label for now in unknown.values()}
        empty = {i for i, odds in lost.items() if compared.views.wholly_empty[i] or odds < GONE_LOG_ODDS}
        emptied = {near.ids[i] for i in empty if named & near.labels[i].keys()}
        emptied_here = list(self._store.many(sorted(emptied)).values())
        moved_here: dict[int, RememberedObject] = {}
        found = set(recognised)
        for number, now in unknown.items():
            arrived = number not in pairs and now.log_odds >= PRESENT_LOG_ODDS
            known = self._store.missing(now.seen.label, now.stamp - _MOVED_WITHIN_S, arrived)
            either = {one.id: one for one in (*emptied_here, *known)}
            alike = [one for one in either.values() if one.id not in found and _could_be(one, now.seen)]
            missing = [one for one in alike if one.state == "gone" or one.id in emptied]
            if not missing and alike and arrived:
                missing = _out_of_place(compared.look, alike)
                missing = missing if len(missing) == 1 and self._was_empty(now.seen) else []
            if missing:
                moved_here[number] = min(missing, key=lambda one: float(np.linalg.norm(one.center - now.seen.center)))
                found = found | {moved_here[number].id}
        return moved_here

    def _merge(
        self, near: Places, pairs: dict[int, int], known: dict[int, RememberedObject]
    ) -> tuple[dict[int, int], dict[int, RememberedObject], set[int]]:
        """Makes one of two remembered objects that share their place and were seen by turns, never together."""
        merged: set[int] = set()
        nouns = [noun_of(usual_label(labels)) for labels in near.labels]
        for i, j, share in overlapping(near.centers, near.sizes, near.yaws, SHARED_BY_NOUN) if pairs else ():
            found = set(pairs.values())
            if not {i, j} & found or min(near.log_odds[i], near.log_odds[j]) < GONE_LOG_ODDS:
                continue
            if share < SHARED and nouns[i] != nouns[j]:
                continue
            both = {i, j} <= found
            if self._store.weigh_pair(near.ids[i], near.ids[j], _TOGETHER if both else _ALONE) >= 0:
                continue
            i, j = (i, j) if i in found else (j, i)
            one, other = known[near.ids[i]], self._store.many([near.ids[j]]).get(near.ids[j])
            if both or other is None or near.ids[j] in merged or not _by_turns(one, other):
                continue
            keep, drop = (i, j) if one.observations >= other.observations else (j, i)
            pairs = {n: keep if index == i else index for n, index in pairs.items()}
            known[near.ids[keep]] = united(*((one, other) if keep == i else (other, one)))
            known.pop(near.ids[drop], None)
            merged.add(near.ids[drop])
        if merged:
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
        for learned in self._errors.values():
            learned.forget_places()
        with self._store.transaction():
            self._store.write(change(one) for one in self._store.every())


def _out_of_place(look: Look, objects: Sequence[RememberedObject]) -> list[RememberedObject]:
    """Those of some objects that a look does not see in their places."""
    places = Places.of(objects)
    view = visibility(look, places.centers, places.sizes, places.yaws)
    there = view.clear - view.through > _STILL_FILLED
    return [one for one, still in zip(objects, there, strict=True) if not still]


def _by_turns(first: RememberedObject, second: RememberedObject) -> bool:
    """Whether each of two objects was seen again after the other had appeared."""
    return first.first_seen <= second.last_seen and second.first_seen <= first.last_seen


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
