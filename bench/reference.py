"""Runs the same weights as the released scripts do: with transformers' `generate`, keeping nothing between passes.

The positional encoding is added by a hook before the merger; the image is encoded for both passes; every token takes a
forward pass. The preparation of image and cloud is ours in both, and is not timed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from n3d_core.errors import UnparsableError, optional
from n3d_core.language import prompts
from n3d_core.language.prompts import condition_names, first_sentence, scene_condition
from n3d_core.language.structured import BoxCodec, parse
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import PlanTensors
from n3d_core.network.preprocess import VisionInput

LONGEST_REPLY = 1024


@dataclass
class ReferenceAnswer:
    """Both replies to a question, and their times."""

    grounding: str
    reasoning: str
    seconds: float
    grounding_seconds: float
    tokens: list[int] = field(default_factory=list)  # written by each pass


class ReferenceModel:
    """transformers' Qwen2.5-VL on a checkpoint folder.

    Raises:
        MissingDependencyError: if transformers is not installed.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, device: str = "cpu") -> None:
        with optional("the reference needs transformers", "'n3d-ros[oracle]', or skip it with --no-reference"):
            from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
        self.config = N3DConfig.from_file(folder / "config.json")
        self.tokenizer, self.device = tokenizer, device
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        theirs = Qwen2_5_VLConfig.from_dict(self.config.to_json())
        model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, config=theirs, dtype=dtype)
        self.model = model.to(device).eval()
        self._encoding: torch.Tensor | None = None
        self.model.model.visual.merger.register_forward_pre_hook(self._add_encoding)

    def answer(
        self, question: str, image: VisionInput, codec: BoxCodec, script: list[list[int]] | None = None
    ) -> ReferenceAnswer:
        """Both passes of a question; a `script` prescribes their replies."""
        replies = list(script or [])
        started = time.perf_counter()
        first = self._reply(prompts.locate_prompt(question), image, replies.pop(0) if replies else None)
        grounded = time.perf_counter() - started
        grounding = self.tokenizer.decode(first)
        try:
            boxes = [codec.decode(code) for code in parse(grounding)]
        except UnparsableError:
            boxes = []  # the plain model has no grammar
        condition = scene_condition(boxes, codec.camera, condition_names(boxes))
        second = self._reply(first_sentence(question) + condition, image, replies.pop(0) if replies else None)
        seconds = time.perf_counter() - started
        return ReferenceAnswer(grounding, self.tokenizer.decode(second), seconds, grounded, [len(first), len(second)])

    @torch.inference_mode()
    def _reply(self, prompt: str, image: VisionInput, prescribed: list[int] | None) -> list[int]:
        pads = [self.config.image_token_id] * image.plan.tokens
        behind = self.tokenizer.encode(f"{prompts.VISION_END}{prompt}{prompts.SUFFIX}")
        ids = torch.tensor([[*self.tokenizer.encode(prompts.PREFIX), *pads, *behind]], device=self.device)
        encoding = PlanTensors(image.plan).encoding(torch.from_numpy(image.coordinates), self.config.vision.hidden_size)
        self._encoding = encoding.to(self.device)
        limits: dict[str, Any] = {"max_new_tokens": LONGEST_REPLY}
        if prescribed is not None:
            limits = {"max_new_tokens": len(prescribed), "logits_processor": [_Prescribed(ids.shape[1], prescribed)]}
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == self.config.image_token_id).long(),
            pixel_values=torch.from_numpy(image.patches).to(self.device),
            image_grid_thw=torch.tensor([[1, image.plan.grid_h, image.plan.grid_w]], device=self.device),
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=self.config.eos_token_id,
            pad_token_id=self.config.eos_token_id,
            **limits,
        )
        return [int(i) for i in out[0, ids.shape[1] :]]

    def _add_encoding(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        features, *rest = inputs
        assert self._encoding is not None
        return (features + self._encoding.to(features.dtype), *rest)


class _Prescribed:
    """A logits processor that allows only the next token of a text."""

    def __init__(self, start: int, ids: list[int]) -> None:
        self._start, self._ids = start, ids

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = torch.full_like(scores, float("-inf"))
        chosen[:, self._ids[ids.shape[1] - self._start]] = 0.0
        return chosen
