"""Shards on disk: WebDataset tars whose bytes depend only on their contents, with a JSON file each.

A shard is written atomically, followed by `shard-NNNNNN.json` with its digest, index rows and counts. A shard without a
matching JSON file was left by a killed worker, and is written again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import atomic_write
from training.lift.problems import ShardError
from training.lift.record import printable
from training.lift.sample import Sample

FORMAT = 3


@dataclass(frozen=True)
class ShardSummary:
    """The summary of a finished shard; small, because a run holds those of all shards.

    Attributes:
        shard: its number.
        fingerprint: fingerprint of its configuration and plan.
        sha256, bytes: digest and size of the tar.
        images: number of records it was made from.
        samples, objects, groundings, questions: number of each in it.
        classes: number of objects by label.
        problems, rejected: numbers of images left out and objects rejected, by reason.
        examples: a few images for each reason.
        cameras: number of samples by the origin of their intrinsics.
        focal_errors: relative errors of the focal length of `source.fov`, for images with EXIF data.
        places: number of samples by `training.lift.place`, where that chose the depth model.
        seconds: time of each stage; ignored when shards are compared.
    """

    shard: int
    fingerprint: str
    sha256: str
    bytes: int
    images: int
    samples: int
    objects: int
    groundings: int
    questions: int
    classes: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    cameras: dict[str, int] = field(default_factory=dict)
    focal_errors: list[float] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def shard_path(folder: str | Path, shard: int) -> Path:
    """The path of a shard's tar."""
    return Path(folder) / f"shard-{shard:06d}.tar"


def write_shard(
    folder: str | Path, shard: int, samples: list[Sample], fingerprint: str, counted: ShardCounts
) -> ShardSummary:
    """Writes a shard and its summary atomically; equal input gives equal bytes.

    Raises:
        OSError: if the disk is full or the folder cannot be written; no partial file is left.
    """
    data, rows = pack(samples)
    path = shard_path(folder, shard)
    for row in rows:
        row["shard"] = shard
    write_whole(path, data)
    classes = Counter(label for row in rows for label in row["labels"])
    summary = ShardSummary(
        shard=shard,
        fingerprint=fingerprint,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        images=counted.images,
        samples=len(rows),
        objects=classes.total(),
        groundings=sum(row["groundings"] for row in rows),
        questions=sum(row["questions"] for row in rows),
        classes=dict(sorted(classes.items())),
        problems=dict(sorted(counted.problems.items())),
        rejected=dict(sorted(counted.rejected.items())),
        examples=dict(sorted(counted.examples.items())),
        cameras=dict(sorted(counted.cameras.items())),
        focal_errors=counted.focal_errors,
        places=dict(sorted(counted.places.items())),
        seconds={k: round(v, 4) for k, v in counted.seconds.items()},
    )
    text = json.dumps({"format": FORMAT, **asdict(summary), "rows": rows}, ensure_ascii=False)
    write_whole(path.with_suffix(".json"), text.encode())
    return summary


@dataclass
class ShardCounts:
    """Counts made while a shard is produced."""

    images: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    cameras: Counter[str] = field(default_factory=Counter)
    focal_errors: list[float] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def camera(self, origin: str, focal_error: float | None) -> None:
        """Counts where a sample's intrinsics come from, and the error of the assumed ones if it is known."""
        self.cameras[origin] += 1
        if focal_error is not None:
            self.focal_errors.append(round(focal_error, 4))

    def problem(self, reason: str, example: str, keep: int = 5) -> None:
        """Counts an unusable image or mask."""
        self.problems[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < keep:
            kept.append(printable(example))


def finished_shard(folder: str | Path, shard: int, fingerprint: str, verify: bool = False) -> ShardSummary | None:
    """The summary of a complete shard of this run; None if the shard must be made.

    Args:
        folder: folder of the run.
        shard: its number.
        fingerprint: fingerprint of the configuration and plan.
        verify: whether to check the tar's digest, not only its size.
    """
    path = shard_path(folder, shard)
    try:
        summary = read_summary(path.with_suffix(".json"))
        whole = path.stat().st_size == summary.bytes and summary.fingerprint == fingerprint
        if whole and verify:
            whole = hashlib.sha256(path.read_bytes()).hexdigest() == summary.sha256
    except (OSError, ShardError):
        return None
    return summary if whole else None


def read_summary(path: str | Path) -> ShardSummary:
    """Reads `shard-NNNNNN.json`.

    Raises:
        ShardError: if it is damaged.
    """
    return _read(path)[0]


def read_rows(folder: str | Path, shard: int) -> list[dict[str, Any]]:
    """The index rows of a finished shard: key, offset and size in the tar, labels and boxes of each sample.

    Raises:
        ShardError: if its file is missing or damaged.
    """
    path = shard_path(folder, shard).with_suffix(".json")
    try:
        return _read(path)[1]
    except FileNotFoundError as error:
        raise ShardError(f"{path}: missing; run the engine again to restore the shard") from error


def _read(path: str | Path) -> tuple[ShardSummary, list[dict[str, Any]]]:
    try:
        data = json.loads(Path(path).read_text())
        if data.pop("format") != FORMAT:
            raise ShardError(f"{path}: its format must be {FORMAT}")
        rows = data.pop("rows")
        return ShardSummary(**data), rows
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path}: not a shard summary ({type(error).__name__}: {error})") from error


def pack(samples: list[Sample]) -> tuple[bytes, list[dict[str, Any]]]:
    """Bytes of a tar of samples (ustar, without times and owners), and an index row for each sample."""
    buffer = io.BytesIO()
    rows = []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            offset = buffer.tell()
            for name, data in sample.files():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                member.mode = 0o644
                tar.addfile(member, io.BytesIO(data))
            rows.append({**_row(sample), "offset": offset, "bytes": buffer.tell() - offset})
    return buffer.getvalue(), rows


def unpack(data: bytes, where: str) -> Iterator[Sample]:
    """The samples in the bytes of a tar, or of the part of it that an index row names.

    Raises:
        ShardError: if the tar is truncated or damaged, or a sample is incomplete.
    """
    key, files = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if name != key and files:
                    yield Sample.from_files(key, files)
                    files = {}
                key = name
                stream = tar.extractfile(member)
                files[suffix] = stream.read() if stream else b""
                if len(files[suffix]) != member.size:
                    raise ShardError(f"{where}: {member.name} is truncated")
    except tarfile.TarError as error:
        raise ShardError(f"{where}: damaged after sample {key or '(none)'}: {error}") from error
    if files:
        yield Sample.from_files(key, files)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file atomically and flushes it to disk."""
    with atomic_write(path) as part, part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _row(sample: Sample) -> dict[str, Any]:
    objects = sample.meta["objects"]
    return {
        "key": sample.key,
        "width": sample.camera.width,
        "height": sample.camera.height,
        "labels": [o["label"] for o in objects],
        "centers": [o["box"]["center"] for o in objects],
        "sizes": [o["box"]["size"] for o in objects],
        "quality": [o["quality"] for o in objects],
        "groundings": len(sample.meta["groundings"]),
        "questions": len(sample.meta["questions"]),
    }
