"""The embedding table, left in the checkpoint's file: a query touches a few hundred of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from n3d_core.errors import BackendError
from n3d_core.network.checkpoint import load_network


class EmbeddingTable:
    """Looks up tokens and puts image tokens in the places of image pads."""

    def __init__(self, table: Tensor, image_token_id: int) -> None:
        table = table.detach()
        self._bits_only = table.dtype == torch.bfloat16  # which numpy lacks: its bits are the upper half of a float32
        self._table = (table.view(torch.uint16) if self._bits_only else table).numpy()
        self._image_token_id = image_token_id

    @classmethod
    def of_checkpoint(cls, folder: Path) -> EmbeddingTable:
        """The table of a checkpoint folder, memory-mapped in the file's own type."""
        network = load_network(folder, dtype=None)
        return cls(network.model.embed_tokens.weight, network.config.image_token_id)

    def embed(self, ids: list[int], image: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """[T, hidden] of a chunk; `image` [tokens, hidden] replaces its image pads, in order.

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
    """Refuses a chunk that has more or fewer image pads than the image has tokens (BackendError)."""
    if pads != tokens:
        raise BackendError(f"the chunk has {pads} image pads and the image {tokens} tokens: they must be equal")
