"""Reads intrinsics in common forms: ROS YAML, 3x3 matrices, JSON (Open3D, record3d, BOP, RealSense), MATLAB.

All of them become a `CameraFile`; what a form lacks (mostly the size) is taken from the image.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from n3d_core.errors import DAMAGED, CameraError, optional, reading
from n3d_core.geometry.camera import Camera, Lens
from n3d_core.geometry.image_file import is_file_or_pipe
from n3d_core.geometry.transforms import CameraPose

EXAMPLE = "as in --camera camera.yaml (ROS camera info) or --camera 615.3,615.3,319.5,239.5 (fx,fy,cx,cy in pixels)"
_MATRICES = ("intrinsic_matrix", "cam_K", "camera_matrix", "K", "k", "intrinsics", "intrinsic", "camera_intrinsics")
_COLUMN_MAJOR = ("intrinsic_matrix", "K")  # Open3D's and record3d's flat lists; as nested lists they are rows
_DISTORTIONS = ("distortion_coefficients", "d", "D", "coeffs")
_YAML = (".yaml", ".yml")
_KEY = re.compile(r"^[A-Za-z_]\w*:(\s|$)", re.MULTILINE)  # of YAML, in a file without its suffix
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE)


@dataclass(frozen=True)
class CameraFile:
    """The contents of a camera file.

    Attributes:
        camera: intrinsics, for the size in the file or else that of the image.
        model, coefficients: distortion of a lens that is not a pinhole (see `Lens.of`).
        units_per_metre: unit of the matching depth (a frame folder's `units_per_metre`, BOP's `depth_scale`, GraspNet's
            `factor_depth`); 0 if not given.
        rectified: camera of the rectified image, if the file has one (ROS's projection matrix).
    """

    camera: Camera
    model: str = ""
    coefficients: tuple[float, ...] = ()
    units_per_metre: float = 0.0
    rectified: Camera | None = None

    def checked_for(self, width: int, height: int, source: object, image: object) -> CameraFile:
        """Returns itself if it is for images of that size.

        Raises:
            CameraError: if it is for another size, naming `source` and `image`.
        """
        if (self.camera.width, self.camera.height) != (width, height):
            raise CameraError(
                f"{source} is for {self.camera.width}x{self.camera.height} but {image} is {width}x{height}: give the "
                "intrinsics of this image"
            )
        return self

    def lens(self, policy: str = "rectify") -> Lens:
        """The lens under a `distortion` policy (see `Lens.of`)."""
        if policy == "rectified" and self.rectified is not None:
            return Lens(self.rectified)
        return Lens.of(self.camera, self.model, self.coefficients, policy)


def read_camera(source: str | Path, width: int, height: int, frame: int = 0, role: str = "color") -> CameraFile:
    """Reads intrinsics from a file, or from `fx,fy,cx,cy`.

    Args:
        source: a path or four numbers.
        width, height: size of the image, for forms without a size.
        frame: which entry to read from a file with one per frame (BOP's `scene_camera.json`).
        role: `color` or `depth`: which matrix to read from a text that has several, each under a comment.

    Raises:
        CameraError: naming the file, what is wrong with it, and a form that works.
        MissingDependencyError: if a `.mat` file is given and scipy is not installed.
    """
    try:
        return _read(str(source), width, height, frame, role)
    except CameraError as error:
        raise CameraError(f"{source}: {error}; {EXAMPLE}") from error


def read_pinhole(path: str | Path) -> CameraFile:
    """Reads the intrinsics of rectified images from a file that states their size, in any form of `read_camera`.

    Raises:
        CameraError: if it cannot be read, or its lens is not a pinhole.
    """
    if not is_file_or_pipe(path):
        raise CameraError(f"{path}: no such file; expected the camera info of the rectified images, as ROS writes it")
    with reading(path, "a camera file", CameraError):
        found = _read(str(path), 0, 0, 0, "color")
        if not all(abs(d) <= 1e-12 for d in found.coefficients):  # NaN is not zero either
            raise CameraError(f"distortion {list(found.coefficients)} is not zero: rectify the images first")
    return found


def read_pose(path: str | Path) -> NDArray[np.float64]:
    """Reads a rigid 4x4 transform from a text, NumPy or JSON file.

    Raises:
        CameraError: if the file does not hold one.
    """
    file = Path(path)
    with reading(path, "a 4x4 matrix", CameraError):
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        elif file.suffix == ".json":
            values = np.asarray(json.loads(file.read_text()), dtype=np.float64)
        else:
            values = _matrix_in(file.read_text(), 4, "")
        matrix = np.asarray(values, dtype=np.float64)
        if matrix.size == 12:  # without the last row, which is always the same
            matrix = np.vstack([matrix.reshape(3, 4), [0, 0, 0, 1]])
        return CameraPose(0, matrix.reshape(4, 4)).camera_to_map


def _read(source: str, width: int, height: int, frame: int, role: str) -> CameraFile:
    if not is_file_or_pipe(source):
        values = _numbers(source) if not re.search(r"[a-df-z]", source.lower()) else np.zeros(0)
        if len(values) != 4:
            raise CameraError("neither an existing file nor four numbers fx,fy,cx,cy")
        return _of_values(values, width, height)
    suffix = Path(source).suffix.lower()
    try:
        if suffix == ".npy":
            return _of_values(np.load(source, allow_pickle=False), width, height)
        if suffix == ".mat":
            return _of_mapping(read_mat(source), width, height, frame)
        text = Path(source).read_text(encoding="utf-8-sig")
        if suffix == ".json" or (suffix not in _YAML and text.lstrip().startswith(("{", "[{"))):
            return _of_data(json.loads(text), width, height, frame)
        if suffix in _YAML or _KEY.search(text):
            # `ros2 topic echo` ends each message with the mark of a new document
            return _of_data(next(yaml.safe_load_all(text), None), width, height, frame)
    except DAMAGED as error:
        raise CameraError(f"not a camera file ({type(error).__name__}: {error})") from error
    except yaml.YAMLError as error:
        raise CameraError(f"not YAML ({' '.join(str(error).split())})") from error
    return _of_values(_matrix_in(text, 3, role), width, height)


def _of_data(data: Any, width: int, height: int, frame: int) -> CameraFile:
    if isinstance(data, list):
        return _of_values(np.asarray(data, dtype=np.float64), width, height)
    if not isinstance(data, Mapping):
        raise CameraError(f"expected intrinsics; got a {type(data).__name__}")
    return _of_mapping(data, width, height, frame)


def _of_mapping(data: Mapping[str, Any], width: int, height: int, frame: int) -> CameraFile:
    numbered = {key: value for key, value in data.items() if str(key).isdigit() and isinstance(value, Mapping)}
    if numbered:  # BOP's scene_camera.json
        keys = sorted(numbered, key=int)
        return _of_mapping(numbered.get(str(frame), numbered[keys[min(frame, len(keys) - 1)]]), width, height, 0)
    if isinstance(data.get("intrinsic"), Mapping):  # nested in Open3D's trajectories and some exports
        return _of_mapping({**data, **data["intrinsic"], "intrinsic": None}, width, height, frame)
    size = tuple(next((int(data[key]) for key in keys if data.get(key)), 0) for keys in _SIZES)
    camera = _camera_of(data, *(size if all(size) else (width, height)))
    distortion = next((data[key] for key in _DISTORTIONS if data.get(key)), ())
    values = distortion.get("data", ()) if isinstance(distortion, Mapping) else distortion
    model = str(data.get("distortion_model") or data.get("model") or "plumb_bob").rpartition(".")[2]
    scale = float(np.asarray(data.get("depth_scale") or 0.0).reshape(-1)[0])
    factor = float(np.asarray(data.get("factor_depth", 0.0)).reshape(-1)[0])
    units = data.get("units_per_metre", factor)
    if isinstance(units, bool) or not 0 <= float(units) < 1e9 or ("units_per_metre" in data and not units):
        raise CameraError(f"units_per_metre must be a positive number; got {units!r}")
    p = next((data[key] for key in ("projection_matrix", "p", "P") if data.get(key)), None)
    p = p.get("data") if isinstance(p, Mapping) else p
    p = None if p is None else np.asarray(p, dtype=np.float64).reshape(3, 4)[:, :3]
    rectified = Camera.from_matrix(p, camera.width, camera.height).checked() if p is not None and p.any() else None
    return CameraFile(
        _window(camera, data),
        "plumb_bob" if model.endswith("brown_conrady") else model,  # as RealSense's ROS driver calls it
        tuple(float(d) for d in values),
        1000 / scale if scale > 0 else float(units),
        rectified and _window(rectified, data),
    )


def _window(camera: Camera, data: Mapping[str, Any]) -> Camera:
    """Applies the region of interest and binning of a printed CameraInfo message."""
    roi = data.get("roi") or {}
    left, top, width, height = (int(roi.get(key, 0)) for key in ("x_offset", "y_offset", "width", "height"))
    across, down = (int(data.get(key, 0)) for key in ("binning_x", "binning_y"))
    return camera.of_window(left, top, width, height, across, down)


_SIZES = (("image_width", "width", "w"), ("image_height", "height", "h"))


def _camera_of(data: Mapping[str, Any], width: int, height: int) -> Camera:
    names = (("fx",), ("fy",), ("cx", "ppx"), ("cy", "ppy"))
    single = [next((data[key] for key in keys if key in data), None) for keys in names]
    if all(value is not None for value in single):
        fx, fy, cx, cy = (float(np.asarray(value).reshape(-1)[0]) for value in single)
        return Camera(width, height, fx, fy, cx, cy).checked()
    for key in _MATRICES:
        value = data.get(key)
        if value is None:
            continue
        value = value.get("data") if isinstance(value, Mapping) else value
        matrix = np.asarray(value, dtype=np.float64)
        if matrix.ndim == 1 and key in _COLUMN_MAJOR and matrix.size == 9 and not matrix[2] and matrix[6]:
            matrix = matrix.reshape(3, 3).T
        return _of_values(matrix, width, height).camera
    given = [str(key) for key, value in data.items() if value is not None][:8]
    raise CameraError(
        "expected image_width, image_height and camera_matrix.data (9 numbers, as ROS's calibration writes them), or "
        f"fx, fy, cx and cy; got values for {', '.join(given) or 'nothing'}"
    )


def _of_values(values: NDArray[Any], width: int, height: int) -> CameraFile:
    """Reads fx, fy, cx, cy, a 3x3 matrix, or a 4x4 whose last row and column are trivial (ScanNet)."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    if flat.size == 4:
        return CameraFile(Camera(width, height, *flat.tolist()).checked())
    if flat.size == 16:
        flat = flat.reshape(4, 4)[:3, :3].reshape(-1)
    if flat.size != 9:
        raise CameraError(f"expected 4 numbers (fx, fy, cx, cy) or a 3x3 matrix; got {flat.size} numbers")
    if flat.max() <= 2 and 0 < flat[2] < 1 and 0 < flat[5] < 1 and flat[8] == 1:
        raise CameraError(
            f"the matrix must be in pixels; got fractions of the image {np.round(flat, 3).tolist()}: multiply its rows "
            f"by the width ({width}) and the height ({height})"
        )
    return CameraFile(Camera.from_matrix(flat, width, height).checked())


def _matrix_in(text: str, rows: int, role: str) -> NDArray[np.float64]:
    """The first square block of a text, preferably under a comment that names `role`; else all its numbers."""
    found: list[tuple[str, NDArray[np.float64]]] = []
    block: list[NDArray[np.float64]] = []
    comment, rest = "", []
    for line in text.splitlines():
        if line.lstrip().startswith(("#", "%", "//")):
            comment, block = line.lower(), []
            continue
        rest.append(line)
        row = _numbers(line)
        block = [*block, row] if len(row) == rows else []
        if len(block) == rows:
            found.append((comment, np.array(block)))
            block = []
    named = next((matrix for title, matrix in found if role in title and not title.startswith(f"# {role}-to")), None)
    if named is not None:
        return named
    return found[0][1] if found else _numbers("\n".join(rest))


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(number) for number in _NUMBER.findall(text)])


def read_mat(path: str | Path) -> Mapping[str, Any]:
    """The variables of a MATLAB file.

    Raises:
        CameraError: if it is not a MATLAB file.
        MissingDependencyError: if scipy is not installed.
    """
    with optional(f"reading {path} needs scipy", "scipy"):
        matlab: Any = importlib.import_module("scipy.io")
    try:
        return dict(matlab.loadmat(path))
    except Exception as error:  # scipy raises all kinds of exceptions
        raise CameraError(f"not a MATLAB file ({type(error).__name__}: {error})") from error
