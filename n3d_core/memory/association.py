"""Which remembered object each observation is: the cheapest assignment within a gate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import optional
from n3d_core.memory.database import Places
from n3d_core.memory.objects import usual_label
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
    centers, sizes = np.array([one.center for one in seen]), np.array([one.size for one in seen])
    spreads = np.array([one.covariance + pose.covariance_at(one.center) for one in seen])
    radii = _reach(places.sizes, places.covariances).max() + _reach(sizes, spreads)
    close = cKDTree(places.centers).query_ball_point(centers, radii)
    rows = np.repeat(np.arange(len(seen)), [len(one) for one in close])
    columns = np.array([index for one in close for index in one], int)
    labels = [seen[row].label for row in rows.tolist()]
    costs = _costs(places, columns, labels, centers[rows], sizes[rows], spreads[rows])
    likely = costs < _GATE
    rows, columns, costs = rows[likely], columns[likely], costs[likely]
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    chosen = dict(zip(rows[alone].tolist(), columns[alone].tolist(), strict=True))
    rows, columns, costs = rows[~alone], columns[~alone], costs[~alone]
    if not len(rows):
        return chosen
    # Observations and objects that no pair connects do not compete, so that each group is a small problem of its own.
    total = len(seen) + len(places.ids)
    links = coo_array((np.ones(len(rows)), (rows, len(seen) + columns)), shape=(total, total))
    group = connected_components(links, directed=False)[1]
    for number in np.unique(group[rows]).tolist():
        mine = group[rows] == number
        competing, row = np.unique(rows[mine], return_inverse=True)
        objects, column = np.unique(columns[mine], return_inverse=True)
        table = np.full((len(competing), len(objects)), _GATE)
        table[row, column] = costs[mine]
        for i, j in zip(*linear_sum_assignment(table), strict=True):
            if table[i, j] < _GATE:
                chosen[int(competing[i])] = int(objects[j])
    return chosen


def _reach(sizes: Array, covariances: Array) -> Array:
    """[N]: how far from its centre an object of each size and covariance may still be met, metres."""
    reach: Array = sizes.max(axis=1) / 2 + 3 * np.sqrt(np.trace(covariances, axis1=1, axis2=2))
    return reach


def _costs(
    places: Places, columns: NDArray[np.int64], labels: Sequence[str], centers: Array, sizes: Array, spreads: Array
) -> Array:
    """[N]: what it costs to take each of N observations for the object of `columns` beside it."""
    apart, known = centers - places.centers[columns], places.sizes[columns]
    slack = (_EXTENT_SHARE * np.minimum(known, sizes).mean(axis=1)) ** 2
    spread = places.covariances[columns] + spreads + slack[:, None, None] * np.eye(3)
    distance = np.einsum("ni,ni->n", apart, np.linalg.solve(spread, apart[..., None])[..., 0])
    gone = 2 * np.log1p(np.exp(-places.log_odds[columns]))  # -2 log of the probability that it is there
    costs: Array = distance + gone + _SIZE_WEIGHT * size_difference(known, sizes)
    for pair in np.flatnonzero(costs < _GATE).tolist():  # the others are too far apart under any name
        costs[pair] += label_penalty(places.labels[columns[pair]], labels[pair])
    return costs


def overlapping(centers: Array, sizes: Array, yaws: Array, least: float) -> list[tuple[int, int, float]]:
    """Pairs (i < j) of N boxes whose 3D IoU is above `least`, and that IoU."""
    if len(yaws) < 2:
        return []
    with optional("remembering objects needs scipy", "'n3d-ros[memory]'"):
        from scipy.spatial import cKDTree
    pairs = cKDTree(centers).query_pairs(float(sizes.max()), output_type="ndarray")
    if not len(pairs):
        return []
    first, second = pairs.T
    one_way = shared_volume(centers, sizes, yaws, first, second)
    shared = np.minimum(one_way, shared_volume(centers, sizes, yaws, second, first))
    return [(int(first[k]), int(second[k]), float(shared[k])) for k in np.flatnonzero(shared > least).tolist()]


def shared_volume(
    centers: Array, sizes: Array, yaws: Array, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Array:
    """[P]: 3D IoU of boxes `first` [P] with the hulls of boxes `second` [P] in the frames of the first."""
    cosine, sine = np.cos(yaws[first]), np.sin(yaws[first])
    x, y, z = (centers[second] - centers[first]).T
    apart = np.abs(np.column_stack([cosine * x + sine * y, cosine * y - sine * x, z]))
    turn = yaws[second] - yaws[first]
    along, across = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    length, width, height = sizes[second].T
    hull = np.column_stack([along * length + across * width, across * length + along * width, height])
    own = sizes[first]
    inside = np.clip(np.minimum((own + hull) / 2 - apart, np.minimum(own, hull)), 0, None).prod(axis=1)
    share: Array = inside / (own.prod(axis=1) + hull.prod(axis=1) - inside)
    return share


def label_penalty(labels: dict[str, float], name: str) -> float:
    """How much speaks against an object that has been called `labels` (each with its weight) being called `name` now.

    0 for its usual name. Another colour weighs less than another noun, and the more often an object was given its own
    names, the more.
    """
    known = labels.get(name, 0.0)
    if known >= max(labels.values()) / 2:
        return 0.0
    usual, called = usual_label(labels).split(), name.split()
    least = _OTHER_NOUN if usual[-1:] != called[-1:] else 0.0
    least += _OTHER_COLOR if usual[:-1] != called[:-1] and usual[:-1] and called[:-1] else 0.0
    return min(least + 2 * math.log1p(sum(labels.values()) / (1 + known)), _MOST_PENALTY)


def size_difference(first: Array, second: Array) -> Array:
    """Mean squared logarithm [...] of the ratios of sizes [..., 3], however their footprints are turned."""
    one, other = np.log(first), np.log(second)
    straight = (one[..., 0] - other[..., 0]) ** 2 + (one[..., 1] - other[..., 1]) ** 2
    turned = (one[..., 0] - other[..., 1]) ** 2 + (one[..., 1] - other[..., 0]) ** 2
    smaller: Array = (np.minimum(straight, turned) + (one[..., 2] - other[..., 2]) ** 2) / 3
    return smaller
