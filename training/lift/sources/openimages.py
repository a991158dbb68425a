"""OpenImages in its published form: CSV of boxes, class descriptions, and mask images with their CSV.

`annotations`: `*-annotations-bbox.csv`; `classes`: `class-descriptions-boxable.csv`; `mask_table`:
`*-annotations-object-segmentation.csv` with the images in `masks`. Coordinates are fractions of the image; a worker
converts them to pixels when it reads the image, so that planning opens no image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Annotation, Problems, Record, safe_key

COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf", "IsDepiction")
MASK_COLUMNS = ("MaskPath", "ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
TEXTS = ("ImageID", "LabelName", "MaskPath")  # read as text, as ids may have leading zeros; the others are numbers


def read_openimages(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images in order of id, without drawings (`IsDepiction`); groups become crowds."""
    names = _class_names(config.classes)
    table = _columns(config.annotations, COLUMNS)
    masks = _MaskTable(config) if config.mask_table else None
    order = np.argsort(table["ImageID"], kind="stable")
    ids = table["ImageID"][order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.zeros(0, int)
    for first, last in zip(starts, np.append(starts[1:], len(ids)), strict=True):
        identity = str(ids[first])
        path = Path(config.images) / f"{identity}.jpg"
        annotations = tuple(_annotations(table, order[first:last], names, masks, problems))
        key = safe_key(config.name or "openimages", identity)
        yield Record(key, str(path), annotations=annotations, shares=True)


def _annotations(
    table: dict[str, Any],
    rows: Any,
    names: dict[str, str],
    masks: _MaskTable | None,
    problems: Problems,
) -> Iterator[Annotation]:
    for row in rows:
        image, name = str(table["ImageID"][row]), str(table["LabelName"][row])
        label = names.get(name)
        if label is None:
            problems.add("unknown_category", f"{name} in image {image}")
            continue
        flags = [table[c][row] for c in ("IsDepiction", "IsGroupOf")]
        share = [float(table[c][row]) for c in ("XMin", "YMin", "XMax", "YMax")]
        if not np.isfinite([*flags, *share]).all():  # empty cells
            problems.add("annotation_damaged", f"{label} in image {image}: {flags} {share}")
            continue
        if flags[0] == 1:
            problems.add("depiction", f"{label} in image {image}")
            continue
        picture = masks.find(image, name, share) if masks else ""
        box = (share[0], share[1], share[2], share[3])
        yield Annotation(label, box, crowd=bool(flags[1] == 1), id=str(int(row)), mask_file=picture)


class _MaskTable:
    """Mask images by image and label; an object's is the one with the nearest box, as the tables share no ids."""

    def __init__(self, config: SourceConfig) -> None:
        table = _columns(config.mask_table, MASK_COLUMNS)
        self._root = Path(config.masks)
        self._rows: dict[tuple[str, str], list[tuple[list[float], str]]] = {}
        for i in range(len(table["MaskPath"])):
            box = [float(table[c][i]) for c in ("BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax")]
            key = (str(table["ImageID"][i]), str(table["LabelName"][i]))
            self._rows.setdefault(key, []).append((box, str(table["MaskPath"][i])))

    def find(self, image: str, label: str, box: list[float]) -> str:
        rows = self._rows.get((image, label), [])
        gaps = [max(abs(a - b) for a, b in zip(other, box, strict=True)) for other, _ in rows]
        best = int(np.argmin(gaps)) if gaps else -1
        return str(self._root / rows[best][1]) if gaps and gaps[best] < 0.01 else ""


def _class_names(path: str) -> dict[str, str]:
    from pyarrow import csv

    try:
        table = csv.read_csv(path, read_options=csv.ReadOptions(column_names=["id", "name"]))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path or 'source.classes'} must be class-descriptions-boxable.csv: {error}") from error
    return dict(zip(table["id"].to_pylist(), table["name"].to_pylist(), strict=True))


def _columns(path: str, names: tuple[str, ...]) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv

    types = {name: pa.string() if name in TEXTS else pa.float64() for name in names}
    try:
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(include_columns=list(names), column_types=types))
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"{path} must be an OpenImages CSV with the columns {', '.join(names)}: {error}") from error
    return {name: table[name].to_numpy(zero_copy_only=False) for name in names}
