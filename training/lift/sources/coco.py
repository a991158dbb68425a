"""COCO's instance annotations: JSON with `images`, `annotations` (polygons or run lengths) and `categories`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from n3d_core.errors import reading
from training.lift.lift_config import SourceConfig
from training.lift.masks import to_rle
from training.lift.problems import SourceError
from training.lift.record import Annotation, Problems, Record, safe_key


def read_coco(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images of a COCO file, in order; images without annotations are kept for a detector."""
    coco = load_coco(config.annotations, problems)
    for image in coco.dataset["images"]:
        yield Record(
            key=safe_key(config.name or "coco", image["id"]),
            image=str(Path(config.images) / image["file_name"]),
            width=image["width"],
            height=image["height"],
            annotations=tuple(annotations_of(coco, image, problems)),
        )


def load_coco(path: str, problems: Problems) -> Any:
    """A `pycocotools.coco.COCO` of an annotation file, without entries that it cannot index.

    Every image has an integer `width` and `height`, 0 if the file has none.

    Raises:
        SourceError: if the file is missing or has another form.
    """
    from pycocotools.coco import COCO

    if not Path(path).is_file():
        raise SourceError(f"{path or 'source.annotations'}: annotation file not found")
    with reading(path, "a COCO instances file", SourceError):
        data = json.loads(Path(path).read_bytes())
        images, annotations, categories = (_list(data, key) for key in ("images", "annotations", "categories"))
    coco = COCO()
    coco.dataset = {
        "images": _once_each([_sized(i) for i in _whole(images, ("id", "file_name"), "image", problems)], problems),
        "annotations": _whole(annotations, ("image_id", "category_id"), "annotation", problems),
        "categories": _whole(categories, ("id", "name"), "category", problems),
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco.createIndex()
    return coco


def _list(data: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(data[key], list):
        raise TypeError(f"{key} must be a list; got {type(data[key]).__name__}")
    return list(data[key])


def _once_each(images: list[dict[str, Any]], problems: Problems) -> list[dict[str, Any]]:
    seen: dict[Any, dict[str, Any]] = {}
    for image in images:
        if image["id"] in seen:
            problems.add("duplicate_id", f"image {image['id']}: {image['file_name']}")
        seen.setdefault(image["id"], image)
    return list(seen.values())


def _whole(entries: list[Any], keys: tuple[str, ...], what: str, problems: Problems) -> list[dict[str, Any]]:
    """The entries that are mappings with an id and all `keys`, each an integer or a non-empty text."""
    whole = []
    for entry in entries:
        keyed = isinstance(entry, dict) and all(_is_name(entry.get(k)) for k in keys)
        if keyed and ("id" not in entry or entry["id"] is None or _is_name(entry["id"])):
            whole.append({"id": None, **entry})
        else:
            problems.add("annotation_damaged", f"{what} entry {str(entry)[:80]}")
    return whole


def _is_name(value: Any) -> bool:
    return (isinstance(value, str) and bool(value.strip())) or (isinstance(value, int) and not isinstance(value, bool))


def _sized(image: dict[str, Any]) -> dict[str, Any]:
    width, height = (v if isinstance(v := image.get(k), int) and v > 0 else 0 for k in ("width", "height"))
    return {**image, "file_name": str(image["file_name"]), "width": width, "height": height}


def annotations_of(coco: Any, image: dict[str, Any], problems: Problems) -> Iterator[Annotation]:
    """The objects of an image; counts and leaves out unreadable entries and duplicate ids."""
    seen: set[Any] = set()
    for entry in coco.imgToAnns.get(image["id"], []):
        where = f"annotation {entry['id']} of image {image['id']}"
        if entry["id"] in seen and entry["id"] is not None:
            problems.add("duplicate_annotation", where)
            continue
        seen.add(entry["id"])
        category = coco.cats.get(entry["category_id"])
        if category is None:
            problems.add("unknown_category", f"{where}: category {entry['category_id']}")
            continue
        try:
            yield _annotation(entry, str(category["name"]), image["height"], image["width"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, OverflowError) as error:
            problems.add("annotation_damaged", f"{where}: {type(error).__name__}: {error}")


def _annotation(entry: dict[str, Any], label: str, height: int, width: int) -> Annotation:
    x, y, w, h = (float(v) for v in entry["bbox"])
    return Annotation(
        label=label,
        box=(x, y, x + w, y + h),
        mask=to_rle(entry.get("segmentation"), height, width) if height and width else None,
        crowd=bool(entry.get("iscrowd")),
        id="" if entry["id"] is None else str(entry["id"]),
        phrases=tuple(str(p) for p in entry.get("phrases", ())),
    )
