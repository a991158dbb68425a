"""Which remembered object each observation is: the cheapest assignment within a gate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n3d_core.errors import MissingDependencyError
from n3d_core.memory.observations import Array, Observation, Pose

_GATE = 16.3  # chi-square, three degrees of freedom: one in a thousand lies beyond
_EXTENT_SHARE = 0.15  # of an object's size: how far the centre of a box moves with the side it is seen from
_OTHER_COLOR, _OTHER_NOUN = 1.5, 4.0  # penalties, in the units of squared standard deviations
_SIZE_WEIGHT = 2.0


def assign(
    labels: Sequence[str],
    centers: Array,
    covariances: Array,
    sizes: Array,
    seen: Sequence[Observation],
    pose: Pose,
) -> dict[int, int]:
    """Index of the object for each observation that is one of them; the others are new.

    The cost of a pair is the squared Mahalanobis distance of the centres (covariances of the object, the observation
    and the pose, and a share of the size), with penalties for another label and another size. Place outweighs the
    label, so that a mug that is called a cup stays one object; a gate keeps what is too far apart.

    Args:
        labels: of N objects; centers [N, 3], covariances [N, 3, 3] and sizes [N, 3] are theirs.
    """
    if not labels or not seen:
        return {}
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingDependencyError("remembering objects needs scipy: pip install 'n3d-ros[memory]'") from error
    costs = np.stack([_costs(labels, centers, covariances, sizes, one, pose) for one in seen])
    rows, columns = linear_sum_assignment(np.minimum(costs, _GATE))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if costs[r, c] < _GATE}


def _costs(
    labels: Sequence[str], centers: Array, covariances: Array, sizes: Array, seen: Observation, pose: Pose
) -> Array:
    """[N]: what it costs to take an observation for each object."""
    apart = seen.center - centers
    costs = np.full(len(labels), 2 * _GATE)
    spread = covariances + seen.covariance + pose.covariance_at(seen.center)
    reach = (sizes.max(axis=1) + seen.size.max()) / 2 + 3 * np.sqrt(np.trace(spread, axis1=1, axis2=2))
    close = np.flatnonzero((apart**2).sum(axis=1) < reach**2)
    if not len(close):
        return costs
    slack = (_EXTENT_SHARE * np.minimum(sizes[close], seen.size).mean(axis=1)) ** 2
    inverse = np.linalg.inv(spread[close] + slack[:, None, None] * np.eye(3))
    distance = np.einsum("ni,nij,nj->n", apart[close], inverse, apart[close])
    other = np.array([label_penalty(labels[i], seen.label) for i in close.tolist()])
    costs[close] = distance + other + _SIZE_WEIGHT * size_difference(sizes[close], seen.size)
    return costs


def label_penalty(first: str, second: str) -> float:
    """0 for one name, more for another colour, most for another noun."""
    if first == second:
        return 0.0
    return _OTHER_COLOR if first.split()[-1:] == second.split()[-1:] else _OTHER_NOUN


def size_difference(first: Array, second: Array) -> Array:
    """[N]: mean squared logarithm of the ratios of sizes [N, 3] and [3], whichever way their footprints are turned."""
    straight, turned = ((np.log(first / second[order]) ** 2).mean(axis=-1) for order in ([0, 1, 2], [1, 0, 2]))
    smaller: Array = np.minimum(straight, turned)
    return smaller
