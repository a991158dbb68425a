"""Reads depth files: raw values as they are stored; what they mean is `DepthUnit`'s business."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.units import DepthUnit
from n3d_core.errors import DepthError
from n3d_core.geometry.frame import MAX_PIXELS
from n3d_core.geometry.frame_folder import read_image

_EXR_SWITCH = "OPENCV_IO_ENABLE_OPENEXR"

UNREADABLE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for files that are damaged, or whose header claims more than fits memory."""


def read_depth(path: str | Path, unit: str | None = None) -> NDArray[np.float32]:
    """A depth file in metres, float32 [H, W], NaN where invalid.

    Args:
        path: `.png`, `.tiff`, `.pgm` …, `.npy`, `.npz` (one array, or one named `depth`), or `.exr`.
        unit: as `DepthUnit.parse` takes it; None takes what the type says (16 bits: millimetres, floats: metres).

    Raises:
        DepthError: if the file cannot be read, is not one channel of depth, or the unit is not known.
    """
    raw = read_raw_depth(Path(path))
    try:
        return (DepthUnit.of(raw) if unit is None else DepthUnit.parse(unit)).to_metres(raw)
    except DepthError as error:
        raise DepthError(f"{path}: {error}") from error


def read_raw_depth(path: Path) -> NDArray[Any]:
    """The stored values [H, W] of a depth file, in the file's own type.

    Raises:
        DepthError: as in `read_depth`.
    """
    if not path.is_file():
        raise DepthError(f"{path}: no such file; a depth image (PNG, TIFF, NPY, NPZ, EXR) is wanted")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        raw = _read_numpy(path)
    elif suffix == ".exr" and os.environ.get(_EXR_SWITCH, "0").lower() not in ("1", "true", "on"):
        raise DepthError(f"{path}: OpenCV reads EXR only when asked to; set {_EXR_SWITCH}=1 and try again")
    else:
        image = read_image(path, cv2.IMREAD_UNCHANGED)
        if image is None:
            raise DepthError(f"{path}: cannot be read as an image; a depth image (PNG, TIFF, NPY, NPZ, EXR) is wanted")
        raw = image
    if raw.ndim == 3 and suffix == ".exr" and (raw == raw[..., :1])[np.isfinite(raw)].all():
        raw = raw[..., 0]  # renderers write depth as three equal channels
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[..., 0]
    if raw.ndim != 2:
        raise DepthError(
            f"{path}: {raw.dtype} {list(raw.shape)}; one channel [H, W] of distances is wanted, not a coloured picture"
        )
    if raw.size > MAX_PIXELS:
        raise DepthError(f"{path}: {raw.shape[1]}x{raw.shape[0]} pixels: at most {MAX_PIXELS} are read")
    return raw


def _read_numpy(path: Path) -> NDArray[Any]:
    """The array of a `.npy`, or the depth of a `.npz`; never a pickle."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if "depth" not in names and len(names) != 1:
                raise DepthError(f"{path}: holds the arrays {names}; one named 'depth' is wanted")
            return np.asarray(loaded["depth" if "depth" in names else names[0]])
    except UNREADABLE as error:
        raise DepthError(f"{path}: cannot be read as a NumPy array of numbers: {error}") from error
