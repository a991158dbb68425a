"""Depth images in a folder of their own, or beside the images (`source.depth`), for sources of every kind."""

from __future__ import annotations

from pathlib import Path

from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import DepthSource


class DepthFolder:
    """The depth images in `source.depth`, found by image name.

    Raises:
        SourceError: if `source.depth` is set but not a folder.
    """

    def __init__(self, config: SourceConfig) -> None:
        self._unit = config.depth_unit
        self._by_path: dict[Path, Path] = {}
        self._by_name: dict[str, list[Path]] = {}
        root = Path(config.depth)
        if config.depth and not root.is_dir():
            raise SourceError(f"{root}: source.depth is not a folder")
        # where a name is given twice, as `1.color.png` and `1.depth.png` in one folder, the depth comes first
        for path in sorted(root.rglob("*"), key=lambda p: (not _says_depth(p), p)) if config.depth else ():
            place = _stem(path.relative_to(root))
            if path.suffix.lower() in (".png", ".tif", ".tiff", ".npy", ".npz") and place not in self._by_path:
                self._by_path[place] = path
                self._by_name.setdefault(place.name, []).append(path)
        self._root, self._images = root.absolute(), Path(config.images)
        self._mixed = Path(config.images).absolute().is_relative_to(self._root)

    def of(self, image: str) -> DepthSource | None:
        """The depth of an image: the file at the same place as in `source.images`, else the only one of that name."""
        picture = Path(image)
        if picture.is_relative_to(self._images):
            picture = picture.relative_to(self._images)
        found = self._by_path.get(_stem(picture))
        alike = self._by_name.get(_stem(picture).name, [])
        if found is None and len(alike) == 1:
            found = alike[0]
        return None if found is None else DepthSource(str(found), self._unit)

    def holds(self, path: Path) -> bool:
        """Whether a file among the images is a depth image: one in `source.depth`, by its name where images are too."""
        inside = bool(self._by_path) and path.absolute().is_relative_to(self._root)
        return inside and (_says_depth(path) or not self._mixed)


def _says_depth(path: Path) -> bool:
    return "depth" in path.name.lower()


def _stem(path: Path) -> Path:
    """The path up to the first dot of the name, equal for `a/1.depth.png` and `a/1.jpg`."""
    return path.with_name(path.name.split(".")[0] or path.name)
