"""A token sequence over a decoder graph: the part of `Sequence` that ONNX Runtime and TensorRT share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from n3d_core.errors import BackendError, TextTooLongError
from n3d_core.network.checkpoint import load_tensor
from n3d_core.network.config import N3DConfig, TextConfig
from n3d_core.network.model import mrope_tables


class EmbeddingTable:
    """Looks up token embeddings and replaces image pads by image tokens."""

    def __init__(self, table: Tensor, image_token_id: int) -> None:
        table = table.detach()
        self._bits_only = table.dtype == torch.bfloat16  # numpy lacks it: its bits are the upper half of a float32
        self._table = (table.view(torch.uint16) if self._bits_only else table).numpy()
        self._image_token_id = image_token_id

    @classmethod
    def of_checkpoint(cls, folder: Path) -> EmbeddingTable:
        """Loads a checkpoint folder's table, memory-mapped in the file's own type."""
        config = N3DConfig.from_file(folder / "config.json")
        return cls(load_tensor(folder, "model.embed_tokens.weight"), config.image_token_id)

    def embed(self, ids: list[int], image: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Embeddings [T, hidden] of a chunk; `image` [tokens, hidden] replaces its image pads, in order.

        Raises:
            BackendError: if the chunk has more or fewer image pads than the image has tokens.
        """
        tokens = np.array(ids, np.int64)
        rows = self._rows(tokens)
        if image is not None:
            pads = tokens == self._image_token_id
            require_pads(int(pads.sum()), len(image))
            rows[pads] = image
        return rows

    def _rows(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self._table[tokens]
        if self._bits_only:
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32)


def require_pads(pads: int, tokens: int) -> None:
    """Raises BackendError unless a chunk has as many image pads as the image has tokens."""
    if pads != tokens:
        raise BackendError(f"the chunk must have {tokens} image pads, as many as the image has tokens; got {pads}")


FIRST_BUCKET = 256  # tokens; attention reads the whole bucket
SPARE_CACHES = 2  # of finished sequences, kept for the next ones: of a view, and of one that replaces it meanwhile


