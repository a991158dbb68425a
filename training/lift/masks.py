"""Converts masks: run lengths and polygons (COCO's forms, through pycocotools), and images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from n3d_core.geometry import Camera
from training.lift.completion import ransac_plane, surroundings
from training.lift.object_mask import Box2D, ObjectMask
from training.lift.problems import ImageProblem
from training.lift.record import Rle


def to_rle(segmentation: Any, height: int, width: int) -> Rle | None:
    """COCO's `segmentation` (polygons, or run lengths as list or string) as compressed run lengths; None if empty.

    Raises:
        ValueError: if it has another form.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        polygons = [[float(v) for v in p] for p in segmentation if len(p) >= 6]
        if not polygons:
            return None
        _check_polygons(polygons, height, width)
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        rle = coco_mask.frPyObjects(segmentation, *segmentation["size"])
    elif isinstance(segmentation, dict) and "counts" in segmentation:
        rle = segmentation
    else:
        raise ValueError(f"a segmentation must be polygons or run lengths; got {type(segmentation).__name__}")
    counts = rle["counts"]
    return {"size": [int(v) for v in rle["size"]], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _check_polygons(polygons: list[list[float]], height: int, width: int) -> None:
    """Rejects polygons that reach far outside the image: pycocotools walks along every edge and would not end."""
    most = 4 * max(height, width)
    for polygon in polygons:
        if len(polygon) % 2 or not all(-most <= v <= most for v in polygon):  # not so for NaN
            raise ValueError(f"a polygon of {len(polygon)} numbers is far outside the image or not finite")


def decode(rle: Rle, height: int, width: int) -> ObjectMask:
    """Decodes run lengths to a mask of an image of `height` x `width`.

    Raises:
        ImageProblem: `mask_damaged` if they have another size or cannot be decoded.
    """
    try:
        if list(rle["size"]) != [height, width]:
            raise ImageProblem("mask_damaged", f"mask is {rle['size']} but the image [{height}, {width}] (H, W)")
        whole = coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise ImageProblem("mask_damaged", f"run lengths cannot be decoded: {error}") from error
    return ObjectMask.from_image(whole)


def encode(mask: ObjectMask, height: int, width: int) -> Rle:
    """A mask as compressed run lengths of the whole image."""
    rle = coco_mask.encode(np.asfortranarray(mask.to_image(height, width), dtype=np.uint8))
    return {"size": [height, width], "counts": rle["counts"].decode()}


def read_picture(path: str, height: int, width: int) -> ObjectMask:
    """Reads a mask from an image file (any pixel but black), resized to the image by nearest neighbour.

    Raises:
        ImageProblem: `mask_damaged` if the file cannot be read.
    """
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ImageProblem("mask_damaged", f"{path}: cannot be read as an image")
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    return ObjectMask.from_image(image)


def from_depth(box: Box2D, depth: NDArray[np.float32], camera: Camera) -> ObjectMask:
    """Segments the object in a 2D box by depth alone.

    Removes the plane fitted around the box, then takes the connected region (without depth jumps) that covers most of
    the box's middle. Less accurate than a mask; docs/data-engine.md has the figures.

    Args:
        box: left, top, right, bottom in pixels.
        depth: metres [H, W], NaN for invalid.
        camera: its intrinsics.
    """
    nothing = ObjectMask(0, 0, np.zeros((0, 0), bool))
    left, top = max(round(box[0]), 0), max(round(box[1]), 0)
    right, bottom = min(round(box[2]), camera.width), min(round(box[3]), camera.height)
    if right - left < 4 or bottom - top < 4:
        return nothing
    z = depth[top:bottom, left:right]
    h, w = z.shape
    middle = np.zeros(z.shape, bool)
    middle[h // 4 : h - h // 4, w // 4 : w - w // 4] = True
    seen = z[middle & (z > 0)]
    if len(seen) < 10:
        return nothing
    near = float(np.percentile(seen, 35))
    width = near * max(h, w) / camera.fx
    inside = (np.abs(z - near) < 1.2 * width) & (np.abs(_jump(z)) < 0.10 * width)
    inside &= ~_ground(z, depth, (left, top, right, bottom), camera, near, width)
    _, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    votes = np.bincount(parts[middle & inside].ravel(), minlength=1)
    if len(votes) < 2:
        return nothing
    grown = cv2.dilate((parts == int(np.argmax(votes))).astype(np.uint8), np.ones((3, 3), np.uint8))
    own = ObjectMask.from_image(grown.astype(bool) & (z > 0))
    return ObjectMask(own.left + left, own.top + top, own.pixels)


def _jump(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest difference in depth within 3x3 pixels, ignoring invalid ones."""
    known = z > 0
    high = cv2.dilate(np.where(known, z, np.float32(0)), np.ones((3, 3), np.uint8))
    low = cv2.erode(np.where(known, z, np.float32(1e6)), np.ones((3, 3), np.uint8))
    return np.asarray(np.where(known, high - low, 0), np.float32)


def _ground(
    z: NDArray[np.float32],
    depth: NDArray[np.float32],
    window: tuple[int, int, int, int],
    camera: Camera,
    near: float,
    width: float,
) -> NDArray[np.bool_]:
    """Pixels of a window on or below the plane around it; none if that plane is not the object's ground.

    At the lower edge of the box, the ground must be at the object's own distance (`near`, within its `width`).
    """
    left, top, right, bottom = window
    hole = ObjectMask(left, top, np.ones(z.shape, bool))
    around = surroundings(hole, depth, np.zeros(depth.shape, bool) | hole.to_image(*depth.shape), camera, 0.35)
    if len(around) < 12:
        return np.zeros(z.shape, bool)
    plane = ransac_plane(around, 0.03 * width)
    if plane is None:
        return np.zeros(z.shape, bool)
    foot = np.array([((left + right) / 2 - camera.cx) / camera.fx, (bottom - camera.cy) / camera.fy, 1.0])
    meets = plane[1] / (plane[0] @ foot) if abs(plane[0] @ foot) > 1e-6 else np.inf
    if not abs(meets - near) < width:
        return np.zeros(z.shape, bool)
    points = camera.cropped(left, top, right - left, bottom - top).back_project(z)
    height = points @ plane[0].astype(np.float32) - np.float32(plane[1])
    return np.asarray(height < 0.04 * width)
