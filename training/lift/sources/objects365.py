"""Objects365: COCO's JSON without masks, too large to load as Python objects (25 million boxes in version 2).

The file is streamed (`ijson`); boxes are stored in flat arrays, 28 bytes each, and grouped by image at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Annotation, Problems, Record, safe_key


def read_objects365(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images of an Objects365 file (`zhiyuan_objv2_train.json`) in order, with boxes in order of id."""
    path = Path(config.annotations)
    if not path.is_file():
        raise SourceError(f"{path}: annotation file not found")
    names = dict(_names(path, problems))
    if not names:
        raise SourceError(f"{path}: no categories; it must be zhiyuan_objv2_train.json or _val.json")
    boxes = _Objects365Boxes.read(path, problems)
    for image in _items(path, "images"):
        try:
            identity, name = int(image["id"]), str(image["file_name"])
            width, height = int(image.get("width") or 0), int(image.get("height") or 0)
        except (KeyError, TypeError, ValueError) as error:
            problems.add("annotation_damaged", f"image entry {str(image)[:80]}: {type(error).__name__}: {error}")
            continue
        yield Record(
            key=safe_key(config.name or "objects365", identity),
            image=str(_find(Path(config.images), name)),
            width=width,
            height=height,
            annotations=tuple(boxes.of(identity, names, problems)),
        )


def _names(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    for category in _items(path, "categories"):
        try:
            yield int(category["id"]), str(category["name"])
        except (KeyError, TypeError, ValueError):
            problems.add("annotation_damaged", f"category entry {str(category)[:80]}")


def _find(root: Path, name: str) -> Path:
    """The path of an image: names in the JSON start with `images/v1/` or `v2/`, but archives unpack to `patchN/`."""
    whole = root / name
    return whole if whole.exists() else root.joinpath(*Path(name).parts[-2:])


class _Objects365Boxes:
    """All boxes, sorted by image."""

    def __init__(self, image: array[int], category: array[int], ids: array[int], xywh: array[float], crowd: array[int]):
        order = np.lexsort((np.frombuffer(ids, np.int64), np.frombuffer(image, np.int64)))
        self.image = np.frombuffer(image, np.int64)[order]
        self.category = np.frombuffer(category, np.int32)[order]
        self.ids = np.frombuffer(ids, np.int64)[order]
        self.xywh = np.frombuffer(xywh, np.float32).reshape(-1, 4)[order]
        self.crowd = np.frombuffer(crowd, np.int8)[order]

    @classmethod
    def read(cls, path: Path, problems: Problems) -> _Objects365Boxes:
        image, category, ids, xywh, crowd = array("q"), array("i"), array("q"), array("f"), array("b")
        for entry in _items(path, "annotations"):
            try:
                box = [float(v) for v in entry["bbox"]]
                row = (int(entry["image_id"]), int(entry["category_id"]), int(entry["id"]))
                if len(box) != 4:
                    raise ValueError(f"bbox must have 4 numbers; got {len(box)}")
                if not (abs(row[0]) < 2**63 and abs(row[1]) < 2**31 and abs(row[2]) < 2**63):
                    raise ValueError(f"numbers {row} do not fit 64, 32 and 64 bits")
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                problems.add("annotation_damaged", f"annotation {entry.get('id')}: {type(error).__name__}: {error}")
                continue
            image.append(row[0])
            category.append(row[1])
            ids.append(row[2])
            xywh.extend(box)
            crowd.append(bool(entry.get("iscrowd")))
        return cls(image, category, ids, xywh, crowd)

    def of(self, image: int, names: dict[int, str], problems: Problems) -> Iterator[Annotation]:
        first, last = np.searchsorted(self.image, [image, image + 1])
        previous = None
        for row in range(first, last):
            identity, label = int(self.ids[row]), names.get(int(self.category[row]))
            if identity == previous or label is None:
                reason = "duplicate_annotation" if identity == previous else "unknown_category"
                problems.add(reason, f"annotation {identity} of image {image}")
                continue
            previous = identity
            x, y, w, h = (float(v) for v in self.xywh[row])
            yield Annotation(label, (x, y, x + w, y + h), crowd=bool(self.crowd[row]), id=str(identity))


def _items(path: Path, key: str) -> Iterator[dict[str, Any]]:
    import ijson

    stream: BinaryIO
    with path.open("rb") as stream:
        try:
            for item in ijson.items(stream, f"{key}.item", use_float=True):
                if isinstance(item, dict):
                    yield item
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: not readable as JSON in {key!r}: {error}") from error
