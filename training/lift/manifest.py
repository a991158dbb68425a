"""Writes `manifest.json` and `index.parquet` of a finished run from the shards' summaries.

They contain no times or machine names, so equal runs have equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.atomic_write import atomic_write
from training.lift.lift_config import LiftConfig
from training.lift.plan import Plan
from training.lift.problems import ShardError
from training.lift.record import Problems
from training.lift.shards import FORMAT, ShardSummary, read_rows, shard_path, write_whole

NAME = "manifest.json"
INDEX = "index.parquet"


def totals(plan: Plan, summaries: list[ShardSummary]) -> tuple[Problems, Counter[str]]:
    """Problems and rejections of the plan and all shards."""
    problems, rejected = Problems(), Counter[str]()
    problems.merge(dict(plan.problems.counts), plan.problems.examples)
    for summary in summaries:
        problems.merge(summary.problems, summary.examples)
        rejected.update(summary.rejected)
    return problems, rejected


def write_manifest(plan: Plan, config: LiftConfig, summaries: list[ShardSummary]) -> dict[str, Any]:
    """Writes the index and manifest of a complete run to its folder, and returns the manifest.

    Raises:
        OSError: if they cannot be written; no partial files are left.
        ShardError: if a shard's rows are missing.
    """
    folder = Path(config.output.folder)
    summaries = sorted(summaries, key=lambda s: s.shard)
    problems, rejected = totals(plan, summaries)
    classes = Counter[str]()
    for summary in summaries:
        classes.update(summary.classes)
    settings = dataclasses.asdict(config)
    del settings["output"]["folder"], settings["models"]["device"], settings["models"]["batch"]
    manifest = {
        "format": FORMAT,
        "fingerprint": plan.fingerprint,
        "config": settings,
        "images": plan.images,
        "samples": sum(s.samples for s in summaries),
        "objects": sum(s.objects for s in summaries),
        "groundings": sum(s.groundings for s in summaries),
        "questions": sum(s.questions for s in summaries),
        "problems": dict(sorted(problems.counts.items())),
        "rejected": dict(sorted(rejected.items())),
        "classes": dict(sorted(classes.items())),
        "cameras": dict(sorted(sum((Counter(s.cameras) for s in summaries), Counter[str]()).items())),
        "places": dict(sorted(sum((Counter(s.places) for s in summaries), Counter[str]()).items())),
        "focal_prior": _prior(config.source.fov, [e for s in summaries for e in s.focal_errors]),
        "shards": [
            {
                "file": shard_path(".", s.shard).name,
                "sha256": s.sha256,
                "bytes": s.bytes,
                "images": s.images,
                "samples": s.samples,
            }
            for s in summaries
        ],
    }
    _write_index(folder, [s.shard for s in summaries])
    write_whole(folder / NAME, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    return manifest


def _prior(fov: float, errors: list[float]) -> dict[str, Any] | None:
    """How far the focal length of the assumed field of view is off, on the images whose EXIF data tell it."""
    if not errors:
        return None
    low, middle, high = (round(q, 4) for q in np.quantile(errors, (0.05, 0.5, 0.95)).tolist())
    return {"fov": fov, "images": len(errors), "error_5": low, "error_50": middle, "error_95": high}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        ShardError: if it is missing or damaged.
    """
    path = Path(folder) / NAME
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise ShardError(f"{path}: format must be {FORMAT}; got {data['format']}")
        return data
    except FileNotFoundError as error:
        raise ShardError(
            f"{path}: missing; is the run finished? (python -m training.lift.run again resumes it)"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _write_index(folder: Path, shards: list[int]) -> None:
    """Writes `index.parquet`, one row group per shard, with one shard's rows in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = pa.list_(pa.list_(pa.float64()))
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("shard", pa.int32()),
            ("offset", pa.int64()),
            ("bytes", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("labels", pa.list_(pa.string())),
            ("centers", vectors),
            ("sizes", vectors),
            ("quality", pa.list_(pa.float64())),
            ("groundings", pa.int32()),
            ("questions", pa.int32()),
        ]
    )
    with atomic_write(folder / INDEX) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for shard in shards:
            writer.write_table(pa.Table.from_pylist(read_rows(folder, shard), schema=schema))
