"""What is remembered of one object, and how a look changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.memory.camera_errors import DIRECTIONS, HONEST, Errors, no_directions, place_variance, seen_from
from n3d_core.memory.observations import CLEAR, Array, Observation, Pose, Visibility, level_axes

State = Literal["present", "gone", "uncertain"]

PRESENT_LOG_ODDS, GONE_LOG_ODDS = math.log(0.7 / 0.3), math.log(0.2 / 0.8)
"""Of existence: from the first on an object is present, below the second it is gone."""
WELL_KNOWN = 3
"""Looks that must have found an object before it can be said to be elsewhere now."""
_MOST_LOG_ODDS = 4.0  # certainty is bounded, so that a few looks can undo it
_NOT_FOUND = -0.5  # log-odds of a look that saw the place filled, asked for the object and did not find it
_FILLED_LOG_ODDS = 0.0  # such looks make an object uncertain, never gone: something is there
_SETTLED_LOG_ODDS = 1.0  # nor what is known well, unless something else is found there
_DOUBTED_LOG_ODDS = 1.0  # of what was present before a jump: only to be found again makes it surer
_MOST_THROUGH = 0.7  # of an object that is there
_STILL_FILLED = 0.6  # log-odds of a look that saw the place filled and could not find the object
_OFTEN_MISSED, _SELDOM_MISSED = 4.0, 16.0  # pixels: to miss objects as small as the first says nothing
_SEEN_THROUGH = -2.2  # log-odds of a look that saw through the place: one in nine of those is wrong
_MOVED_VARIANCE = 1e-6  # m^2 a look: a standing object's place is known better with every look, but never exactly
_DRIFT_KEPT = 0.6  # of an object's drift from look to look
_MOST_DRIFT = 16.27 / (1 - _DRIFT_KEPT**2)  # chi-square 99.9 %, three degrees of freedom, of what looks add up to
_MOST_STEP = 4.0  # of one look, so that no single one moves an object
_EMPTY_DRIFT = 4.4 / (1 - _DRIFT_KEPT**2)  # by which less is needed where the look sees past the old place
_SAME_YAW = math.radians(12)
_STILL_M, _STILL_RAD = 0.05, math.radians(4)  # looks nearer than this to the last one tell little new
_LEAST_NEW = 0.05
_SHAPE_SHARE = 0.14  # of an object's size: how far the middles of boxes seen from anywhere are off, if errors repeat


@dataclass(frozen=True)
class RememberedObject:
    """An object of the map (z up, metres).

    Attributes:
        id: stays with the object, also when it is moved; 0 before it is stored.
        labels: how much each label has been seen, by score.
        center: [3]; covariance: [3, 3].
        size: (length, width, height) along its own level axes and up; yaw: radians of the length axis.
        log_odds: of its existence.
        first_seen, last_seen: seconds; `last_looked`: when its place was last in view.
        observations: how many looks found it.
        drift: [3]: how far recent looks saw it from its place, all to one side: a decaying sum in standard deviations.
        through: share of its place that looks which find it see through, on average: much of a lamp, little of a box.
        directions: [8, 2]: from where, and how well, it was seen (see `camera_errors.seen_from`).
        view: where it was last seen from, and by which camera; looks from there tell little new.
        quality: of the look that gave size and yaw.
    """

    labels: dict[str, float]
    center: Array
    covariance: Array
    size: Array
    yaw: float
    log_odds: float
    first_seen: float
    last_seen: float
    last_looked: float
    observations: int = 1
    view: tuple[str, Pose] | None = None
    quality: float = 0.0
    drift: Array = field(default_factory=lambda: np.zeros(3))
    through: float = 0.0
    directions: Array = field(default_factory=no_directions)
    id: int = 0

    @property
    def label(self) -> str:
        """What it was called most often."""
        return usual_label(self.labels)

    @property
    def existence(self) -> float:
        """Probability that it is (still) there, 0..1."""
        return 1 / (1 + math.exp(-self.log_odds))

    @property
    def state(self) -> State:
        """`present`, `gone` or `uncertain`."""
        if self.log_odds >= PRESENT_LOG_ODDS:
            return "present"
        return "gone" if self.log_odds < GONE_LOG_ODDS else "uncertain"

    @property
    def box(self) -> OrientedBox:
        """In the map frame, with existence for a score."""
        x, y, z = self.center.tolist()
        length, width, height = self.size.tolist()
        covariance = tuple(float(v) for v in self.covariance.reshape(-1))
        quaternion = quaternion_of(level_axes(self.yaw))
        return OrientedBox(self.label, (x, y, z), (length, width, height), self.existence, covariance, quaternion)


def usual_label(labels: dict[str, float]) -> str:
    """That with the greatest weight."""
    return max(labels, key=lambda name: labels[name])


def noun_of(label: str) -> str:
    """Its last word: "mug" of "red mug"."""
    return label.split()[-1] if label.split() else ""


@dataclass(frozen=True)
class Sighting:
    """An observation, and the look that made it.

    Attributes:
        pose: of the camera; stamp: seconds; source: name of the camera.
        errors: of that camera, as far as they are known.
        against: log-odds of what the depth of the same look says against the object, 0 or less.
        through: share, 0..1, of the object's place that the look sees through.
    """

    seen: Observation
    pose: Pose
    stamp: float
    source: str = ""
    errors: Errors = HONEST
    against: float = 0.0
    through: float = 0.0

    @cached_property
    def log_odds(self) -> float:
        """Of the existence of an object that was seen this once."""
        return _detection(self.seen.score) + self.against

    @cached_property
    def covariance(self) -> Array:
        """[3, 3] of the centre, with the pose's uncertainty, m^2."""
        return self.seen.covariance + np.eye(3) * self.pose_variance

    @cached_property
    def claimed(self) -> float:
        """Variance along each axis as the camera claims it, m^2."""
        return float(np.trace(self.seen.covariance)) / 3 / self.errors.scale

    @cached_property
    def quality(self) -> float:
        """How well the look shows the object's extent: near and sure is best."""
        return self.seen.score / (0.3 + float(np.linalg.norm(self.offset)))

    @cached_property
    def offset(self) -> Array:
        """[3]: from the object to the camera, metres."""
        return self.pose.translation - self.seen.center

    @cached_property
    def pose_variance(self) -> float:
        """Of the centre along each axis, from the error of the pose, m^2."""
        return float(self.pose.variance_at(self.seen.center))

    def added_to(self, directions: Array, weight: float) -> Array:
        """[8, 2]: the directions that an object was seen from, with this one; `weight`, 0..1: how new the look is."""
        return seen_from(directions, self.offset, self.claimed, self.pose_variance, weight)


