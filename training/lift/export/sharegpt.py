"""ShareGPT JSON as the reference's demo uses it: `messages`, `images`, `points`, `question_type`.

Boxes are written in metres and fractions of the image, `bbox_0=Bbox(label,u,v,z,angle,sx,sy,sz)` a line, with all
digits. `points` are `.npz` files with `pcd` [H, W, 4] (x left, y up, z forward, valid) and `intr` (intrinsics
as fractions of the image's edges). The reference stores `pcd` as float16, which loses a centimetre at 20 m; here it is
float32, so that the stored depth comes back to the step. What the form has no place for lies in `samples.jsonl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.atomic_write import atomic_write
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
        boxes: those of the first reply.
        turns: the texts of all messages in their order.
    """

    image: str
    points: str
    question_type: str
    boxes: list[Box3D]
    turns: list[str]


def export_sharegpt(data: LiftedDataset, folder: str | Path) -> int:
    """Writes a run as ShareGPT JSON with its pictures and points; returns how many conversations."""
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
    """The conversations of a ShareGPT JSON, boxes in metres of the optical frame.

    Raises:
        ShardError: if the file is damaged or a box line is not readable.
    """
    root = Path(path).parent
    try:
        entries = json.loads(Path(path).read_text())
        for entry in entries:
            turns = [str(m["content"]) for m in entry["messages"]]
            points = str(entry["points"][0])
            camera, _ = read_points(root / points)
            boxes = parse_boxes(turns[1], camera) if len(turns) > 1 else []
            yield Conversation(str(entry["images"][0]), points, str(entry["question_type"]), boxes, turns)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ShardError(f"{path}: not ShareGPT JSON of this form ({type(error).__name__}: {error})") from error


def import_sharegpt(folder: str | Path) -> Iterator[Sample]:
    """The samples that `export_sharegpt` wrote, equal to the byte.

    Raises:
        ShardError: if a file is missing or damaged.
    """
    root = Path(folder)
    try:
        with (root / SIDE_NAME).open() as lines:
            for line in lines:
                meta = json.loads(line)
                key = meta["key"]
                suffix = next(s for s in ("jpg", "png") if (root / f"data/{key}.{s}").exists())
                _, depth = read_points(root / f"data/{key}.npz")
                image = (root / f"data/{key}.{suffix}").read_bytes()
                yield Sample(key, image, suffix, encode_depth(depth, meta["depth"]["unit"])[0], meta)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise ShardError(f"{root}: not an export of this form ({type(error).__name__}: {error})") from error


def box_line(index: int, box: Box3D, camera: Camera) -> str:
    """A box in metres as a line of text; u, v are fractions of the image, measured from its edges."""
    (u, v), z = camera.project(np.asarray(box.center)), box.center[2]
    at = ((float(u) + 0.5) / camera.width, (float(v) + 0.5) / camera.height, z, 0.0, *box.size)
    return f"bbox_{index}=Bbox({box.label},{','.join(repr(float(value)) for value in at)})"


def parse_boxes(text: str, camera: Camera) -> list[Box3D]:
    """Reads lines of `box_line`; a label may hold commas.

    Raises:
        ValueError: if a line is none.
    """
    boxes = []
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{line[:80]!r} is no box")
        u, v, z, _, *size = (float(g) for g in match.groups()[2:])
        x = (u * camera.width - 0.5 - camera.cx) / camera.fx * z
        y = (v * camera.height - 0.5 - camera.cy) / camera.fy * z
        boxes.append(Box3D(match.group(2), (x, y, z), (size[0], size[1], size[2])))
    return boxes


def read_points(path: Path) -> tuple[Camera, NDArray[np.float32]]:
    """Camera and depth [H, W] (metres, NaN for invalid) of a points file, the reference's demo files too."""
    with np.load(path, allow_pickle=False) as arrays:
        pcd, intr = arrays["pcd"].astype(np.float32), arrays["intr"].astype(np.float64)
    height, width = pcd.shape[:2]
    camera = Camera(
        width,
        height,
        float(intr[0, 0]) * width,
        float(intr[1, 1]) * height,
        float(intr[0, 2]) * width - 0.5,
        float(intr[1, 2]) * height - 0.5,
    )
    return camera, np.where((pcd[..., 3] > 0) & (pcd[..., 2] > 0), pcd[..., 2], np.float32(np.nan))


def _write_points(path: Path, sample: Sample) -> None:
    camera, depth = sample.camera, sample.depth_metres()
    valid = np.isfinite(depth)
    points = camera.back_project(depth)
    pcd = np.concatenate([points * np.array([-1, -1, 1], np.float32), valid[..., None]], axis=-1)
    pcd[~valid] = 0
    intr = np.array(
        [
            [camera.fx / camera.width, 0, (camera.cx + 0.5) / camera.width],
            [0, camera.fy / camera.height, (camera.cy + 0.5) / camera.height],
            [0, 0, 1],
        ]
    )
    with atomic_write(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, pcd=pcd.astype(np.float32), intr=intr)


def _entries(sample: Sample) -> Iterator[dict[str, Any]]:
    """Queries as two messages, spatial questions as four: find the boxes, then reason over them."""
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
