"""The first stage: reads and checks an image with its depth, camera and masks."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from n3d_core.depth import suspect_unit
from n3d_core.depth.files import read_depth
from n3d_core.errors import CameraError, DepthError, ImageError, N3DError
from n3d_core.geometry import Camera
from n3d_core.geometry.camera_file import read_camera
from n3d_core.geometry.frame import MAX_PIXELS
from n3d_core.geometry.image_file import color_of
from training.lift import masks
from training.lift.lift_config import LiftConfig, ModelsConfig, SourceConfig
from training.lift.lifting import Candidate
from training.lift.object_mask import ObjectMask
from training.lift.problems import ImageProblem
from training.lift.record import Annotation, Record

IMAGE_REASONS = {
    "image_missing": "the image file does not exist",
    "image_corrupt": "the image cannot be decoded",
    "size_mismatch": "the image does not have the size or aspect ratio of its annotations",
    "no_annotations": "there are no annotated objects, and no detector to find any",
    "camera_missing": "the depth is measured, but its intrinsics are unknown",
    "depth_missing": "there is no depth, and no model to estimate it",
    "depth_corrupt": "the depth image cannot be decoded, or has no valid pixel",
    "depth_unit": "the depth is implausible, probably because its unit is wrong",
    "mask_damaged": "a mask cannot be read or has another size (the object continues without it)",
    "nothing_left": "no object passed the rules",
    "failed": "an unexpected error, given in the message",
}


@dataclass
class Observation:
    """An image on its way through the stages.

    Attributes:
        record: the source's record.
        encoded: the image file as stored in the shard, with `suffix`.
        color: RGB uint8 [H, W, 3], decoded from `encoded`.
        scale: size relative to the source's image, x and y.
        camera: intrinsics of `color`; None until known.
        camera_origin: `given`, `exif`, `fov` or `predicted`.
        focal_35mm: 35 mm equivalent focal length in the EXIF data; 0 if missing.
        depth: metres [H, W], NaN for invalid; None until known.
        depth_origin: `sensor`, or the name of the model.
        place: `indoor`, `outdoor` or `undecided` where that chooses the depth model; otherwise empty.
        candidates: the annotated objects; masks may still be missing.
        annotations: the annotation of each candidate.
        problems: pairs of reason and example.
    """

    record: Record
    encoded: bytes
    suffix: str
    color: NDArray[np.uint8]
    scale: tuple[float, float] = (1.0, 1.0)
    camera: Camera | None = None
    camera_origin: str = "given"
    depth: NDArray[np.float32] | None = None
    depth_origin: str = ""
    place: str = ""
    focal_35mm: float = 0.0
    candidates: list[Candidate] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def observe(record: Record, config: LiftConfig) -> Observation:
    """Reads and checks an image.

    Raises:
        ImageProblem: if it cannot be used; see `IMAGE_REASONS`.
    """
    if not record.annotations and not config.models.detect_below:
        raise ImageProblem("no_annotations", record.key)
    seen = _read(record, config.output.max_side)
    height, width = seen.color.shape[:2]
    _set_camera(seen, config.source, config.models)
    _read_masks(seen, seen.record, height, width)
    if seen.depth is not None:
        check_depth(seen.depth, record.key, bool(config.source.depth_unit))
    elif not config.models.depth:
        raise ImageProblem("depth_missing", f"{record.key}: no depth image, and models.depth is not set")
    return seen


def check_depth(depth: NDArray[np.float32], key: str, unit_is_given: bool = False) -> None:
    """Rejects depth [H, W] in metres that has no valid pixel or is implausible.

    Raises:
        ImageProblem: `depth_corrupt`, or `depth_unit` with the likely factor in its message.
    """
    if not (depth > 0).any():
        raise ImageProblem("depth_corrupt", f"{key}: the depth image has no valid pixel")
    if (suspicion := suspect_unit(depth, unit_is_given)) is not None:
        raise ImageProblem("depth_unit", f"{key}: {suspicion.message}")


def _read(record: Record, max_side: int) -> Observation:
    if record.stamp_ns:
        from training.lift.sources.bag import read_bag_image

        color, depth = read_bag_image(record)
        return Observation(record, _png(color), "png", color, depth=depth, depth_origin="sensor")
    data = _bytes(record.image)
    color = _decode(data, record.image)
    height, width = color.shape[:2]
    if record.width and (record.width, record.height) != (width, height):
        raise ImageProblem(
            "size_mismatch",
            f"{record.image} is {width}x{height}, but its annotations are for {record.width}x{record.height}",
        )
    record = record.in_pixels(width, height)
    seen = Observation(record, data, "png" if data[:4] == b"\x89PNG" else "jpg", color)
    seen.focal_35mm = _focal_35mm(data)
    if record.depth is not None:
        seen.depth, seen.depth_origin = _read_depth(record, height, width), "sensor"
    if data[:3] != b"\xff\xd8\xff" and seen.suffix != "png":
        seen.encoded, seen.suffix = _png(color), "png"
    if max(height, width) > max_side:
        _shrink(seen, max_side)
    return seen


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ImageProblem("image_missing", path) from error
    except OSError as error:
        raise ImageProblem("image_corrupt", f"{path}: {error}") from error


def _decode(data: bytes, path: str) -> NDArray[np.uint8]:
    _check_header(data, path)
    try:
        image = color_of(data, path)
    except ImageError as error:
        raise ImageProblem("image_corrupt", str(error)) from error
    if min(image.shape[:2]) < 16:
        raise ImageProblem("image_corrupt", f"{path}: {image.shape[1]}x{image.shape[0]} pixels are too few")
    return image


def _check_header(data: bytes, path: str) -> None:
    """Rejects images with too many pixels before memory is allocated for them."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise ImageProblem("image_corrupt", f"{path}: {error}") from error
    except (OSError, ValueError, SyntaxError):
        return  # decoding will report it
    if width * height > MAX_PIXELS:
        raise ImageProblem("image_corrupt", f"{path}: has {width}x{height} pixels; the limit is {MAX_PIXELS}")