def first_seen(now: Sighting) -> RememberedObject:
    """A new object."""
    return RememberedObject(
        labels={now.seen.label: max(now.seen.score, 1e-3)},
        center=now.seen.center,
        covariance=now.covariance,
        size=now.seen.size,
        yaw=now.seen.yaw,
        log_odds=now.log_odds,
        first_seen=now.stamp,
        last_seen=now.stamp,
        last_looked=now.stamp,
        view=(now.source, now.pose),
        quality=now.quality,
        through=min(now.through, _MOST_THROUGH),
        directions=now.added_to(no_directions(), 1.0),
    )


def seen_again(known: RememberedObject, now: Sighting, *, was_there: bool = True) -> RememberedObject:
    """An object after a look that found it: place fused by information, size and yaw from where they were seen best.

    A look from where the last one was taken is discounted: its errors are the same, so it must not count as new. So is
    the place from a direction that it was seen from before, by the share of the camera's errors that repeats.

    Args:
        was_there: whether the look did not see its remembered place empty. Where looks keep finding the object to one
            side of its place, farther than errors explain, it was moved a little: its place is taken from this look
            alone. To see the old place empty makes that likelier.
    """
    new = _newness(known, now)
    before, gained, directions = _before(known, now, new)
    apart = now.seen.center - known.center
    step = np.linalg.solve(np.linalg.cholesky(before + now.covariance), apart)
    drift = _DRIFT_KEPT * known.drift + gained * step * min(1.0, _MOST_STEP / max(float(np.linalg.norm(step)), 1e-9))
    if drift @ drift > _MOST_DRIFT - (0.0 if was_there else _EMPTY_DRIFT):
        here = moved(known, now)
        return replace(here, log_odds=max(known.log_odds, here.log_odds))
    center, covariance = _fused(known.center, before, now.seen.center, now.covariance / gained)
    shape = now.errors.repeated * (_SHAPE_SHARE * known.size[[0, 0, 2]]) ** 2
    covariance = covariance + np.diag(np.maximum(shape - np.diag(covariance), 0))
    size, yaw = _extent(known, now, new)
    through = min(now.through, _MOST_THROUGH) - known.through
    return replace(
        known,
        labels=known.labels | {now.seen.label: known.labels.get(now.seen.label, 0.0) + new * max(now.seen.score, 1e-3)},
        center=center,
        covariance=covariance,
        size=size,
        yaw=yaw,
        log_odds=_found_again(known.log_odds, new, now.seen.score),
        last_seen=max(now.stamp, known.last_seen),
        last_looked=max(now.stamp, known.last_looked),
        observations=known.observations + 1,
        view=(now.source, now.pose),
        quality=max(now.quality, known.quality),
        drift=drift,
        directions=directions,
        through=known.through + new * through / min(known.observations + 1, 10),
    )


