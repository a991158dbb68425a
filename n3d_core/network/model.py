"""N3D-VLM as one module: vision tower, decoder and head, with the released checkpoint's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.network.config import N3DConfig
from n3d_core.network.decoder import TextDecoder
from n3d_core.network.vision import VisionTower


class N3DNetwork(nn.Module):
    """The parts; backends and the trainer call `TextDecoder.forward` and `VisionTower.forward`."""

    def __init__(self, config: N3DConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision)
        self.model = TextDecoder(config.text)
        if not config.text.tie_word_embeddings:
            self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)

    @property
    def head_weight(self) -> Tensor:
        """[vocab, hidden]: the output head; the embedding table if the two are tied."""
        return self.model.embed_tokens.weight if self.config.text.tie_word_embeddings else self.lm_head.weight

    def type_of(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """The type of a parameter in a network that computes in `dtype`.

        In an fp16 network the down projection of the tower's last MLP is fp32: with the released weights its products
        exceed 65,504.
        """
        wide = f"visual.blocks.{self.config.vision.depth - 1}.mlp.down_proj."
        return torch.float32 if dtype == torch.float16 and name.startswith(wide) else dtype

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] -> [..., vocab]."""
        return F.linear(hidden, self.head_weight)