def _focal_35mm(data: bytes) -> float:
    """The 35 mm equivalent focal length in an image's EXIF data; 0 if missing or implausible."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            said = float(header.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    except (OSError, ValueError, TypeError, SyntaxError, ZeroDivisionError, Image.DecompressionBombError):
        return 0.0
    return said if 8 <= said <= 1000 else 0.0


def _read_depth(record: Record, height: int, width: int) -> NDArray[np.float32]:
    source = record.depth
    if source is None:
        raise ImageProblem("depth_missing", record.key)
    if not Path(source.path).is_file():
        raise ImageProblem("depth_missing", source.path)
    try:
        depth = read_depth(source.path, source.unit or None)
    except (DepthError, ImageError) as error:
        raise ImageProblem("depth_corrupt", str(error)) from error
    if depth.shape != (height, width):
        if abs(depth.shape[0] / depth.shape[1] - height / width) > 0.01:
            raise ImageProblem(
                "size_mismatch",
                f"{source.path} is {depth.shape[1]}x{depth.shape[0]}, but its colour image {width}x{height}",
            )
        depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
    return depth


def _shrink(seen: Observation, max_side: int) -> None:
    """Scales an observation down to its longest side, and re-encodes it as JPEG (quality 95)."""
    height, width = seen.color.shape[:2]
    share = max_side / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    seen.color = np.asarray(cv2.resize(seen.color, size, interpolation=cv2.INTER_AREA), np.uint8)
    if seen.depth is not None:
        seen.depth = cv2.resize(seen.depth, size, interpolation=cv2.INTER_NEAREST)
    ok, data = cv2.imencode(".jpg", seen.color[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not ok:
        raise ImageProblem("image_corrupt", f"{seen.record.image}: cannot be encoded as JPEG")
    seen.encoded, seen.suffix = data.tobytes(), "jpg"
    # training sees the encoded pixels, so they are used from here on
    seen.color = _decode(seen.encoded, seen.record.image)
    seen.scale = size[0] / width, size[1] / height


def _png(color: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", color[:, :, ::-1])
    if not ok:
        raise ImageProblem("image_corrupt", f"an image of {color.shape} cannot be encoded as PNG")
    return bytes(data.tobytes())


def focal_error(seen: Observation, fov: float) -> float | None:
    """Relative error of the focal length that `fov` degrees assume; None unless the image's EXIF data tell it."""
    if not fov or seen.camera_origin != "exif" or seen.camera is None:
        return None
    return Camera.from_fov(fov, seen.camera.width, seen.camera.height).fx / seen.camera.fx - 1


