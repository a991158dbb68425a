"""COCO's instance annotations: JSON with `images`, `annotations` (polygons or run lengths) and `categories`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.lift.config import SourceConfig
from training.lift.errors import SourceError
from training.lift.masks import to_rle
from training.lift.record import Annotation, DepthSource, Problems, Record, safe_key


def read_coco(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images of a COCO file in its order; images without annotations are kept (a detector may find some)."""
    coco = load_coco(config.annotations, problems)
    depths = depth_files(config)
    for image in coco.dataset["images"]:
        name = str(image["file_name"])
        yield Record(
            key=safe_key(config.name or "coco", image["id"]),
            image=str(Path(config.images) / name),
            width=int(image.get("width") or 0),
            height=int(image.get("height") or 0),
            annotations=tuple(annotations_of(coco, image, problems)),
            depth=depths.get(Path(name).stem),
        )


def load_coco(path: str, problems: Problems) -> Any:
    """A `pycocotools.coco.COCO` of an annotation file, without the entries that it could not index.

    Raises:
        SourceError: if the file is missing or not of COCO's form.
    """
    from pycocotools.coco import COCO

    if not Path(path).is_file():
        raise SourceError(f"{path or 'source.annotations'}: no such annotation file")
    try:
        data = json.loads(Path(path).read_bytes())
        data["images"] = _once_each(_with_keys(data["images"], ("id", "file_name"), "image", problems), problems)
        data["annotations"] = _with_keys(data["annotations"], ("image_id",), "annotation", problems)
        data["categories"] = _with_keys(data["categories"], ("id", "name"), "category", problems)
        coco = COCO()
        coco.dataset = data
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it creates an index
            coco.createIndex()
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: not a COCO instances file ({type(error).__name__}: {error})") from error
    return coco


def _once_each(images: list[dict[str, Any]], problems: Problems) -> list[dict[str, Any]]:
    seen: dict[Any, dict[str, Any]] = {}
    for image in images:
        if image["id"] in seen:
            problems.add("duplicate_id", f"image {image['id']}: {image['file_name']}")
        seen.setdefault(image["id"], image)
    return list(seen.values())


def _with_keys(entries: Any, keys: tuple[str, ...], what: str, problems: Problems) -> list[dict[str, Any]]:
    if not isinstance(entries, list):
        raise TypeError(f"a list of {what} entries is wanted, {type(entries).__name__} found")
    whole = []
    for entry in entries:
        if isinstance(entry, dict) and all(entry.get(k) is not None for k in keys):
            whole.append({"id": None, **entry})
        else:
            problems.add("annotation_damaged", f"{what} entry {str(entry)[:80]}")
    return whole


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
