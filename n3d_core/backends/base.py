"""What the pipeline asks of a backend: encode an image, and extend a sequence of tokens that has a cache."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.network.config import N3DConfig, TextConfig
from n3d_core.network.preprocess import VisionInput


class Sequence(Protocol):
    """Tokens whose keys and values are kept. One sequence is used by one thread at a time."""

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""

    @property
    def limit(self) -> int:
        """Most tokens that it can hold."""

    def extend(
        self, ids: list[int], positions: NDArray[np.int64], image: Any = None, rows: int = 1
    ) -> NDArray[np.float32]:
        """Appends a chunk in one pass.

        Args:
            ids: of the tokens.
            positions: [3, len(ids)] M-RoPE positions.
            image: what `Backend.encode` returned; its tokens replace the image pads of the chunk, in order.
            rows: for how many of the last tokens logits are wanted.

        Returns:
            logits [rows, vocab] float32: row i predicts the token after the chunk's i-th of the last `rows`.

        Raises:
            TextTooLongError: if the tokens do not fit.
            BackendError: if the run fails, finds no memory or overflows (see `finite`): the chunk is not taken in.
        """

    def truncate(self, length: int) -> None:
        """Forgets all tokens from `length` on."""


class Backend(Protocol):
    """A loaded network that can run. Threads may share one, each with sequences of its own.

    Attributes:
        name: `torch`, `onnx` or `tensorrt`, with the device, for people to read.
        reason: why this backend runs and not another, one sentence.
        config: of the network.
    """

    name: str
    reason: str
    config: N3DConfig

    @property
    def memory_bytes(self) -> int:
        """Bytes that weights and buffers take."""

    def step_bytes(self, context: int) -> int:
        """Bytes that a single step behind `context` tokens must read: decoder and head once, their keys and values."""

    def encode(self, image: VisionInput) -> Any:
        """Image tokens, in whatever form `Sequence.extend` takes."""

    def start(self) -> Sequence:
        """An empty sequence."""


def cached_numbers(text: TextConfig, context: int) -> int:
    """How many numbers the keys and values of `context` tokens are, over all layers."""
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * context
