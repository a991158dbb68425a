"""How large a camera's errors are, and how much of them repeats: learned from looks at the same objects.

A model errs alike in images taken from nearly the same direction, so ten such looks are not ten times as exact as one.
An error is modelled as the sum of two: one is drawn anew with each look; the other is the same for all looks at an
object from one direction, and partly for looks from anywhere.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from n3d_core.memory.observations import Array

DIRECTIONS = 8
"""Sectors of 45 degrees about the vertical from which an object can be seen."""
_SHARED = 0.4  # of a repeated error's variance that is shared by all directions
_RANGE_RAD = math.radians(35)  # angle between two directions over which the repeated part of errors falls to 1/e
_STEP_COS, _SAME_COS = math.cos(math.radians(15)), math.cos(math.radians(4))
_KEPT_LOOKS, _KEPT_OBJECTS = 7, 500
_MOST_SURPRISE = 8.0  # squared distances count no more than this, in units of what the camera claims
_PRIOR, _MEMORY = 30.0, 3000.0  # looks: how many speak for honest, independent errors, and how many are remembered
_MOST_REPEATED = 0.9
_SPREAD = math.sqrt(2 / 3)  # standard deviation of a squared distance, chi-square with three degrees over three


@dataclass(frozen=True)
class Errors:
    """What is known of a camera's errors.

    Attributes:
        scale: factor on the variances that it claims, 1 or more.
        repeated: share of the variance that looks from one direction have in common, 0..1.
    """

    scale: float = 1.0
    repeated: float = 0.0


HONEST = Errors()
"""Those of a camera of which nothing is known."""


def no_directions() -> Array:
    """[DIRECTIONS, 2] of an object not yet seen: information in 1/m^2, and the least variance of a look in m^2."""
    return np.zeros((DIRECTIONS, 2))


def seen_from(directions: Array, offset: Array, claimed: float, pose: float, weight: float) -> Array:
    """[DIRECTIONS, 2] after one more look.

    Args:
        offset: [3] from the object to the camera in the map, metres.
        claimed: the look's own variance along each axis, as its camera claims it, m^2.
        pose: variance that the pose's error adds, m^2.
        weight: 0..1, how much of the look is new.
    """
    sector = int((math.atan2(offset[1], offset[0]) / (2 * math.pi) % 1.0) * DIRECTIONS) % DIRECTIONS
    after = directions.copy()
    information, least = after[sector]
    after[sector] = information + weight / (claimed + pose), min(least, claimed) if information else claimed
    return after


def place_variance(directions: Array, errors: Errors) -> float:
    """Variance in m^2 along each axis of a place fused of all looks from `directions`; infinite without any."""
    seen = directions[directions[:, 0] > 0]
    if not len(seen):
        return math.inf
    repeated = errors.repeated * seen[:, 1]
    own = (1 - _SHARED) * repeated + (1 - errors.repeated) / seen[:, 0]
    return errors.scale * float(1 / (1 / own).sum() + _SHARED * repeated.min())


class CameraErrors:
    """Learns one camera's errors. Where two looks find one object tells how far both err.

    From far apart directions the squared distance is that of independent errors; what is less of it for looks from
    nearly one direction has repeated.
    """

    def __init__(self) -> None:
        self._products = np.diag([_PRIOR, _PRIOR])
        self._sums = np.array([_PRIOR, 0.0])
        self._looks: OrderedDict[int, list[tuple[Array, Array, float, float]]] = OrderedDict()

    def to_bytes(self) -> bytes:
        """What was learned, with a checksum. Looks that later ones would be compared with are left out."""
        content = np.concatenate([self._products.ravel(), self._sums]).tobytes()
        return zlib.crc32(content).to_bytes(4, "big") + content

    def restore(self, kept: bytes) -> None:
        """Takes over what `to_bytes` gave. What is damaged is left out: it is learned again."""
        content = np.frombuffer(kept[4:]) if len(kept) == 4 + 6 * 8 else np.zeros(6)
        products = content[:4].reshape(2, 2)
        intact = kept[:4] == zlib.crc32(kept[4:]).to_bytes(4, "big") and np.isfinite(content).all()
        if intact and np.linalg.det(products) > 0:
            self._products, self._sums = products.copy(), content[4:].copy()

    def forget_places(self) -> None:
        """Compares no later look with those before: the map has moved."""
        self._looks.clear()

    def current(self) -> Errors:
        """The errors as far as they are known."""
        (ss, sg), (_, gg) = self._products.tolist()
        total, shared = self._sums.tolist()
        determinant = ss * gg - sg * sg
        scale, repeated = (gg * total - sg * shared) / determinant, (ss * shared - sg * total) / determinant
        if scale < 1:
            scale, repeated = 1.0, (shared - sg) / gg
        repeated -= _SPREAD * math.sqrt(ss / determinant)  # what may be chance is not believed
        if repeated < 0:
            scale, repeated = max(total / ss, 1.0), 0.0
        return Errors(scale, min(repeated / scale, _MOST_REPEATED))

    def add(
        self, identity: int, center: Array, offset: Array, claimed: float, pose: float, *, moved: bool = False
    ) -> None:
        """Takes in where a look found an object; arguments as in `seen_from`, `center` [3] in the map.

        Args:
            moved: whether the object is at another place than before.
        """
        toward = offset / max(float(np.linalg.norm(offset)), 1e-9)
        kept = self._looks.setdefault(identity, [])
        if moved:
            kept.clear()
        self._looks.move_to_end(identity)
        pairs = [(earlier, float(toward @ earlier[1])) for earlier in kept]
        pairs = [(earlier, cosine) for earlier, cosine in pairs if cosine < _SAME_COS]
        for (where, _, variance, pose_variance), cosine in pairs:
            apart = center - where
            excess = float(apart @ apart) / 3 - pose - pose_variance
            surprise = min(excess / (claimed + variance), _MOST_SURPRISE)
            row = np.array([1.0, -math.exp(-math.acos(max(cosine, -1.0)) / _RANGE_RAD)])
            self._products += np.outer(row, row) / len(pairs)
            self._sums += row * (surprise / len(pairs))
        self._products *= 1 - 1 / _MEMORY
        self._sums *= 1 - 1 / _MEMORY
        if len(kept) > 1 and kept[-1][1] @ kept[-2][1] > _STEP_COS:  # the last is always kept, the others apart
            kept.pop()
        kept.append((center, toward, claimed, pose))
        del kept[:-_KEPT_LOOKS]
        if len(self._looks) > _KEPT_OBJECTS:
            self._looks.popitem(last=False)
