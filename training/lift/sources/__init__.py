"""Readers of annotated image collections; each yields `Record`s in a deterministic order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from training.lift.lift_config import SourceConfig
from training.lift.record import Annotation, Problems, Record
from training.lift.sources.depth_folder import DepthFolder

_MOST_PIXELS = 1e6


def read_source(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """The records of a source, without unusable entries and duplicate keys, which are counted in `problems`.

    Raises:
        SourceError: if the annotation file or folder is missing or of another kind.
    """
    seen: set[str] = set()
    depths = DepthFolder(config)
    for record in islice(_reader(config, problems, depths), config.limit or None):
        if record.key in seen:
            problems.add("duplicate_id", record.key)
            continue
        seen.add(record.key)
        sound = tuple(a for a in record.annotations if _is_sound(a, record, problems))
        record = replace(record, annotations=sound, depth=record.depth or depths.of(record.image))
        try:
            json.dumps(record.to_json(), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            problems.add("annotation_damaged", f"{record.image}: a text is not valid UTF-8 ({error.reason})")
            continue
        yield record


def _is_sound(annotation: Annotation, record: Record, problems: Problems) -> bool:
    """Whether a box has plausible pixel coordinates; otherwise its whole shard would fail, in every run."""
    sound = all(abs(value) < _MOST_PIXELS for value in annotation.box)  # not so for NaN
    if not sound:
        problems.add("annotation_damaged", f"{record.key}: box {annotation.box} of {annotation.label!r}")
    return sound


def _reader(config: SourceConfig, problems: Problems, depths: DepthFolder) -> Iterator[Record]:
    if config.kind == "coco":
        from training.lift.sources.coco import read_coco as read
    elif config.kind == "objects365":
        from training.lift.sources.objects365 import read_objects365 as read
    elif config.kind == "openimages":
        from training.lift.sources.openimages import read_openimages as read
    elif config.kind == "refcoco":
        from training.lift.sources.refcoco import read_refcoco as read
    elif config.kind == "folder":
        from training.lift.sources.plain_folder import read_folder

        return read_folder(config, problems, depths)
    elif config.kind == "sunrgbd":
        from training.lift.sources.sunrgbd import read_sunrgbd as read
    elif config.kind == "bag":
        from training.lift.sources.bag import read_bag as read
    else:
        from training.lift.sources.rgbd_folder import read_rgbd as read
    return read(config, problems)
