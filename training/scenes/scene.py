"""Renders scenes: a camera's frame, and its ground truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D, Camera, Frame
from n3d_core.geometry.frame_folder import TrueObject, Truth
from training.scenes.clutter import sample_clutter
from training.scenes.layout import Layout, PlacedObject, sample_layout
from training.scenes.renderer import WorldRenderer, choose_backend
from training.scenes.scene_config import SceneConfig
from training.scenes.sensor import noisy_color, noisy_depth
from training.scenes.viewpoint import Viewpoint, sample_viewpoint
from training.scenes.world import build_world

GROUNDABLE_VISIBLE = 0.15
"""Objects with a smaller visible share are not asked for."""

SMALLEST_SHARE = 40 / (640 * 480)
"""Objects that cover a smaller share of the image are not part of the ground truth."""

_LAYOUT, _VIEW, _SENSOR, _CLUTTER = 0, 1, 2, 3  # random streams of one seed
_FINE = 4  # resolution of the grid for silhouettes, relative to the image
_LARGEST = 4  # image widths; larger silhouettes are drawn more coarsely
_NEAREST = 0.05  # metres; points nearer than this are not projected


@dataclass(frozen=True)
class Scene:
    """One view of a scene.

    Attributes:
        frame: the camera's frame, with sensor noise if the config enables it.
        clean_depth: float32 [H, W] metres without noise or holes.
        instances: uint8 [H, W], index + 1 into `truth.objects`, 0 elsewhere.
        truth: objects that cover at least `SMALLEST_SHARE` of the image, each with its amodal box and the visible share
            of its whole silhouette, including the part outside the image.
        gravity: unit vector along gravity in the optical frame.
    """

    seed: int
    view: int
    frame: Frame
    clean_depth: NDArray[np.float32]
    instances: NDArray[np.uint8]
    truth: Truth
    gravity: NDArray[np.float64]


def render(seed: int, config: SceneConfig) -> Scene:
    """The first view of a scene; deterministic on one machine."""
    return render_views(seed, config, 1)[0]


def render_views(seed: int, config: SceneConfig, views: int) -> list[Scene]:
    """The first `views` views of a scene; each view is independent of their number.

    Raises:
        MissingDependencyError: if MuJoCo or OpenGL is missing or does not work.
    """
    choose_backend()  # before MuJoCo is imported, which reads MUJOCO_GL once
    layout = layout_of(seed, config)
    world = build_world(np.random.default_rng((seed, _LAYOUT, 1)), config, layout)
    with WorldRenderer(world) as renderer:
        return [
            view_scene(seed, config, layout, renderer, i, viewpoint_of(seed, config, layout, i)) for i in range(views)
        ]


def layout_of(seed: int, config: SceneConfig) -> Layout:
    """The objects and the clutter of a scene, with their places."""
    layout = sample_layout(np.random.default_rng((seed, _LAYOUT)), config)
    return replace(layout, clutter=sample_clutter(np.random.default_rng((seed, _CLUTTER)), config, layout))


def viewpoint_of(seed: int, config: SceneConfig, layout: Layout, number: int) -> Viewpoint:
    """The camera of one view of a scene."""
    return sample_viewpoint(np.random.default_rng((seed, _VIEW, number)), config, layout)


def is_groundable(item: TrueObject, camera: Camera) -> bool:
    """Whether an object may be asked for: enough of it is visible, and its centre is in the image."""
    u, v = camera.project(np.asarray(item.box.center))
    inside = -0.5 <= u <= camera.width - 0.5 and -0.5 <= v <= camera.height - 0.5
    return bool(inside and item.visible >= GROUNDABLE_VISIBLE)


def view_scene(
    seed: int, config: SceneConfig, layout: Layout, renderer: WorldRenderer, number: int, view: Viewpoint
) -> Scene:
    """One view of a compiled scene; `number` chooses the sensor's noise."""
    color, depth, owners = renderer.render(view)
    instances, truth = _truth(layout.objects, view, owners)
    measured = depth
    if config.noise:
        rng = np.random.default_rng((seed, _SENSOR, number))
        color, measured = noisy_color(color, rng), noisy_depth(depth, view.camera, config, rng)
    frame = Frame(color, measured, view.camera)
    return Scene(seed, number, frame, depth, instances, truth, view.gravity)


def _truth(
    placed: Iterable[PlacedObject], view: Viewpoint, owners: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Truth]:
    """Instance map and ground truth of the visible objects, with the same numbering."""
    pixels = np.bincount(owners.reshape(-1), minlength=256)
    renumber = np.zeros(256, np.uint8)
    objects: list[TrueObject] = []
    for index, item in enumerate(placed):
        seen = int(pixels[index + 1])
        if seen < SMALLEST_SHARE * owners.size:
            continue
        visible = min(1.0, seen / silhouette_area(item, view))
        objects.append(TrueObject(_true_box(item, view), item.cls, item.color, visible))
        renumber[index + 1] = len(objects)
    return renumber[owners], Truth(objects)


def _true_box(item: PlacedObject, view: Viewpoint) -> Box3D:
    """The exact axis-aligned box of the whole object in the optical frame."""
    axes = view.rotation.T
    low, high = item.extent(axes)
    origin = axes @ view.position
    x, y, z = ((low + high) / 2 - origin).tolist()
    width, height, length = (high - low).tolist()
    return Box3D(f"{item.color} {item.cls}", (x, y, z), (width, height, length))


def silhouette_area(item: PlacedObject, view: Viewpoint) -> float:
    """Pixels that the whole object would cover on an unbounded image, without occlusion."""
    hulls = [view.to_optical(points) for points in item.outline]
    points = np.concatenate(hulls)
    if (points[:, 2] < _NEAREST).any():
        return float("inf")  # reaches behind the camera: no finite silhouette
    pixels = view.camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    fine = _FINE * min(1.0, _LARGEST * 64 / max(float((high - low).max()), 1.0))
    canvas = np.zeros(tuple(np.ceil((high - low)[::-1] * fine).astype(int) + 2), np.uint8)
    drawn = ((pixels - low) * fine * 16).round().astype(np.int32)
    start = 0
    for hull in hulls:
        outline = cv2.convexHull(drawn[start : start + len(hull)])
        cv2.fillConvexPoly(canvas, outline, 1, shift=4)
        start += len(hull)
    # filling includes boundary pixels, which adds half a fine pixel all around
    excess = 0.5 * _perimeter(canvas)
    return max(float(canvas.sum()) - excess, 1.0) / fine**2


def _perimeter(mask: NDArray[np.uint8]) -> float:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(sum(cv2.arcLength(c, True) for c in contours))


__all__ = ["Scene", "Truth", "is_groundable", "layout_of", "render", "render_views", "view_scene", "viewpoint_of"]
