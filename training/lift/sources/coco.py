"""COCO's instance annotations: JSON with `images`, `annotations` (polygons or run lengths) and `categories`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.lift.config import SourceConfig
from training.lift.errors import SourceError
from training.lift.masks import to_rle
from training.lift.record import Annotation, DepthSource, Problems, Record, safe_key


def read_coco(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images of a COCO file in its order; images without annotations are kept (a detector may find some)."""
    coco = load_coco(config.annotations)
    depths = depth_files(config)
    for image in images_of(coco, config.annotations, problems):
        name = str(image["file_name"])
        yield Record(
            key=safe_key(config.name or "coco", image["id"]),
            image=str(Path(config.images) / name),
            width=int(image.get("width") or 0),
            height=int(image.get("height") or 0),
            annotations=tuple(annotations_of(coco, image, problems)),
            depth=depths.get(Path(name).stem),
        )


def load_coco(path: str) -> Any:
    """A `pycocotools.coco.COCO` of an annotation file.

    Raises:
        SourceError: if the file is missing or not of COCO's form.
    """
    from pycocotools.coco import COCO

    if not Path(path).is_file():
        raise SourceError(f"{path or 'source.annotations'}: no such annotation file")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            coco = COCO(path)
        if not isinstance(coco.dataset.get("images"), list) or "categories" not in coco.dataset:
            raise KeyError("images, categories")
    except (ValueError, KeyError, TypeError, AssertionError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a COCO instances file ({type(error).__name__}: {error})") from error
    return coco


def images_of(coco: Any, path: str, problems: Problems) -> Iterator[dict[str, Any]]:
    """The image entries that have an id and a file name."""
    for image in coco.dataset["images"]:
        if not isinstance(image, dict) or "id" not in image or not image.get("file_name"):
            problems.add("annotation_damaged", f"{path}: image entry {str(image)[:80]}")
            continue
        yield image


def annotations_of(coco: Any, image: dict[str, Any], problems: Problems) -> Iterator[Annotation]:
    """The objects of one image; entries that cannot be read, and double ids, are counted and left out."""
    seen: set[Any] = set()
    for entry in coco.imgToAnns.get(image["id"], []):
        where = f"annotation {entry.get('id')} of image {image['id']}"
        if entry.get("id") in seen and entry.get("id") is not None:
            problems.add("duplicate_annotation", where)
            continue
        seen.add(entry.get("id"))
        category = coco.cats.get(entry.get("category_id"))
        if category is None:
            problems.add("unknown_category", f"{where}: category {entry.get('category_id')}")
            continue
        try:
            x, y, w, h = (float(v) for v in entry["bbox"])
            height, width = int(image.get("height") or 0), int(image.get("width") or 0)
            mask = to_rle(entry.get("segmentation"), height, width) if height and width else None
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            problems.add("annotation_damaged", f"{where}: {type(error).__name__}: {error}")
            continue
        yield Annotation(
            label=str(category["name"]),
            box=(x, y, x + w, y + h),
            mask=mask,
            crowd=bool(entry.get("iscrowd")),
            id=str(entry.get("id", "")),
            phrases=tuple(str(p) for p in entry.get("phrases", ())),
        )


def depth_files(config: SourceConfig) -> dict[str, DepthSource]:
    """Depth images of `source.depth` by the stem of their names."""
    if not config.depth:
        return {}
    folder = Path(config.depth)
    if not folder.is_dir():
        raise SourceError(f"{folder}: source.depth is not a folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".tif", ".tiff", ".npy", ".npz"))
    return {p.name.split(".")[0]: DepthSource(str(p), config.depth_unit) for p in files}