def moved(known: RememberedObject, now: Sighting) -> RememberedObject:
    """An object that is now at another place, under its old id."""
    labels = known.labels | {now.seen.label: known.labels.get(now.seen.label, 0.0) + max(now.seen.score, 1e-3)}
    observations = known.observations + 1
    return replace(first_seen(now), id=known.id, labels=labels, first_seen=known.first_seen, observations=observations)


def after_missing(
    log_odds: Array, seen: Visibility, asked_for: NDArray[np.bool_], met: Array, settled: NDArray[np.bool_]
) -> Array:
    """Log-odds [N] of N objects after a look that did not find them.

    Only what the look could see counts. To see through a place speaks against the object, the less the likelier the
    look has missed it by an error of the pose. That the place is filled speaks against it if the object was asked for
    and large enough in the image to be found, and for it if it was too small.

    Args:
        met: [N] probability, 0..1, that a ray to an object that is there meets it.
        settled: [N] whether it is known well and nothing else was found in its place: it is there while that is filled.
    """
    share = seen.share_through
    through = np.maximum(log_odds + seen_past(met) * share, -_MOST_LOG_ODDS)
    telling = np.clip((seen.pixels - _OFTEN_MISSED) / (_SELDOM_MISSED - _OFTEN_MISSED), 0, 1)
    least = np.minimum(log_odds, np.where(settled, _SETTLED_LOG_ODDS, _FILLED_LOG_ODDS))
    filled = np.maximum(log_odds + _NOT_FOUND * telling * (1 - share), least)
    backed = np.minimum(log_odds + _STILL_FILLED * (1 - share), np.maximum(log_odds, _DOUBTED_LOG_ODDS))
    still = np.where(log_odds < GONE_LOG_ODDS, log_odds, backed)
    missed = np.where(telling > 0, np.where(asked_for, filled, log_odds), still)
    missed = np.where(seen.clear >= CLEAR, missed, log_odds)
    after: Array = np.where(seen.empty, through, missed)
    return after


