"""Where a graph's weights come from: the tensors of a loaded network, one at a time, as fp32 arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork


class Weights(Protocol):
    """A model's tensors by the released checkpoint's names."""

    config: N3DConfig

    def tensor(self, name: str) -> NDArray[np.float32]:
        """One tensor in fp32."""


class NetworkWeights:
    """The parameters of a network, which may be memory-mapped (`load_network(folder, dtype=None)`)."""

    def __init__(self, network: N3DNetwork) -> None:
        self.config = network.config
        self._parameters = dict(network.named_parameters())

    def tensor(self, name: str) -> NDArray[np.float32]:
        """See `Weights.tensor`. The head of a tied model is its embedding table."""
        if name == "lm_head.weight" and self.config.text.tie_word_embeddings:
            name = "model.embed_tokens.weight"
        return self._parameters[name].detach().float().cpu().numpy()
