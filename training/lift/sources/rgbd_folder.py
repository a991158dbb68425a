"""RGB-D recordings in folders: TUM, Open3D, and this project's frame folders.

2D annotations come from a COCO file (`source.annotations`) with the names of the colour images; without one, a detector
must find the objects (`models.detect_below`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from n3d_core.errors import CameraError
from n3d_core.geometry import Camera
from n3d_core.geometry.camera_file import read_camera, read_pinhole
from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Annotation, DepthSource, Problems, Record, safe_key
from training.lift.sources.coco import annotations_of, load_coco

TUM_PAIR_SECONDS = 0.02
Pair = tuple[Path, Path]


def read_rgbd(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Colour images with depth, in order of name or stamp."""
    root = Path(config.images)
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    read = {"tum": _tum_pairs, "open3d": _open3d_pairs, "frames": _frame_pairs}[config.kind]
    unit = config.depth_unit or ("tum" if config.kind == "tum" else "")
    camera = _camera(root, config)
    boxes = _FolderBoxes(config.annotations, problems)
    for color, depth in read(root, problems):
        yield Record(
            safe_key(config.name or config.kind, root.name, color.name.removesuffix(".png").removesuffix(".jpg")),
            str(color),
            annotations=boxes.of(color),
            camera=camera,
            depth=DepthSource(str(depth), unit),
        )


def _tum_pairs(root: Path, problems: Problems) -> Iterator[Pair]:
    """Pairs `rgb.txt` with `depth.txt` by the nearest stamp, as TUM's associate.py does."""
    colors, depths = _tum_list(root / "rgb.txt", problems), _tum_list(root / "depth.txt", problems)
    stamps = [s for s, _ in depths]
    for stamp, color in colors:
        at = bisect_left(stamps, stamp)
        near = min((i for i in (at - 1, at) if 0 <= i < len(stamps)), key=lambda i: abs(stamps[i] - stamp), default=-1)
        if near < 0 or abs(stamps[near] - stamp) > TUM_PAIR_SECONDS:
            problems.add("depth_missing", f"{color}: no depth image within {TUM_PAIR_SECONDS} s")
            continue
        yield root / color, root / depths[near][1]


def _tum_list(path: Path, problems: Problems) -> list[tuple[float, str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} must be TUM's list of stamps and files: {error}") from error
    out = []
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            out.append((float(words[0]), words[1]))
        except (ValueError, IndexError):
            problems.add("annotation_damaged", f"{path}: {line[:60]!r}")
    return sorted(out)


def _open3d_pairs(root: Path, problems: Problems) -> Iterator[Pair]:
    """`color/` (or `image/`) and `depth/`, paired by name, as Open3D's reconstruction system reads them."""
    colors = [p for name in ("color", "image", "rgb") for p in sorted((root / name).glob("*")) if p.is_file()]
    if not colors:
        raise SourceError(f"{root} must contain the folders color/ and depth/")
    depths = {p.stem: p for p in sorted((root / "depth").glob("*.png"))}
    for color in colors:
        if color.stem in depths:
            yield color, depths[color.stem]
        else:
            problems.add("depth_missing", f"{color}: no depth/{color.stem}.png")


def _frame_pairs(root: Path, problems: Problems) -> Iterator[Pair]:
    for color in sorted(root.glob("*.color.png")):
        yield color, color.with_name(color.name.replace(".color.", ".depth."))


def _camera(root: Path, config: SourceConfig) -> Camera | None:
    """Intrinsics from `camera.yaml` or Open3D's `camera_intrinsic.json`; None if `source.camera` gives them, or TUM's
    default Kinect."""
    if (root / "camera.yaml").exists():
        return read_pinhole(root / "camera.yaml").camera
    for name in ("camera_intrinsic.json", "intrinsic.json", "camera_primesense.json"):
        if (root / name).exists():
            return read_camera(root / name, 0, 0).camera  # the file has the size
    if config.camera:
        return None
    if config.kind == "tum":
        return Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    raise CameraError(
        f"{root}: no camera.yaml and no camera_intrinsic.json; measured depth needs true intrinsics: set source.camera"
    )


class _FolderBoxes:
    """2D annotations of a COCO file by image name."""

    def __init__(self, path: str, problems: Problems) -> None:
        self._coco: Any = load_coco(path, problems) if path else None
        self._problems = problems
        images = self._coco.dataset["images"] if path else ()
        self._by_name = {Path(image["file_name"]).name: image for image in images}

    def of(self, color: Path) -> tuple[Annotation, ...]:
        image = self._by_name.get(color.name)
        return tuple(annotations_of(self._coco, image, self._problems)) if image else ()
