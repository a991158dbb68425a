"""Reads shards for training: in order, by index, or divided over ranks and loader workers."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.lift.manifest import INDEX, read_manifest
from training.lift.problems import ShardError
from training.lift.sample import Sample
from training.lift.shards import unpack


class LiftedDataset:
    """The samples of a finished run.

    Args:
        folder: folder of the run (`output.folder`).
        verify: whether to check the digest of every shard first.

    Raises:
        ShardError: if the manifest or a shard is missing or differs from what was written.
    """

    def __init__(self, folder: str | Path, verify: bool = False) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_manifest(folder)
        for shard in self.manifest["shards"]:
            path = self.folder / shard["file"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise ShardError(
                    f"{path}: missing, or not {shard['bytes']} bytes long; run the engine again to restore it"
                )
            if verify and hashlib.sha256(path.read_bytes()).hexdigest() != shard["sha256"]:
                raise ShardError(f"{path}: its digest differs from the manifest's; delete it and run the engine again")

    def __len__(self) -> int:
        return int(self.manifest["samples"])

    def __getitem__(self, index: int) -> Sample:
        """A sample by index; reads only its bytes."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index}: the run has {len(self)}")
        shard, offset, size = (int(column[index % len(self)]) for column in self._places)
        path = self.folder / self.manifest["shards"][shard]["file"]
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size)
        return next(unpack(data, f"{path} at {offset}"))

    def index(self, *columns: str) -> Any:
        """The index as a `pyarrow.Table`, one row per sample; all columns if none are named.

        Raises:
            ShardError: if it is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.folder / INDEX, columns=list(columns) or None)
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{self.folder / INDEX}: cannot be read ({error}); run the engine again") from error

    @functools.cached_property
    def _places(self) -> list[NDArray[np.int64]]:
        """Shard, offset and size of each sample (24 bytes per sample)."""
        table = self.index("shard", "offset", "bytes")
        return [column.to_numpy().astype(np.int64) for column in table.columns]

    def shard(self, number: int) -> Iterator[Sample]:
        """The samples of a shard, in order."""
        path = self.folder / self.manifest["shards"][number]["file"]
        return unpack(path.read_bytes(), str(path))

    def __iter__(self) -> Iterator[Sample]:
        for number in range(len(self.manifest["shards"])):
            yield from self.shard(number)

    def stream(self, rank: int = 0, world: int = 1, seed: int | None = None, buffer: int = 256) -> Iterator[Sample]:
        """The samples for one of `world` readers, each of which gets its own whole shards.

        Args:
            rank, world: index of the reader, and number of readers (processes times loader workers).
            seed: shuffles shards, and samples within a window of `buffer`; None keeps the order.
            buffer: size of the shuffle window.
        """
        if not 0 <= rank < world:
            raise ShardError(f"rank must be from 0 to {world - 1} with {world} readers; got {rank}")
        numbers = list(range(len(self.manifest["shards"])))
        if seed is None:
            for number in numbers[rank::world]:
                yield from self.shard(number)
            return
        random.Random(seed).shuffle(numbers)
        rng = random.Random(f"{seed}:{rank}")
        window: list[Sample] = []
        for number in numbers[rank::world]:
            for sample in self.shard(number):
                window.append(sample)
                if len(window) >= buffer:
                    yield window.pop(rng.randrange(len(window)))
        rng.shuffle(window)
        yield from window