def _set_camera(seen: Observation, source: SourceConfig, models: ModelsConfig) -> None:
    height, width = seen.color.shape[:2]
    try:
        original = round(width / seen.scale[0]), round(height / seen.scale[1])
        camera = seen.record.camera or (read_camera(source.camera, *original).camera if source.camera else None)
        if camera is not None:
            if abs(camera.width / camera.height - original[0] / original[1]) > 0.01:
                raise ImageProblem(
                    "size_mismatch",
                    f"{seen.record.key}: the camera is for {camera.width}x{camera.height}, the image is {original}",
                )
            seen.camera = camera if (camera.width, camera.height) == (width, height) else camera.resized(width, height)
        elif seen.focal_35mm:
            # equivalent by the diagonal of a 36 x 24 mm frame
            focal = seen.focal_35mm * math.hypot(width, height) / math.hypot(36, 24)
            fov = 2 * math.degrees(math.atan(width / 2 / focal))
            seen.camera, seen.camera_origin = Camera.from_fov(fov, width, height), "exif"
        elif source.fov and (seen.depth is not None or not models.estimates_camera):
            seen.camera, seen.camera_origin = Camera.from_fov(source.fov, width, height), "fov"
        elif not models.depth or seen.depth is not None:
            raise ImageProblem(
                "camera_missing", f"{seen.record.key}: give source.camera or source.fov, or a model that predicts it"
            )
    except CameraError as error:
        raise ImageProblem("camera_missing", f"{seen.record.key}: {error}") from error


def _read_masks(seen: Observation, record: Record, height: int, width: int) -> None:
    original = round(height / seen.scale[1]), round(width / seen.scale[0])
    for annotation in record.annotations:
        mask = None
        try:
            if annotation.mask is not None:
                mask = masks.decode(annotation.mask, *original)
            elif annotation.mask_file:
                mask = masks.read_picture(annotation.mask_file, *original)
        except ImageProblem as problem:
            seen.problems.append((problem.reason, f"{record.key}/{annotation.id}: {problem}"))
        except N3DError as error:
            seen.problems.append(("mask_damaged", f"{record.key}/{annotation.id}: {error}"))
        if mask is not None and seen.scale != (1.0, 1.0):
            mask = _scaled(mask, original, height, width)
        seen.annotations.append(annotation)
        seen.candidates.append(Candidate(annotation.label, _scaled_box(seen, annotation), mask, annotation.crowd))


def _scaled_box(seen: Observation, annotation: Annotation) -> tuple[float, float, float, float]:
    x, y = seen.scale
    left, top, right, bottom = annotation.box
    return left * x, top * y, right * x, bottom * y


def _scaled(mask: ObjectMask, original: tuple[int, int], height: int, width: int) -> ObjectMask:
    whole = mask.to_image(*original).astype(np.uint8)
    return ObjectMask.from_image(cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST))


def with_masks_from_depth(seen: Observation) -> None:
    """Segments candidates without a mask by depth."""
    if seen.depth is None or seen.camera is None:
        return
    for i, candidate in enumerate(seen.candidates):
        if candidate.mask is None and not candidate.crowd:
            seen.candidates[i] = replace(candidate, mask=masks.from_depth(candidate.box, seen.depth, seen.camera))
