"""Masks as run lengths and polygons (COCO's forms, through pycocotools) and as pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.lift.errors import ImageProblem
from training.lift.object_mask import Box2D, ObjectMask
from training.lift.record import Rle


def to_rle(segmentation: Any, height: int, width: int) -> Rle | None:
    """COCO's `segmentation` (polygons, or run lengths as list or string) as compressed run lengths; None where empty.

    Raises:
        ValueError: if it is of none of these forms.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        polygons = [[float(v) for v in p] for p in segmentation if len(p) >= 6]
        if not polygons:
            return None
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        rle = coco_mask.frPyObjects(segmentation, *segmentation["size"])
    elif isinstance(segmentation, dict) and "counts" in segmentation:
        rle = segmentation
    else:
        raise ValueError(f"a segmentation of type {type(segmentation).__name__}: polygons or run lengths are wanted")
    counts = rle["counts"]
    return {"size": [int(v) for v in rle["size"]], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def decode(rle: Rle, height: int, width: int) -> ObjectMask:
    """Run lengths as a mask of an image of `height` x `width`.

    Raises:
        ImageProblem: `mask_damaged` if they are of another size or cannot be read.
    """
    if list(rle["size"]) != [height, width]:
        raise ImageProblem("mask_damaged", f"mask is {rle['size']} and the image [{height}, {width}] (H, W)")
    try:
        whole = coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    except (ValueError, RuntimeError, TypeError) as error:
        raise ImageProblem("mask_damaged", f"run lengths cannot be read: {error}") from error
    return ObjectMask.from_image(whole)


def encode(mask: ObjectMask, height: int, width: int) -> Rle:
    """A mask as compressed run lengths of the whole image."""
    rle = coco_mask.encode(np.asfortranarray(mask.to_image(height, width), dtype=np.uint8))
    return {"size": [height, width], "counts": rle["counts"].decode()}


def read_picture(path: str, height: int, width: int) -> ObjectMask:
    """A mask from a picture (anything but black), scaled to the image by nearest neighbour.

    Raises:
        ImageProblem: `mask_damaged` if the file cannot be read.
    """
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ImageProblem("mask_damaged", f"{path}: cannot be read as a picture")
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    return ObjectMask.from_image(image)


def from_depth(box: Box2D, depth: NDArray[np.float32]) -> ObjectMask:
    """The object in a 2D box by its depth alone: the pixels connected to the middle without a jump in depth.

    The depth of the object is the median of the box's inner half; what lies further from it than the box is wide (at
    that depth, for a 60 degree lens) is background, and of the rest the connected part with the most pixels in the
    inner half is the object. Weaker than a mask: ground beside the object stays in; docs/data-engine.md has the loss.
    """
    height, width = depth.shape
    left, top = max(int(round(box[0])), 0), max(int(round(box[1])), 0)
    right, bottom = min(int(round(box[2])), width), min(int(round(box[3])), height)
    z = depth[top:bottom, left:right]
    if z.size == 0:
        return ObjectMask(0, 0, np.zeros((0, 0), bool))
    core = np.zeros(z.shape, bool)
    core[z.shape[0] // 4 : -(z.shape[0] // 4) or None, z.shape[1] // 4 : -(z.shape[1] // 4) or None] = True
    seen = z[core & (z > 0)]
    if len(seen) < 10:
        return ObjectMask(0, 0, np.zeros((0, 0), bool))
    near = float(np.percentile(seen, 35))
    reach = 0.6 * near * max(z.shape) / width
    inside = ((z > near - reach) & (z < near + reach)).astype(np.uint8)
    step = np.maximum(0.02 * near, 0.15 * reach)
    jump = cv2.dilate(np.nan_to_num(z), np.ones((3, 3), np.uint8)) - cv2.erode(np.nan_to_num(z), np.ones((3, 3), np.uint8))
    inside[jump > step] = 0
    _, parts = cv2.connectedComponents(inside, connectivity=4)
    votes = np.bincount(parts[core & (inside > 0)].ravel(), minlength=1)
    if len(votes) < 2:
        return ObjectMask(0, 0, np.zeros((0, 0), bool))
    chosen = cv2.dilate((parts == int(np.argmax(votes))).astype(np.uint8), np.ones((3, 3), np.uint8))
    own = ObjectMask.from_image(chosen & (z > 0))
    return ObjectMask(own.left + left, own.top + top, own.pixels)
