"""Reads depth files as raw values; `DepthUnit` converts them to metres."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError, reading
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import MAX_PIXELS
from n3d_core.geometry.image_file import decode_image, is_file_or_pipe

_MOST_BYTES = MAX_PIXELS * 4 * 8  # of an unpacked array: a point map of doubles
_EXR_SWITCH = "OPENCV_IO_ENABLE_OPENEXR"

UNREADABLE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)
"""NumPy's errors for files that are damaged, or whose header claims more than fits in memory."""


@dataclass(frozen=True)
class DepthUnit:
    """Converts raw values to metres: `rotate(raw) / per_metre`.

    Attributes:
        name: as given on the command line.
        per_metre: raw values per metre.
        rotated_bits: number of bits by which 16-bit values were rotated left (3 in SUN RGB-D, else 0).
    """

    name: str
    per_metre: float
    rotated_bits: int = 0

    @classmethod
    def parse(cls, text: str) -> DepthUnit:
        """Reads `mm`, `m`, `tum` (5000 per metre), `sun` (millimetres, rotated by 3 bits), a number of raw values per
        metre, or `sun:NUMBER` (rotated, NUMBER per metre).

        Raises:
            DepthError: if the text is none of these.
        """
        if text in _NAMED:
            return _NAMED[text]
        if text.startswith("sun:"):
            return replace(cls.parse(text.removeprefix("sun:")), name=text, rotated_bits=_NAMED["sun"].rotated_bits)
        try:
            per_metre = float(text)
        except ValueError:
            per_metre = math.nan
        if not (math.isfinite(per_metre) and per_metre > 0):
            known = ", ".join(_NAMED)
            raise DepthError(
                f"depth unit must be one of {known}, or raw values per metre such as 10000 or sun:10000; got {text!r}"
            )
        return cls(text, per_metre)

    @classmethod
    def of(cls, raw: NDArray[Any]) -> DepthUnit:
        """The default unit of a type: integers of 16 bits and more are millimetres, floats are metres (REP 118).

        Raises:
            DepthError: for 8-bit images, whose unit is unknown.
        """
        if np.issubdtype(raw.dtype, np.floating):
            return _NAMED["m"]
        if raw.dtype.itemsize < 2:
            raise DepthError(
                f"depth image is {raw.dtype}: 8 bits hold 256 distances of unknown unit; use a 16-bit PNG in "
                "millimetres or floats in metres, or give the unit (raw values per metre)"
            )
        return _NAMED["mm"]

    def to_metres(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values [H, W] -> metres float32 [H, W]; NaN where invalid.

        Invalid values are NaN, infinity, zero and below, and the largest 16-bit value, which drivers use for overflow.

        Raises:
            DepthError: if the array is not [H, W], or its type does not match the unit.
        """
        if raw.ndim != 2 or raw.size == 0:
            raise DepthError(f"depth image must have one channel [H, W]; got {raw.dtype} {list(raw.shape)}")
        if not (np.issubdtype(raw.dtype, np.integer) or np.issubdtype(raw.dtype, np.floating)):
            raise DepthError(f"depth image must hold integers or floats; got {raw.dtype}")
        raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
        if self.rotated_bits and raw.dtype != np.uint16:
            raise DepthError(f"depth unit {self.name!r} is for 16-bit images; got {raw.dtype}")
        return _table(self)[raw] if raw.dtype == np.uint16 else self._divided(raw)

    def _divided(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        invalid = raw <= 0
        if np.issubdtype(raw.dtype, np.floating):
            invalid |= ~np.isfinite(raw)
        # divided in float64: other types would lose the last digits
        return (np.where(invalid, np.nan, raw.astype(np.float64)) / self.per_metre).astype(np.float32)


@lru_cache(maxsize=8)
def _table(unit: DepthUnit) -> NDArray[np.float32]:
    """Metres of each 16-bit value: a lookup is several times faster than a division, which matters at camera rate."""
    raw = np.arange(1 << 16, dtype=np.uint16)
    turned = (raw >> unit.rotated_bits) | (raw << (16 - unit.rotated_bits)) if unit.rotated_bits else raw
    metres = unit._divided(turned)
    metres[[0, -1]] = np.nan
    metres.setflags(write=False)
    return metres


_NAMED = {
    "mm": DepthUnit("mm", 1000.0),
    "m": DepthUnit("m", 1.0),
    "tum": DepthUnit("tum", 5000.0),
    "sun": DepthUnit("sun", 1000.0, rotated_bits=3),
}


def read_depth(path: str | Path, unit: str | None = None) -> NDArray[np.float32]:
    """Reads a depth file in metres, float32 [H, W], NaN where invalid.

    Args:
        path: `.png`, `.tiff`, `.pgm` …, `.npy`, `.npz` (with one array, or one named `depth`), or `.exr`.
        unit: as `DepthUnit.parse` takes it; None takes the type's default (16 bits: millimetres, floats: metres).

    Raises:
        DepthError: if the file cannot be read, is not one channel of depth, or the unit is unknown.
    """
    raw = read_raw_depth(Path(path))
    with reading(path, "depth", DepthError):
        return (DepthUnit.of(raw) if unit is None else DepthUnit.parse(unit)).to_metres(raw)


def read_raw_depth(path: Path) -> NDArray[Any]:
    """The stored values [H, W] of a depth file, in the file's own type.

    Raises:
        DepthError: as in `read_depth`.
    """
    if not is_file_or_pipe(path):
        raise DepthError(f"{path}: no such file; expected a depth image (PNG, TIFF, NPY, NPZ, EXR)")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        raw = _read_numpy(path)
    elif suffix == ".exr" and os.environ.get(_EXR_SWITCH, "0").lower() not in ("1", "true", "on"):
        raise DepthError(f"{path}: EXR support is switched off in OpenCV; set {_EXR_SWITCH}=1 and try again")
    else:
        with reading(path, "an image", DepthError):
            raw = decode_image(path.read_bytes(), str(path), DepthError)
    if raw.ndim == 3 and suffix == ".exr" and (raw == raw[..., :1])[np.isfinite(raw)].all():
        raw = raw[..., 0]  # renderers write depth as three equal channels
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[..., 0]
    if raw.ndim != 2:
        raise DepthError(
            f"{path}: {raw.dtype} {list(raw.shape)}; expected one channel [H, W] of distances, not a coloured picture"
        )
    if raw.size > MAX_PIXELS:
        raise DepthError(f"{path}: {raw.shape[1]}x{raw.shape[0]} has too many pixels; the limit is {MAX_PIXELS}")
    return raw


def _read_numpy(path: Path) -> NDArray[Any]:
    """The array of a `.npy`, or the depth of a `.npz`; pickles are never loaded."""
    with reading(path, "a NumPy array of numbers", DepthError, of=UNREADABLE):
        if path.suffix.lower() == ".npz":
            _archive_names(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if "depth" not in names and len(names) != 1:
                raise DepthError(f"{path}: one array must be named 'depth'; got {names}")
            return np.asarray(loaded["depth" if "depth" in names else names[0]])


def _archive_names(path: Path) -> list[str]:
    """The names in a `.npz`.

    Raises:
        DepthError: if an array is larger than any image; a few kilobytes can unpack to gigabytes.
    """
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            if one.file_size > _MOST_BYTES:
                raise DepthError(f"{path}: {one.filename} unpacks to {one.file_size} bytes; the limit is {_MOST_BYTES}")
        return archive.namelist()


def is_point_map(path: Path) -> bool:
    """Whether a file is a NumPy archive with the two arrays of a reference point map."""
    try:
        return path.suffix.lower() == ".npz" and {"pcd.npy", "intr.npy"} <= set(_archive_names(path))
    except (*UNREADABLE, DepthError):
        return False


def read_point_map(path: Path) -> tuple[NDArray[np.float32], Camera]:
    """Reads depth [H, W] in metres (NaN where the mask is off) and the camera from a point map.

    `pcd` is [H, W, 4]: x left, y up, z forward in metres, and a mask; `intr` is the intrinsic matrix in fractions of
    the image's width and height.

    Raises:
        DepthError: if the arrays have other shapes.
        CameraError: if the intrinsics are invalid.
    """
    with reading(path, "a point map", DepthError, of=UNREADABLE):
        _archive_names(path)
        with np.load(path, allow_pickle=False) as arrays:
            cloud, intrinsics = np.asarray(arrays["pcd"]), np.asarray(arrays["intr"], dtype=np.float64)
    if cloud.ndim != 3 or cloud.shape[2] != 4 or intrinsics.shape != (3, 3) or cloud.size > 4 * MAX_PIXELS:
        shapes = f"pcd {list(cloud.shape)} and intr {list(intrinsics.shape)}"
        raise DepthError(f"{path}: {shapes}; expected [H, W, 4] and [3, 3]")
    height, width = cloud.shape[:2]
    z = cloud[..., 2].astype(np.float32)
    valid = (cloud[..., 3] > 0.5) & np.isfinite(z) & (z > 0)
    return np.where(valid, z, np.float32(np.nan)), Camera.from_fractions(intrinsics, width, height)
