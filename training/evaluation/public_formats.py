"""Reads published benchmarks: the questions about each image, in the form of a truth file.

The images belong to their owners and are not included; users pass the annotation file and the image folder. Answers are
sentences, from which a number, yes or no, or the target object is extracted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n3d_core.errors import ConfigError, reading
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import TrueObject, Truth
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question
from training.evaluation.answers import NUMERICAL, parse_truth
from training.questions.marks import MARK_COLORS

_REGION = re.compile(r"(?:the )?Region \[(\d+)\]", re.IGNORECASE)
_TYPES = {
    "vertical": "vertical_distance", "horizontal": "horizontal_distance", "direction": "direction", "width": "width",
    "height": "height", "relative": "relative_distance", "closer": "relative_distance", "order": "depth_order",
    "distance": "distance", "left": "left_right", "right": "left_right", "front": "front_behind",
    "behind": "front_behind", "above": "above_below", "below": "above_below", "wide": "wide_thin", "thin": "wide_thin",
    "tall": "tall_short", "short": "tall_short", "big": "big_small", "small": "big_small", "count": "count",
}  # fmt: skip


@dataclass(frozen=True)
class PublicSample:
    """One image of a benchmark: its path, its camera if the benchmark gives it, and its questions."""

    image: str
    camera: Camera | None
    truth: Truth


def read_public(kind: str, path: str | Path) -> Iterator[PublicSample]:
    """The samples of a benchmark's annotation file.

    Args:
        kind: `cv-bench`, `spatialrgpt`, `n3d-bench`, `refcoco` or `omni3d`.

    Raises:
        ConfigError: if the kind is unknown, or the file is of another kind.
    """
    if kind not in READERS:
        raise ConfigError(f"format must be one of {', '.join(READERS)}; got {kind!r}")
    with reading(path, kind, ConfigError):
        yield from READERS[kind](Path(path))


def question_type(words: str) -> str:
    """The question type for a benchmark's type name; `open` if there is none."""
    return next((ours for word, ours in _TYPES.items() if re.search(rf"(?<![a-z]){word}", words.lower())), "open")


def _cv_bench(path: Path) -> Iterator[PublicSample]:
    """CV-Bench, 3D part: a choice of two objects by depth or by distance from a third; answers are letters."""
    for row in _rows(path):
        if str(row.get("type", "3D")).upper() != "3D":
            continue
        choices = [str(c) for c in row["choices"]]
        chosen = choices["ABCDEF".index(str(row["answer"]).strip("() .")[0])]
        kind = "front_behind" if row["task"].lower() == "depth" else "relative_distance"
        names = ["anchor", *choices] if kind == "relative_distance" else choices
        yield _sample(str(row.get("filename") or row["image"]), _question(row["question"], kind, chosen, names))


def _spatialrgpt(path: Path) -> Iterator[PublicSample]:
    """SpatialRGPT-Bench: regions are drawn as boxes of different colours and named by colour."""
    colors = list(MARK_COLORS)
    for row in _rows(path):
        marks = [{"color": c, "rect": [float(v) for v in rect]} for c, rect in zip(colors, row["bbox"], strict=False)]
        names = [f"object in the {m['color']} box" for m in marks]
        text, said = (_named_regions(str(t), names) for t in (row["text_q"], row["conversations"][1]["value"]))
        about = row["qa_info"]
        kind = question_type(about["category"])
        true = parse_truth(kind, names, said, number=about["type"] == "quantitative")
        image = row.get("image_info", {}).get("file_path") or row["image"]
        yield _sample(str(image), _question(text, kind, true, names) | {"marks": marks})


def _named_regions(text: str, names: list[str]) -> str:
    return _REGION.sub(lambda match: f"the {names[int(match[1])]}", text)


def _n3d_bench(path: Path) -> Iterator[PublicSample]:
    """Questions and answers in sentences: `image`, `question`, `answer`, and `type` or `category`."""
    for row in _rows(path):
        text = str(row["question"])
        read = read_question(text)
        asked = read if isinstance(read, Question) else None
        kind = question_type(str(row.get("type") or row.get("category") or (asked.type if asked else "")))
        names = [phrase.label for phrase in asked.objects] if asked else []
        true = parse_truth(kind, names, str(row["answer"]), number=kind in NUMERICAL)
        yield _sample(str(row.get("image") or row["image_path"]), _question(text, kind, true, names))


def _refcoco(path: Path) -> Iterator[PublicSample]:
    """Referring expressions with 2D boxes, judged by the projected box."""
    from training.lift.lift_config import SourceConfig
    from training.lift.record import Problems
    from training.lift.sources.refcoco import read_refcoco

    for record in read_refcoco(SourceConfig("refcoco", "", str(path)), Problems()):
        asked = [
            {"text": phrase, "objects": [], "kind": "referring", "rect": [float(v) for v in a.box]}
            for a in record.annotations
            for phrase in a.phrases
        ]
        yield PublicSample(record.image, None, Truth([], asked, []))


def _omni3d(path: Path) -> Iterator[PublicSample]:
    """Omni3D: all boxes of each class in an image; rotated boxes are replaced by their axis-aligned hulls."""
    from training.lift.export.omni3d import read_omni3d

    for image, camera, turned in read_omni3d(path):
        objects = []
        for box in turned:
            corners = box.corners()
            (x, y, z), (w, h, d) = (
                ((corners.max(0) + corners.min(0)) / 2).tolist(),
                (corners.max(0) - corners.min(0)).tolist(),
            )
            objects.append(TrueObject(Box3D(box.label, (x, y, z), (w, h, d)), box.label, "", 1.0))
        asked = [
            {"text": cls, "objects": [i for i, o in enumerate(objects) if o.cls == cls], "kind": "class"}
            for cls in dict.fromkeys(o.cls for o in objects)
        ]
        yield PublicSample(image["file_path"], camera, Truth(objects, asked, []))


READERS: dict[str, Callable[[Path], Iterator[PublicSample]]] = {
    "cv-bench": _cv_bench,
    "spatialrgpt": _spatialrgpt,
    "n3d-bench": _n3d_bench,
    "refcoco": _refcoco,
    "omni3d": _omni3d,
}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list or of JSON lines."""
    text = path.read_text()
    rows = (
        json.loads(text)
        if text.lstrip().startswith("[")
        else [json.loads(line) for line in text.splitlines() if line.strip()]
    )
    return list(rows)


def _question(text: str, kind: str, answer: Any, names: list[str]) -> dict[str, Any]:
    unit = "m" if isinstance(answer, float) else "o'clock" if kind == "direction" else ""
    return {"text": text, "type": kind, "objects": [], "names": names, "answer": answer, "unit": unit}


def _sample(image: str, question: dict[str, Any]) -> PublicSample:
    return PublicSample(image, None, Truth([], [], [question]))
