"""Which remembered object each observation is: the cheapest assignment within a gate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import optional
from n3d_core.memory.database import Places
from n3d_core.memory.observations import Array, Observation, Pose

_GATE = 25.0  # chi-square, three degrees of freedom: one in 60,000 lies beyond
_EXTENT_SHARE = 0.15  # of an object's size: how far the centre of a box moves with the side it is seen from
# Penalties in the units of squared standard deviations. Place outweighs any label, but only within narrow bounds.
_OTHER_COLOR, _OTHER_NOUN, _MOST_PENALTY = 6.0, 10.0, 20.0
_SIZE_WEIGHT = 2.0


def assign(places: Places, seen: Sequence[Observation], pose: Pose) -> dict[int, int]:
    """Index of the object for each observation that is one of them; the others are new.

    The cost of a pair is the squared Mahalanobis distance of the centres (covariances of the object, the observation
    and the pose, and a share of the size), with penalties for another label, another size and an object that is likely
    to be gone. Place outweighs the label, so that a mug that is called a cup stays one object; a gate keeps what is too
    far apart.
    """
    if not places.ids or not seen:
        return {}
    with optional("remembering objects needs scipy", "'n3d-ros[memory]'"):
        from scipy.optimize import linear_sum_assignment
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
        from scipy.spatial import cKDTree
    tree, widest = cKDTree(places.centers), _reach(places.sizes, places.covariances).max()
    pairs: dict[tuple[int, int], float] = {}
    for number, one in enumerate(seen):
        spread = one.covariance + pose.covariance_at(one.center)
        radius = widest + _reach(one.size[None], spread[None])[0]
        close = np.array(tree.query_ball_point(one.center, radius), int)
        if len(close):
            costs = _costs(places, close, one, spread)
            within = zip(close[costs < _GATE].tolist(), costs[costs < _GATE].tolist(), strict=True)
            pairs |= {(number, index): cost for index, cost in within}
    if not pairs:
        return {}
    # Observations and objects that no pair connects do not compete, so that each group is a small problem of its own.
    rows, columns = np.array(list(pairs)).T
    total = len(seen) + len(places.ids)
    links = coo_array((np.ones(len(rows)), (rows, len(seen) + columns)), shape=(total, total))
    group = connected_components(links, directed=False)[1]
    chosen: dict[int, int] = {}
    for number in np.unique(group[rows]).tolist():
        mine = group[rows] == number
        competing, objects = np.unique(rows[mine]).tolist(), np.unique(columns[mine]).tolist()
        costs = np.array([[pairs.get((r, c), _GATE) for c in objects] for r in competing])
        for row, column in zip(*linear_sum_assignment(costs), strict=True):
            if costs[row, column] < _GATE:
                chosen[competing[row]] = objects[column]
    return chosen


def _reach(sizes: Array, covariances: Array) -> Array:
    """[N]: how far from its centre an object of each size and covariance may still be met, metres."""
    reach: Array = sizes.max(axis=1) / 2 + 3 * np.sqrt(np.trace(covariances, axis1=1, axis2=2))
    return reach


def _costs(places: Places, close: NDArray[np.int64], seen: Observation, spread: Array) -> Array:
    """What it costs to take an observation, whose centre has a covariance `spread`, for each object of `close`."""
    apart, sizes = seen.center - places.centers[close], places.sizes[close]
    slack = (_EXTENT_SHARE * np.minimum(sizes, seen.size).mean(axis=1)) ** 2
    inverse = np.linalg.inv(places.covariances[close] + spread + slack[:, None, None] * np.eye(3))
    distance = np.einsum("ni,nij,nj->n", apart, inverse, apart)
    other = np.array([label_penalty(places.labels[i], seen.label) for i in close.tolist()])
    gone = 2 * np.log1p(np.exp(-places.log_odds[close]))  # -2 log of the probability that it is there
    costs: Array = distance + other + gone + _SIZE_WEIGHT * size_difference(sizes, seen.size)
    return costs


def label_penalty(labels: dict[str, float], name: str) -> float:
    """How much speaks against an object that has been called `labels` (each with its weight) being called `name` now.

    0 for its usual name. Another colour weighs less than another noun, and the more often an object was given its own
    names, the more.
    """
    known = labels.get(name, 0.0)
    if known >= max(labels.values()) / 2:
        return 0.0
    usual, called = max(labels, key=lambda label: labels[label]).split(), name.split()
    least = _OTHER_NOUN if usual[-1:] != called[-1:] else 0.0
    least += _OTHER_COLOR if usual[:-1] != called[:-1] and usual[:-1] and called[:-1] else 0.0
    return min(least + 2 * math.log1p(sum(labels.values()) / (1 + known)), _MOST_PENALTY)


def size_difference(first: Array, second: Array) -> Array:
    """[N]: mean squared logarithm of the ratios of sizes [N, 3] and [3], whichever way their footprints are turned."""
    straight, turned = ((np.log(first / second[order]) ** 2).mean(axis=-1) for order in ([0, 1, 2], [1, 0, 2]))
    smaller: Array = np.minimum(straight, turned)
    return smaller
