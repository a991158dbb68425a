"""Referring expressions in RefCOCO's form: `refs(unc).p` (or the same as JSON) next to COCO's `instances.json`.

The published refs are a pickle. It is read by an unpickler that accepts only lists, dictionaries, texts and numbers and
rejects every class and function, so that a malicious file cannot run code.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from n3d_core.errors import DAMAGED, reading
from training.lift.lift_config import SourceConfig
from training.lift.problems import SourceError
from training.lift.record import Annotation, Problems, Record, safe_key
from training.lift.sources.coco import annotations_of, load_coco


def read_refcoco(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Images with at least one referring expression, with all their objects, some of which have phrases.

    `annotations` names the refs file; COCO's instances are in `instances.json` next to it, or in `source.classes`.
    """
    path = Path(config.annotations)
    phrases: dict[tuple[Any, Any], list[str]] = {}
    for ref in _load_refs(path):
        try:
            sentences = [str(s["sent"] if isinstance(s, dict) else s) for s in ref["sentences"]]
            phrases.setdefault((ref["image_id"], ref["ann_id"]), []).extend(s for s in sentences if s.strip())
        except (KeyError, TypeError) as error:
            problems.add("annotation_damaged", f"ref {str(ref)[:80]}: {type(error).__name__}: {error}")
    instances = config.classes or str(path.with_name("instances.json"))
    coco = load_coco(instances, problems)
    wanted = {image for image, _ in phrases}
    for image in coco.dataset["images"]:
        if image["id"] not in wanted:
            continue
        annotations = [_with_phrases(a, image["id"], phrases) for a in annotations_of(coco, image, problems)]
        yield Record(
            safe_key(config.name or "refcoco", image["id"]),
            str(Path(config.images) / image["file_name"]),
            image["width"],
            image["height"],
            tuple(annotations),
        )


def _with_phrases(annotation: Annotation, image: Any, phrases: dict[tuple[Any, Any], list[str]]) -> Annotation:
    said = phrases.get((image, int(annotation.id) if annotation.id.isdigit() else annotation.id), [])
    return replace(annotation, phrases=tuple(dict.fromkeys(said)))


def _load_refs(path: Path) -> list[Any]:
    with reading(path, "RefCOCO refs", SourceError, of=(*DAMAGED, pickle.UnpicklingError)):
        data = path.read_bytes()
        refs = json.loads(data) if path.suffix == ".json" else _plain(data)
    if not isinstance(refs, list):
        raise SourceError(f"{path} must contain a list of refs; got {type(refs).__name__}")
    return refs


def _plain(data: bytes) -> Any:
    """The contents of a pickle; the published ones are from Python 2, whose texts are bytes."""
    return _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()


class _PlainUnpickler(pickle.Unpickler):
    """Accepts lists, dictionaries, tuples, texts and numbers, but nothing that must be imported."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"it refers to {module}.{name}; refs may contain only lists, dictionaries, texts and numbers"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it contains a persistent reference")
