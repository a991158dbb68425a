"""Exports ShareGPT JSON as in the reference's demo: `messages`, `images`, `points`, `question_type`.

Boxes are lines `bbox_0=Bbox(label,u,v,z,angle,sx,sy,sz)` in metres and fractions of the image, with all digits. Points
are the reference's point maps (`n3d_core.depth.files.read_point_map`), in float32: its float16 loses a centimetre at
20 m. Everything that the format cannot hold is in `samples.jsonl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.atomic_write import atomic_write
from n3d_core.depth.files import read_point_map
from n3d_core.errors import CameraError, DepthError, N3DError
from n3d_core.geometry import Box3D, Camera
from training.lift.problems import ShardError
from training.lift.reader import LiftedDataset
from training.lift.sample import Sample, encode_depth
from training.lift.shards import write_whole

JSON_NAME = "sharegpt.json"
SIDE_NAME = "samples.jsonl"
TEMPLATE = " The reference code is as followed: <code_template>"
_LINE = re.compile(r"bbox_(\d+)=Bbox\((.*)," + ",".join([r"\s*([-+0-9.eE]+)\s*"] * 7) + r"\)")


@dataclass(frozen=True)
class Conversation:
    """One entry of the JSON, read back.

    Attributes:
        image, points: paths relative to the JSON's folder.
        question_type: kind of the query or question.
        boxes: boxes of the first reply.
        turns: texts of all messages, in order.
    """

    image: str
    points: str
    question_type: str
    boxes: list[Box3D]
    turns: list[str]


def export_sharegpt(data: LiftedDataset, folder: str | Path) -> int:
    """Writes a run as ShareGPT JSON with its images and points; returns the number of conversations."""
    root = Path(folder)
    (root / "data").mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        atomic_write(root / JSON_NAME) as part,
        atomic_write(root / SIDE_NAME) as side,
        part.open("w") as stream,
        side.open("w") as lines,
    ):
        stream.write("[")
        for sample in data:
            image, points = f"data/{sample.key}.{sample.suffix}", f"data/{sample.key}.npz"
            write_whole(root / image, sample.image)
            _write_points(root / points, sample)
            lines.write(json.dumps(sample.meta, ensure_ascii=False, sort_keys=True) + "\n")
            for entry in _entries(sample):
                text = json.dumps({**entry, "images": [image], "points": [points]}, ensure_ascii=False, indent=1)
                stream.write((",\n" if count else "\n") + text)
                count += 1
        stream.write("\n]\n")
    return count


def read_sharegpt(path: str | Path) -> Iterator[Conversation]:
    """The conversations of a ShareGPT JSON, with boxes in metres in the optical frame.

    Raises:
        ShardError: if the file is damaged or a box line cannot be parsed.
    """
    root = Path(path).parent
    try:
        entries = json.loads(Path(path).read_text())
        for entry in entries:
            turns = [str(m["content"]) for m in entry["messages"]]
            points = str(entry["points"][0])
            _, camera = read_point_map(root / points)
            boxes = parse_boxes(turns[1], camera) if len(turns) > 1 else []
            yield Conversation(str(entry["images"][0]), points, str(entry["question_type"]), boxes, turns)
    except (OSError, ValueError, KeyError, IndexError, TypeError, N3DError) as error:
        raise ShardError(f"{path}: not ShareGPT JSON of this form ({type(error).__name__}: {error})") from error


def import_sharegpt(folder: str | Path) -> Iterator[Sample]:
    """The samples written by `export_sharegpt`, equal to the byte.

    Raises:
        ShardError: if a file is missing or damaged.
    """
    root = Path(folder)
    return imported(root, "data", lambda meta: _depth_of(root / f"data/{meta['key']}.npz", meta["depth"]["unit"]))


def _depth_of(points: Path, unit: float) -> bytes:
    return encode_depth(read_point_map(points)[0], unit)[0]


def imported(root: Path, images: str, depth_of: Callable[[dict[str, Any]], bytes]) -> Iterator[Sample]:
    """The samples of an export, with images in the folder `images` and depth by `depth_of` from a sample's metadata."""
    try:
        for line in (root / SIDE_NAME).read_text().splitlines():
            meta = json.loads(line)
            image = next(p for s in ("jpg", "png") if (p := root / images / f"{meta['key']}.{s}").exists())
            yield Sample(meta["key"], image.read_bytes(), image.suffix[1:], depth_of(meta), meta)
    except (OSError, ValueError, KeyError, StopIteration, DepthError, CameraError) as error:
        raise ShardError(f"{root}: not an export of this format ({type(error).__name__}: {error})") from error


def box_line(index: int, box: Box3D, camera: Camera) -> str:
    """A box in metres as a line of text; u, v are fractions of the image from edge to edge."""
    (u, v), z = camera.project(np.asarray(box.center)), box.center[2]
    at = ((float(u) + 0.5) / camera.width, (float(v) + 0.5) / camera.height, z, 0.0, *box.size)
    return f"bbox_{index}=Bbox({box.label},{','.join(repr(float(value)) for value in at)})"


def parse_boxes(text: str, camera: Camera) -> list[Box3D]:
    """Parses lines of `box_line`; labels may contain commas.

    Raises:
        ValueError: if a line is not a box.
    """
    boxes = []
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{line[:80]!r} is not a box")
        u, v, z, _, *size = (float(g) for g in match.groups()[2:])
        x = (u * camera.width - 0.5 - camera.cx) / camera.fx * z
        y = (v * camera.height - 0.5 - camera.cy) / camera.fy * z
        boxes.append(Box3D(match.group(2), (x, y, z), (size[0], size[1], size[2])))
    return boxes


def _write_points(path: Path, sample: Sample) -> None:
    camera, depth = sample.camera, sample.depth_metres()
    valid = np.isfinite(depth)
    points = camera.back_project(depth)
    pcd = np.concatenate([points * np.array([-1, -1, 1], np.float32), valid[..., None]], axis=-1)
    pcd[~valid] = 0
    with atomic_write(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, pcd=pcd.astype(np.float32), intr=camera.fractions)


def _entries(sample: Sample) -> Iterator[dict[str, Any]]:
    """Queries have two messages, spatial questions four: find the boxes, then reason over them."""
    boxes, camera = sample.boxes(), sample.camera
    for query in sample.meta["groundings"]:
        text = "Detect boxes." if query["kind"] == "detect" else _identify(query["text"])
        said = _lines([boxes[i].label for i in query["objects"]], query["objects"], boxes, camera)
        yield _conversation(query["kind"], f"<image>{text}{TEMPLATE}", said)
    for question in sample.meta["questions"]:
        ask = f"<image>{question['text']} First locate the bbox of the aforementioned object(s).{TEMPLATE}"
        said = _lines(question["labels"], question["objects"], boxes, camera)
        yield _conversation(question["type"], ask, said, question["text"], question["reply"])


def _identify(text: str) -> str:
    return f"Identify the 3D boxes for all the '{text}' in this scene."


def _lines(labels: list[str], rows: list[int], boxes: list[Box3D], camera: Camera) -> str:
    named = [Box3D(label, boxes[i].center, boxes[i].size) for label, i in zip(labels, rows, strict=True)]
    return "".join(box_line(n, box, camera) + "\n" for n, box in enumerate(named))


def _conversation(kind: str, *turns: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [{"content": t, "role": roles[i % 2]} for i, t in enumerate(turns)],
        "question_type": kind,
    }
