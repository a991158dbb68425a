"""One look beside what is remembered where it looks: what it found, saw filled, or saw empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from n3d_core.memory.association import overlapping
from n3d_core.memory.camera_errors import Errors
from n3d_core.memory.database import Places
from n3d_core.memory.objects import WELL_KNOWN, Sighting, after_missing, noun_of, seen_past, usual_label
from n3d_core.memory.observations import Array, Look, Observation, Pose, Visibility, visibility

REACH_M = 6.0  # a look says nothing of what is further away
SHARED = 0.4
"""3D IoU above which two boxes are one object, whatever they are called: solid objects do not share their place."""
SHARED_BY_NOUN = 0.2
"""The same for two with the same noun."""
_SHARED_BY_NAME = 0.1  # for boxes of one look that are called alike: models say an object twice, a little apart
_MET_WITHIN = 0.46  # share of a box's size by which a ray may err and still meet what is in it


@dataclass(frozen=True)
class Comparison:
    """A look beside what is remembered near it.

    Attributes:
        look: as it was taken.
        sightings: what it found, each object once.
        near: N remembered places.
        pairs: index of the remembered object that a sighting shows, by the sighting's number.
        views: how the look sees the N places. Its `through` is what exceeds the share that looks see through such an
            object when they find it.
    """

    look: Look
    sightings: list[Sighting]
    near: Places
    pairs: dict[int, int]
    views: Visibility

    def disproved(self) -> dict[int, float]:
        """The log-odds that are left of each object that the look should have found and did not, by index."""
        look, near = self.look, self.near
        if look.depth is None:
            return {}
        asked = np.array([look.asked is None or _was_asked(labels, look.asked) for labels in near.labels], bool)
        centers = np.array([now.seen.center for now in self.sightings]).reshape(-1, 1, 3)
        taken = (np.linalg.norm(centers - near.centers, axis=-1) < near.sizes.mean(axis=1) / 2).any(axis=0)
        settled = (near.observations >= WELL_KNOWN) & ~taken
        met = _met(look.pose, near.centers, near.sizes)
        after = after_missing(near.log_odds, self.views, asked, met, settled)
        found = set(self.pairs.values())
        return {i: float(after[i]) for i in np.flatnonzero(after != near.log_odds).tolist() if i not in found}


def compare(look: Look, seen: Sequence[Observation], near: Places, pairs: dict[int, int], errors: Errors) -> Comparison:
    """Looks at the places of N remembered objects and of the observations; see `Comparison`."""
    known = len(near.ids)
    centers = np.concatenate([near.centers, np.array([one.center for one in seen]).reshape(-1, 3)])
    sizes = np.concatenate([near.sizes, np.array([one.size for one in seen]).reshape(-1, 3)])
    both = visibility(look, centers, sizes, np.concatenate([near.yaws, [one.yaw for one in seen]]))
    variances = np.array([np.trace(one.covariance) / 3 for one in seen])
    past = seen_past(_met(look.pose, centers[known:], sizes[known:], variances))
    shares = both.share_through
    against = np.where(both.empty[known:], past * shares[known:], 0.0).tolist()
    through = shares[[pairs.get(number, known + number) for number in range(len(seen))]].tolist()
    sightings = [
        Sighting(one, look.pose, look.stamp, look.source, errors, *odds)
        for one, *odds in zip(seen, against, through, strict=True)
    ]
    clear = (both.in_view - both.hidden)[:known]
    usual = np.minimum(near.through / np.maximum(clear, 1e-9), 1)  # all that is see-through may be in what is visible
    more = clear * np.maximum(shares[:known] - usual, 0) / np.maximum(1 - usual, 1e-9)
    views = Visibility(both.in_view[:known], both.hidden[:known], more, both.pixels[:known])
    return Comparison(look, sightings, near, pairs, views)


def distinct(seen: Sequence[Observation], pairs: dict[int, int]) -> tuple[list[Observation], dict[int, int], list[int]]:
    """Leaves out observations that show an object once more.

    Of two that share too much of their place, one goes that is no remembered object (`pairs` as in `Comparison`): two
    that are remembered stay two. Of two new ones, that with the higher score stays.

    Returns:
        The observations left, their pairs, and for each of all observations the index of its object among those left.
    """
    places = [one.center for one in seen], [one.size for one in seen], [one.yaw for one in seen]
    centers, sizes, yaws = (np.array(values) for values in places)
    shows = list(range(len(seen)))
    doubles = [
        (i, j) if (i in pairs, seen[i].score) >= (j in pairs, seen[j].score) else (j, i)
        for i, j, share in overlapping(centers, sizes, yaws, _SHARED_BY_NAME)
        if share > _least_shared(seen[i].label, seen[j].label)
    ]
    for better, worse in sorted(doubles, key=lambda pair: (pair[0] not in pairs, -seen[pair[0]].score)):
        if worse not in pairs and shows[better] == better and shows[worse] == worse:
            shows[worse] = better
    kept = [n for n in range(len(seen)) if shows[n] == n]
    index = {n: place for place, n in enumerate(kept)}
    left = {index[n]: remembered for n, remembered in pairs.items()}
    return [seen[n] for n in kept], left, [index[shows[n]] for n in range(len(seen))]


def region(look: Look, seen: Sequence[Observation]) -> tuple[Array, Array]:
    """Corners [3] of the part of the map that a look is about: what it could see within reach, and what it found."""
    camera = look.camera
    u, v = np.array([0, camera.width, camera.width, 0]), np.array([0, 0, camera.height, camera.height])
    rays = np.column_stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(4)]) * REACH_M
    corners = [look.pose.translation, *(rays @ look.pose.rotation.T + look.pose.translation)]
    corners += [one.center + sign * one.size.max() for one in seen for sign in (-1, 1)]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _met(pose: Pose, centers: Array, sizes: Array, variances: Array | float = 0.0) -> Array:
    """[N]: how probable it is that a ray to an object that is there meets it, given the errors of pose and place."""
    reach, error = _MET_WITHIN * sizes.mean(axis=1), pose.variance_at(centers) + variances
    met: Array = 1 - np.exp(-(reach**2) / (2 * np.maximum(error, 1e-12)))  # a normal error in two directions
    return met


def _least_shared(one: str, other: str) -> float:
    """3D IoU above which two boxes of one look are one object: a mug is likely to be the red mug, not the green one."""
    if noun_of(one) != noun_of(other):
        return SHARED
    first, second = set(one.split()), set(other.split())
    return _SHARED_BY_NAME if first <= second or second <= first else SHARED_BY_NOUN


def _was_asked(labels: dict[str, float], asked: Sequence[str]) -> bool:
    """Whether one of the labels asked for is a name of an object: "mug" asks for the red mug, too."""
    usual = set(usual_label(labels).split())
    return any(label in labels or set(label.split()) <= usual for label in asked)
