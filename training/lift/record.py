"""What a source states about an image, before any pixel is read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from n3d_core.geometry import Camera
from training.lift.object_mask import Box2D

LONGEST_KEY = 88  # names of tar members have at most 100 characters, including the suffix
Rle = dict[str, Any]


@dataclass(frozen=True)
class Annotation:
    """One object in 2D.

    Attributes:
        label: its class.
        box: left, top, right, bottom in pixels.
        mask: COCO's compressed run lengths `{"size": [h, w], "counts": str}`, or None.
        crowd: whether it is a group of objects.
        id: its id in the source.
        phrases: referring expressions for it.
        mask_file: image file with its mask, for sources with mask files.
    """

    label: str
    box: Box2D
    mask: Rle | None = None
    crowd: bool = False
    id: str = ""
    phrases: tuple[str, ...] = ()
    mask_file: str = ""


@dataclass(frozen=True)
class DepthSource:
    """Where measured depth comes from.

    Attributes:
        path: depth file; for a bag, its topics and stamp.
        unit: as for `n3d_core.depth.DepthUnit`; empty for the file type's default.
    """

    path: str
    unit: str = ""


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        key: unique name of the sample; letters, digits, `_` and `-`.
        image: path of the image, or of its bag.
        width, height: size stated by the source; 0 if it states none.
        annotations: objects in 2D.
        camera: intrinsics, if known.
        depth: source of measured depth, if any.
        down: direction of gravity in the optical frame, if known.
        stamp_ns: time of the message in a bag; 0 otherwise.
        shares: whether boxes are fractions of the image's width and height.
    """

    key: str
    image: str
    width: int = 0
    height: int = 0
    annotations: tuple[Annotation, ...] = ()
    camera: Camera | None = None
    depth: DepthSource | None = None
    down: tuple[float, float, float] | None = None
    stamp_ns: int = 0
    shares: bool = False

    def in_pixels(self, width: int, height: int) -> Record:
        """The record with boxes in pixels of an image of this size."""
        if not self.shares:
            return self
        scale = (width, height, width, height)
        boxes = (tuple(v * s for v, s in zip(a.box, scale, strict=True)) for a in self.annotations)
        annotations = tuple(replace(a, box=box) for a, box in zip(self.annotations, boxes, strict=True))
        return replace(self, width=width, height=height, annotations=annotations, shares=False)

    def to_json(self) -> dict[str, Any]:
        """The JSON form that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """Reads the form of `to_json`."""
        data = dict(data)
        data["annotations"] = tuple(
            Annotation(**{**a, "box": tuple(a["box"]), "phrases": tuple(a["phrases"])}) for a in data["annotations"]
        )
        data["camera"] = Camera(**data["camera"]) if data["camera"] else None
        data["depth"] = DepthSource(**data["depth"]) if data["depth"] else None
        data["down"] = tuple(data["down"]) if data["down"] else None
        return cls(**data)


@dataclass
class Problems:
    """Problems counted by reason, with a few examples each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    keep: int = 5

    def add(self, reason: str, example: str = "") -> None:
        """Counts a problem."""
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if example and len(kept) < self.keep:
            kept.append(printable(example))

    def merge(self, counts: dict[str, int], examples: dict[str, list[str]]) -> None:
        """Adds the problems of a part of the run."""
        self.counts.update(counts)
        for reason, some in examples.items():
            kept = self.examples.setdefault(reason, [])
            kept.extend(some[: max(0, self.keep - len(kept))])


def printable(text: str) -> str:
    """The text with everything escaped that is not valid UTF-8, which file names and JSON may contain."""
    return text.encode("utf-8", "backslashreplace").decode()


def safe_key(*parts: object) -> str:
    """A sample key of names, with `_` for all but letters, digits, `_` and `-` (WebDataset keys end at a dot)."""
    key = re.sub(r"[^0-9A-Za-z_-]+", "_", "_".join(str(p) for p in parts if str(p) != "")).strip("_") or "sample"
    return (
        key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 17]}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    )
