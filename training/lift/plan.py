"""The plan of a run: all records of the source, divided into shards: a Parquet file with one row group per shard.

It is written once, before any image is read. Each worker reads only the row group of its shard, so no process holds all
annotations, and a resumed run has the same shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import atomic_write
from training.lift.lift_config import LiftConfig
from training.lift.problems import ShardError, SourceError
from training.lift.record import Problems, Record
from training.lift.sources import read_source

NAME = "plan.parquet"


@dataclass(frozen=True)
class Plan:
    """A written plan.

    Attributes:
        path: the Parquet file.
        fingerprint: hash of the configuration and all records, stored in each shard.
        shards, images: their numbers.
        problems: entries that the source left out.
    """

    path: Path
    fingerprint: str
    shards: int
    images: int
    problems: Problems

    def records(self, shard: int) -> list[Record]:
        """The records of a shard.

        Raises:
            ShardError: if the plan is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            group = pq.ParquetFile(self.path).read_row_group(shard)
            return [Record.from_json(json.loads(text)) for text in group["record"].to_pylist()]
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{self.path}: shard {shard} cannot be read: {error}; delete it to plan again") from error


def make_plan(config: LiftConfig) -> Plan:
    """The plan of a configuration: the existing one in the output folder if it matches, else a new one.

    Raises:
        SourceError: if the source cannot be read or is empty.
        ShardError: if the folder holds shards of another configuration.
    """
    folder = Path(config.output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = read_plan(folder / NAME)
    if found is not None:
        if found[1] == config.fingerprint:
            return found[0]
        raise ShardError(
            f"{folder}: contains a run of another configuration ({found[1]}, this one is {config.fingerprint}): "
            "use another output.folder, or delete that run"
        )
    problems = Problems()
    with atomic_write(folder / NAME) as part:
        shards, images, digest = _write(part, read_source(config.source, problems), config, problems)
        if not images:
            left_out = f"; left out: {dict(problems.counts)}" if problems.counts else ""
            raise SourceError(f"{config.source.images}: no usable image for source.kind {config.source.kind}{left_out}")
    return Plan(folder / NAME, f"{config.fingerprint}-{digest}", shards, images, problems)


def read_plan(path: Path) -> tuple[Plan, str] | None:
    """A plan on disk and the fingerprint of its configuration; None if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        meta = json.loads(file.schema_arrow.metadata[b"n3d"])
        tail = json.loads(file.metadata.metadata[b"n3d_counts"])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None
    problems = Problems()
    problems.merge(tail["problems"], tail["examples"])
    plan = Plan(path, f"{meta['config']}-{tail['digest']}", file.num_row_groups, tail["images"], problems)
    return plan, meta["config"]


def _write(path: Path, records: Iterator[Record], config: LiftConfig, problems: Problems) -> tuple[int, int, str]:
    """Writes a plan; returns the numbers of shards and images, and a digest of all records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("key", pa.string()), ("record", pa.string())])
    schema = schema.with_metadata({"n3d": json.dumps({"config": config.fingerprint})})
    digest, shards, images = hashlib.sha256(), 0, 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []

        def flush() -> None:
            nonlocal shards, images
            if batch:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema), row_group_size=len(batch))
                shards, images = shards + 1, images + len(batch)
                batch.clear()

        for record in records:
            text = json.dumps(record.to_json(), ensure_ascii=False, separators=(",", ":"))
            digest.update(text.encode())
            batch.append({"key": record.key, "record": text})
            if len(batch) == config.output.images_per_shard:
                flush()
        flush()
        counts = {
            "digest": digest.hexdigest()[:16],
            "images": images,
            "problems": dict(problems.counts),
            "examples": problems.examples,
        }
        writer.add_key_value_metadata({"n3d_counts": json.dumps(counts)})
    return shards, images, digest.hexdigest()[:16]
