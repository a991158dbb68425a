"""Masks and depth in, 3D boxes out: the geometry stage, for all objects of one image at once.

Steps: edge pixels whose depth hangs between two surfaces are dropped, the others back-projected, grouped into voxels,
cleaned of statistical outliers and reduced to the largest DBSCAN cluster (`cloud.py`). Cleaning decides on voxels; the
box is the extent of the *pixels* in the voxels that are left, so that coarse voxels cost no precision.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from n3d_core.geometry import Box3D, Camera
from training.lift.cloud import dbscan, largest_clusters, separate, statistical_inliers, voxelise
from training.lift.completion import CompletionConfig, complete, find_support
from training.lift.object_mask import Box2D, ObjectMask
from training.lift.rules import (
    RulesConfig,
    border_share,
    box_reason,
    clip_box,
    contained_masks,
    image_reason,
    quality,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CleanConfig:
    """How points are cleaned. A voxel is the object's apparent size over `voxels_across`, but not finer than the noise.

    Attributes:
        erode_pixels: width of the rim of a mask that is checked for hanging pixels.
        edge_jump: how far nearer and further its neighbours must lie for a rim pixel to hang, as a share of the size.
        voxels_across: voxels along the diagonal of the object as it appears.
        noise: depth noise at 1 m in metres; it grows with the square of the distance.
        smooth_from: noise, as a share of the size, from which depth is averaged over 3x3 pixels of the object.
        outlier_neighbours, outlier_ratio: of the statistical outlier removal.
        outlier_fill: a voxel with more than this share of the mean number of points is no outlier (thin parts).
        cluster_radius: of DBSCAN, in voxels.
        cluster_points: least neighbours of a core point, itself among them.
        fragment_share: clusters besides the largest are kept from this share of the points on, at its depth; 1 keeps
            the largest alone.
    """

    erode_pixels: int = 2
    edge_jump: float = 0.10
    voxels_across: int = 16
    noise: float = 0.002
    smooth_from: float = 0.003
    outlier_neighbours: int = 12
    outlier_ratio: float = 3.0
    outlier_fill: float = 0.1
    cluster_radius: float = 2.0
    cluster_points: int = 4
    fragment_share: float = 0.05


@dataclass(frozen=True)
class Candidate:
    """One annotated object of an image: what the geometry stage starts from.

    Attributes:
        label: its class or phrase.
        box: left, top, right, bottom in pixels.
        mask: its pixels, None where there are none.
        crowd: whether the annotation stands for a group.
    """

    label: str
    box: Box2D
    mask: ObjectMask | None
    crowd: bool = False


@dataclass(frozen=True)
class LiftedObject:
    """One object in 3D.

    Attributes:
        index: which candidate it was.
        visible: box of the seen surface in the optical frame.
        whole: box of the whole object by the completion rule; the visible box where that is off.
        box2d: the annotated 2D box within the image.
        points: number of points behind the boxes.
        depth_share: share of the mask with a depth.
        kept_share: share of those points that survived cleaning.
        border: share of the 2D box's outline on the image's border.
        supported: whether the plane it stands on was measured.
        quality: see `rules.quality`.
        cloud: the cleaned points [n, 3], float32.
    """

    index: int
    visible: Box3D
    whole: Box3D
    box2d: Box2D
    points: int
    depth_share: float
    kept_share: float
    border: float
    supported: bool
    quality: float
    cloud: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Lifted:
    """Result of one image: its objects, and how many candidates fell to which rule."""

    objects: list[LiftedObject]
    rejected: Counter[str]


@dataclass
class _Work:
    """A candidate on its way through the stage."""

    index: int
    candidate: Candidate
    mask: ObjectMask
    box2d: Box2D
    points: Floats = field(default_factory=lambda: np.zeros((3, 0)))
    edge: float = 0.0
    depth_share: float = 0.0


def lift(
    candidates: list[Candidate],
    depth: NDArray[np.float32],
    camera: Camera,
    clean: CleanConfig | None = None,
    rules: RulesConfig | None = None,
    completion: CompletionConfig | None = None,
    down: Floats | None = None,
) -> Lifted:
    """Lifts the annotated objects of one image.

    Args:
        candidates: annotated objects.
        depth: metres [H, W] along the optical axis, NaN (or not positive) for invalid.
        camera: intrinsics of that image.
        clean: how points are cleaned.
        rules: which objects are kept.
        completion: how the whole object is inferred; None keeps the visible box.
        down: direction of gravity [3] in the optical frame where known.
    """
    clean, rules = clean or CleanConfig(), rules or RulesConfig()
    rejected: Counter[str] = Counter()
    works = _select(candidates, camera, rules, rejected)
    works = [w for w in works if _back_project(w, depth, camera, clean, rules, rejected)]
    if not works:
        return Lifted([], rejected)
    kept = _clean([w.points for w in works], np.array([w.edge for w in works]), clean)
    taken = _taken(candidates, camera) if completion else None
    objects = []
    for work, (points, cluster_share) in zip(works, kept, strict=True):
        if points.shape[1] < rules.min_points:
            rejected["few_points"] += 1
        elif cluster_share < rules.min_cluster_share:
            rejected["fragmented"] += 1
        else:
            _finish(work, points, depth, taken, camera, rules, completion, down, objects, rejected)
    return Lifted(objects, rejected)


def _select(candidates: list[Candidate], camera: Camera, rules: RulesConfig, rejected: Counter[str]) -> list[_Work]:
    works = []
    for index, candidate in enumerate(candidates):
        box = clip_box(candidate.box, camera.width, camera.height)
        if candidate.crowd or box is None:
            rejected["crowd" if candidate.crowd else "box_outside"] += 1
            continue
        reason = image_reason(candidate.mask, box, camera.width, camera.height, rules)
        if reason or candidate.mask is None:
            rejected[reason or "no_mask"] += 1
            continue
        works.append(_Work(index, candidate, candidate.mask, box))
    inner = contained_masks([w.mask for w in works], [w.candidate.label for w in works], rules.contained_share)
    rejected["contained"] += len(inner)
    if not rejected["contained"]:
        del rejected["contained"]
    return [w for i, w in enumerate(works) if i not in inner]


def _back_project(
    work: _Work,
    depth: NDArray[np.float32],
    camera: Camera,
    clean: CleanConfig,
    rules: RulesConfig,
    rejected: Counter[str],
) -> bool:
    """Fills in the points of an object; False (and counted) where its depth is missing."""
    mask, rim = work.mask, clean.erode_pixels
    left, top = max(mask.left - rim, 0), max(mask.top - rim, 0)
    right, bottom = min(mask.right + rim, camera.width), min(mask.bottom + rim, camera.height)
    z = depth[top:bottom, left:right]
    own = np.zeros(z.shape, np.uint8)
    own[mask.top - top : mask.bottom - top, mask.left - left : mask.right - left] = mask.pixels
    use = (own > 0) & (z > 0)
    count = int(np.count_nonzero(use))
    work.depth_share = count / mask.area
    if work.depth_share < rules.min_depth_share:
        rejected["depth_invalid"] += 1
        return False
    if count < rules.min_points:
        rejected["few_points"] += 1
        return False
    middle = float(np.median(z[use]))
    size = float(np.hypot(*mask.pixels.shape)) * middle / camera.fx
    work.edge = max(size / clean.voxels_across, clean.noise * middle**2)
    if rim:
        use &= ~_hanging(z, own, rim, clean.edge_jump * size)
    z = _smooth(z, use, clean.smooth_from * size)
    v, u = np.nonzero(use)
    at = z[v, u].astype(np.float64)
    work.points = np.stack([(u + (left - camera.cx)) * at / camera.fx, (v + (top - camera.cy)) * at / camera.fy, at])
    if len(at) < rules.min_points:
        rejected["few_points"] += 1
        return False
    return True


def _hanging(z: NDArray[np.float32], own: NDArray[np.uint8], rim: int, jump: float) -> NDArray[np.bool_]:
    """Pixels of the mask's rim whose depth lies between a nearer and a further surface: the sensor mixed the two."""
    core = cv2.erode(own, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    known = z > 0
    near = cv2.erode(np.where(known, z, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    far = cv2.dilate(np.where(known, z, np.float32(0)), np.ones((3, 3), np.uint8))
    return np.asarray((core == 0) & (far - z > jump) & (z - near > jump))


def _smooth(z: NDArray[np.float32], use: NDArray[np.bool_], least: float) -> NDArray[np.float32]:
    """Depth averaged over the object's pixels within 3x3, if its noise (a robust deviation) is over `least` metres.

    Pixels that differ from their mean by more than six deviations lie on an edge and stay.
    """
    weight = use.astype(np.float32)
    own = np.where(use, z, np.float32(0))
    mean = cv2.blur(own, (3, 3)) / np.maximum(cv2.blur(weight, (3, 3)), np.float32(1e-6))
    gap = np.abs(mean - own)
    noise = 1.4826 * float(np.median(gap[use]))
    return np.where(use & (gap < 6 * noise), mean, z) if noise > least else z


def _clean(clouds: list[Floats], edge: Floats, clean: CleanConfig) -> list[tuple[Floats, float]]:
    """The points [3, n] of each object's largest cluster, and their share of all its points."""
    sizes = np.array([c.shape[1] for c in clouds])
    points = np.concatenate(clouds, axis=1)
    voxels = voxelise(points, sizes, edge)
    apart = separate(voxels, gap=float(clean.voxels_across) * 4)
    tree = cKDTree(apart, balanced_tree=False)
    inlier = statistical_inliers(
        tree, voxels.owner, clean.outlier_neighbours, clean.outlier_ratio, clean.voxels_across * 4.0
    )
    filled = np.bincount(voxels.owner, voxels.counts) / np.bincount(voxels.owner)
    inlier |= voxels.counts > clean.outlier_fill * filled[voxels.owner]
    labels = dbscan(apart[inlier], clean.cluster_radius, clean.cluster_points)
    best = largest_clusters(
        labels,
        voxels.owner[inlier],
        voxels.counts[inlier],
        voxels.centroids[inlier, 2],
        clean.fragment_share,
        clean.cluster_radius,
    )
    keep = np.zeros(len(inlier), bool)
    keep[np.flatnonzero(inlier)[best]] = True
    chosen = np.sort(voxels.point_values(keep))  # in the order of the pixels, whatever else is in the image
    left = np.bincount(voxels.owner[keep], voxels.counts[keep], minlength=len(sizes)).astype(np.int64)
    parts = np.split(points[:, chosen], np.cumsum(left)[:-1], axis=1)
    return [(part, part.shape[1] / size) for part, size in zip(parts, sizes, strict=True)]


def _finish(
    work: _Work,
    points: Floats,
    depth: NDArray[np.float32],
    taken: NDArray[np.bool_] | None,
    camera: Camera,
    rules: RulesConfig,
    completion: CompletionConfig | None,
    down: Floats | None,
    objects: list[LiftedObject],
    rejected: Counter[str],
) -> None:
    low, high = points.min(1), points.max(1)
    kept_share = points.shape[1] / work.points.shape[1]
    visible = whole = box_between(work.candidate.label, low, high)
    supported = False
    if completion is not None and taken is not None:
        gravity = np.array([0.0, 1.0, 0.0]) if down is None else down
        some = np.ascontiguousarray(points[:, :: max(1, points.shape[1] // completion.sample)].T)
        support = find_support(some, work.mask, depth, taken, camera, gravity, completion)
        whole = box_between(work.candidate.label, *complete(some, low, high, support, depth, camera, completion))
        supported = support.measured
    border = border_share(work.box2d, camera.width, camera.height)
    hull = visible.image_box(camera)
    score = quality(
        work.depth_share,
        kept_share,
        points.shape[1],
        border,
        overlap_2d(hull, work.box2d) if hull else 0.0,
    )
    reason = box_reason(low, high, rules) or ("low_quality" if score < rules.min_quality else None)
    if reason:
        rejected[reason] += 1
        return
    objects.append(
        LiftedObject(
            work.index,
            visible,
            whole,
            work.box2d,
            points.shape[1],
            work.depth_share,
            kept_share,
            border,
            supported,
            score,
            points.T.astype(np.float32),
        )
    )


def _taken(candidates: list[Candidate], camera: Camera) -> NDArray[np.bool_]:
    """Pixels [H, W] of any annotated object."""
    taken = np.zeros((camera.height, camera.width), bool)
    for candidate in candidates:
        if (mask := candidate.mask) is not None:
            taken[mask.top : mask.bottom, mask.left : mask.right] |= mask.pixels
    return taken


def box_between(label: str, low: Floats, high: Floats) -> Box3D:
    """The box between its lowest and highest corner [3]."""
    c, s = (low + high) / 2, high - low
    return Box3D(label, (float(c[0]), float(c[1]), float(c[2])), (float(s[0]), float(s[1]), float(s[2])))


def overlap_2d(a: Box2D, b: Box2D) -> float:
    """Intersection over union of two 2D boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0.0) * max(h, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0