def united(known: RememberedObject, double: RememberedObject) -> RememberedObject:
    """An object that was taken for two: its place is the one that is better known."""
    labels = {name: known.labels.get(name, 0.0) + double.labels.get(name, 0.0) for name in known.labels | double.labels}
    return replace(
        known,
        labels=labels,
        log_odds=max(known.log_odds, double.log_odds),
        first_seen=min(known.first_seen, double.first_seen),
        last_seen=max(known.last_seen, double.last_seen),
        last_looked=max(known.last_looked, double.last_looked),
        observations=known.observations + double.observations,
    )


def doubted(known: RememberedObject, sigma_m: float) -> RememberedObject:
    """An object after the map has moved by an unknown amount: it is there, but its place is less sure."""
    return replace(
        known, covariance=known.covariance + np.eye(3) * sigma_m**2, log_odds=min(known.log_odds, _DOUBTED_LOG_ODDS)
    )


def seen_past(met: Array) -> Array:
    """Log-odds [N], 0 or less, of seeing through the places of N objects; `met` as in `after_missing`."""
    past: Array = np.log(1 - (1 - math.exp(_SEEN_THROUGH)) * met)
    return past


def _detection(score: float) -> float:
    """Log-odds that a detection adds: its own, for the score is a calibrated probability, kept within reason."""
    p = min(max(score, 0.05), 0.97)
    return math.log(p / (1 - p))


def _before(known: RememberedObject, now: Sighting, new: float) -> tuple[Array, float, Array]:
    """Before a look is fused: the covariance [3, 3], what share of the look is news, and the directions after it."""
    start, variance = known.directions, float(np.trace(known.covariance)) / 3
    if not start.any():  # of an older version, or added by hand: as if seen from everywhere
        start = start + np.array([1 / (DIRECTIONS * variance), 0.0])
    after = now.added_to(start, new)
    fused = place_variance(start, now.errors)
    before = known.covariance * max(1.0, fused / variance) + np.eye(3) * _MOVED_VARIANCE
    gained = (1 / place_variance(after, now.errors) - 1 / fused) * float(np.trace(now.covariance)) / 3
    return before, min(max(gained, _LEAST_NEW), new), after


def _fused(first: Array, first_covariance: Array, second: Array, second_covariance: Array) -> tuple[Array, Array]:
    """The best estimate [3] of two independent ones, and its covariance [3, 3]."""
    gain = first_covariance @ np.linalg.inv(first_covariance + second_covariance)
    rest = np.eye(3) - gain
    # Joseph's form stays symmetric and positive.
    covariance = rest @ first_covariance @ rest.T + gain @ second_covariance @ gain.T
    return first + gain @ (second - first), covariance


def _found_again(log_odds: float, new: float, score: float) -> float:
    """After a detection. One from where the last look was taken adds little, but what it says by itself stands."""
    found = _detection(score)
    return min(max(max(log_odds, -1.0) + new * max(found, 0.0), found), _MOST_LOG_ODDS)


def _newness(known: RememberedObject, now: Sighting) -> float:
    """0..1: how independent a look is of the one that last found the object."""
    if known.view is None or known.view[0] != now.source:
        return 1.0
    metres, radians = known.view[1].apart(now.pose)
    return max(_LEAST_NEW, 1 - math.exp(-((metres / _STILL_M) ** 2 + (radians / _STILL_RAD) ** 2)))


def _extent(known: RememberedObject, now: Sighting, new: float) -> tuple[Array, float]:
    """Size and yaw: averaged where both looks had the box at one angle, else those of the better look."""
    seen, quality = now.seen, now.quality
    turn = (seen.yaw - known.yaw + math.pi / 4) % (math.pi / 2) - math.pi / 4  # boxes repeat after a quarter
    if abs(turn) > _SAME_YAW:
        return (seen.size, seen.yaw) if quality > known.quality else (known.size, known.yaw)
    quarters = round((seen.yaw - known.yaw - turn) / (math.pi / 2))
    size = seen.size[[1, 0, 2]] if quarters % 2 else seen.size
    share = new * quality / (new * quality + known.quality * min(known.observations, 10))
    return known.size + share * (size - known.size), known.yaw + share * turn