@dataclass(frozen=True)
class Chunk:
    """Tokens that enter the decoder in one pass.

    Attributes:
        embeddings: [T, hidden] float32.
        cos, sin: [T, head_size / 2] float32, M-RoPE.
        start: number of cached tokens before the chunk.
        rows: [R] int64, indices of the tokens that need logits.
        sees: [T, start + T], True where a token may attend; None for itself and everything before it.
    """

    embeddings: NDArray[np.float32]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]
    start: int
    rows: NDArray[np.int64]
    sees: NDArray[np.bool_] | None = None

    @property
    def length(self) -> int:
        """Number of tokens, T."""
        return len(self.embeddings)

    @property
    def end(self) -> int:
        """Number of cached tokens after the chunk."""
        return self.start + self.length

    def mask(self, visible: int) -> NDArray[np.bool_]:
        """[T, visible], True where a token may attend."""
        if self.sees is not None:
            return np.pad(self.sees, ((0, 0), (0, visible - self.end)))
        return np.arange(visible) <= self.start + np.arange(self.length)[:, None]

    def inputs(self, bucket: int) -> dict[str, NDArray[Any]]:
        """The decoder graph's inputs (see `export.graph`), but for the cache."""
        return {
            "embeddings": self.embeddings[None],
            "cos": self.cos[None],
            "sin": self.sin[None],
            "mask": self.mask(bucket)[None, None],
            "write_indices": np.array([self.start]),
            "rows": self.rows,
        }

    @classmethod
    def blank(cls, text: TextConfig, length: int, rows: int) -> Chunk:
        """A chunk of zeros, whose inputs have the shapes and types of any of its length."""
        angles = np.zeros((length, text.head_size // 2), np.float32)
        return cls(np.zeros((length, text.hidden_size), np.float32), angles, angles, 0, np.zeros(rows, np.int64))


class DecoderCache(Protocol):
    """Keys and values of one sequence in device memory."""

    def run(self, chunk: Chunk, bucket: int) -> NDArray[np.float32]:
        """Appends a chunk with attention over the first `bucket` slots; returns logits [R, vocab]."""

    def reserve(self, bucket: int, used: int) -> None:
        """Makes room for `bucket` tokens, keeping the first `used`."""


Owner = TypeVar("Owner")


class ReusableCache(Generic[Owner]):
    """A cache that later sequences reuse. It refers to its backend only while in use, so as not to keep it alive."""

    def __init__(self, backend: Owner) -> None:
        self.backend: Owner | None = backend

    @property
    def _backend(self) -> Owner:
        assert self.backend is not None
        return self.backend


Cache = TypeVar("Cache", bound=ReusableCache[Any])


def take_back(spare: deque[Cache], backend: Any, make: Callable[[Any], Cache]) -> Cache:
    """The cache of a finished sequence for a new one; a new cache if there is none."""
    try:
        cache = spare.pop()
    except IndexError:
        return make(backend)
    cache.backend = backend
    return cache


def give_back(spare: deque[Cache], cache: Cache) -> None:
    """Keeps the cache of a finished sequence for the next one; a full `spare` drops its oldest."""
    cache.backend = None
    spare.append(cache)


class TokenCount:
    """How many tokens of a cache a sequence uses; see `base.Sequence`."""

    def __init__(self) -> None:
        self._length = 0

    @property
    def length(self) -> int:
        """See `base.Sequence.length`."""
        return self._length

    def truncate(self, length: int) -> None:
        """See `base.Sequence.truncate`."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot truncate a sequence of {self._length} tokens to {length}")
        self._length = length


class CachedSequence(TokenCount):
    """See `base.Sequence`; `limit` tokens fit.

    Args:
        max_chunk, max_rows: tokens and rows of logits of one pass; a longer chunk takes several.
        fine: whether there is another bucket between each and its double, and a bucket is left again when half of it
            would do.
    """

    def __init__(
        self,
        config: TextConfig,
        table: EmbeddingTable,
        cache: DecoderCache,
        limit: int,
        max_chunk: int,
        max_rows: int,
        fine: bool = False,
    ) -> None:
        super().__init__()
        self._config, self._table, self._cache = config, table, cache
        self.limit, self._max_chunk, self._max_rows, self._fine = limit, max_chunk, max_rows, fine
        self._bucket = 0

    def extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: NDArray[np.float32] | None = None,
        rows: int = 1,
        sees: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """See `base.Sequence.extend`.

        Raises:
            TextTooLongError: if the tokens do not fit in the cache.
        """
        start = self._length
        self._reserve(start + len(ids))
        embeddings = self._table.embed(ids, image)
        half = self._config.head_size // 2
        cos, sin = (table[:, :half] for table in mrope_tables(self._config, positions))
        first = len(ids) - rows  # first token that needs logits
        logits = []
        end = 0
        while end < len(ids):
            begin, end = end, min(end + self._max_chunk, max(end, first) + self._max_rows, len(ids))
            part, size = slice(begin, end), end - begin
            wanted = np.arange(max(first - begin, 0), size)
            asked = wanted if wanted.size else np.array([size - 1])  # a graph returns at least one row
            seen = None if sees is None else sees[part, : start + end]
            chunk = Chunk(embeddings[part], cos[part], sin[part], start + begin, asked, seen)
            found = self._cache.run(chunk, self._bucket)
            if wanted.size:
                logits.append(found)
        self._length = start + len(ids)  # after the last pass: if one fails, nothing is added
        return logits[0] if len(logits) == 1 else np.concatenate(logits)

    def _reserve(self, length: int) -> None:
        if length > self.limit:
            raise TextTooLongError(
                f"the sequence would have {length} tokens; the limit is {self.limit}: shorten the text (`n3d compile "
                "--cache` sets an engine's limit)"
            )
        bucket = max(self._bucket, FIRST_BUCKET)
        if self._fine and 2 * length <= bucket:
            bucket = FIRST_BUCKET
        while bucket < length:
            between = self._fine and bucket & (bucket - 1) == 0
            bucket = bucket * 3 // 2 if between else 1 << bucket.bit_length()
        bucket = min(bucket, self.limit)
        if bucket != self._bucket:
            self._cache.reserve(bucket, self._length)
            self._bucket = bucket
