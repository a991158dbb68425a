"""Reads a folder of golden vectors. Nothing in it is executed, and no path leads out of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from n3d_core.depth.files import UNREADABLE
from n3d_core.errors import ConfigError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """One case folder.

    Attributes:
        name: of the folder.
        info: `case.json`.
        tensors: `tensors.safetensors`.
        image: as stored, in its own mode.
        cloud: float32 [H, W, 4], x left, y up, z forward in metres, and the mask.
        intrinsics: float32 [3, 3] in fractions of the image.
    """

    name: str
    info: dict[str, Any]
    tensors: Arrays
    image: Image.Image
    cloud: NDArray[np.float32]
    intrinsics: NDArray[np.float32]

    @property
    def points(self) -> NDArray[np.float32]:
        """[H, W, 3] metres."""
        return self.cloud[..., :3]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[H, W] mask."""
        return self.cloud[..., 3] > 0


def case_folders(root: Path) -> list[Path]:
    """Every folder with a `case.json`.

    Raises:
        ConfigError: if there is none.
    """
    folders = sorted(path.parent for path in root.glob("*/case.json"))
    if not folders:
        raise ConfigError(f"{root}: no */case.json; expected a folder of golden vectors")
    return folders


def read_case(folder: Path) -> Case:
    """Reads a case.

    Raises:
        ConfigError: if a file is missing or damaged.
    """
    info = read_json(folder / "case.json")
    try:
        tensors = load_file(folder / "tensors.safetensors")
        with np.load(inside(folder, info["files"]["points"]), allow_pickle=False) as points:
            cloud, intrinsics = points["pcd"].astype(np.float32), points["intr"]
        image = Image.open(inside(folder, info["files"]["image"]))
        image.load()
    except (*UNREADABLE, TypeError, SafetensorError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{folder}: cannot be read as a case ({type(error).__name__}: {error})") from error
    return Case(folder.name, info, tensors, image, cloud, intrinsics)


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        ConfigError: if it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error})") from error


def inside(folder: Path, name: str) -> Path:
    """A file named by another file, which must lie in the same folder.

    Raises:
        ConfigError: if it does not.
    """
    if Path(name).name != name:
        raise ConfigError(f"{folder}: {name!r} is not the name of a file in this folder")
    return folder / name


def sha256(values: NDArray[Any]) -> str:
    """Of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
