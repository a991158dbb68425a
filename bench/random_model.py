"""Random weights in the released sizes, with prescribed replies: for benchmarks without a download."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from n3d_core.decoding.calibration import Calibration, Existence
from n3d_core.errors import ConfigError
from n3d_core.language.prompts import condition_names, scene_condition
from n3d_core.language.structured import BoxCodec, parse, serialise
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig, TextConfig, VisionConfig
from n3d_core.network.model import N3DNetwork
from n3d_core.reasoning.question import Phrase, Question
from n3d_core.reasoning.solve import solve

QUESTION = "How far is the red mug from the blue box?"
GROUNDING = "bbox_0=Bbox(red mug,412,530,388,500,61,74,60)\nbbox_1=Bbox(blue box,640,518,455,500,140,122,133)"

TRUSTING = Calibration(existence=Existence((0.0,) * 6, (0.0,) * 8, threshold=0.0, sure=0.0))
"""Accepts every box: prescribed replies of random weights have no evidence."""

_INDEX = "model.safetensors.index.json"
_POOL = (1 << 22) + 1  # odd, so that rows differ
_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}


def random_checkpoint(place: Path, size: str, layers: int | None, words: Path) -> Path:
    """A folder `random-SIZE` in `place`, with the tokenizer of the checkpoint folder `words`.

    Raises:
        ConfigError: if the size is unknown.
    """
    config = released_config(size, layers, N3DConfig.from_file(words / "config.json"))
    folder = place / f"random-{size}"
    write_random_checkpoint(folder, config, words / "tokenizer.json")
    return folder


@contextmanager
def cache_at(place: str) -> Iterator[None]:
    """Writes graphs of random weights next to the weights, so that they are removed together."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = place
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


def prescribed_replies(tokenizer: Tokenizer, codec: BoxCodec, end: int) -> list[list[int]]:
    """Ids of the replies of both passes to `QUESTION`, each with the turn's `end`.

    They have the released model's patterns, two boxes, then a chain of thought that states the boxes of its prompt and
    concludes, so that both ways write the same tokens and as many as a trained model would.

    Args:
        codec: of the frame, which says where the prescribed bins lie.
    """
    return [[*tokenizer.encode(text), end] for text in (GROUNDING, reasoning(codec))]


def phrase_replies(tokenizer: Tokenizer, replies: list[list[int]]) -> list[list[int]]:
    """The same replies when each phrase is grounded alone: one box each, then the reasoning."""
    end = replies[0][-1]
    alone = [[*tokenizer.encode(serialise([code])), end] for code in parse(GROUNDING)]
    return [*alone, replies[-1]]


def reasoning(codec: BoxCodec) -> str:
    """The second reply: the boxes as the prompt states them, their distance, and the answer."""
    boxes = [codec.decode(code) for code in parse(GROUNDING)]
    names = condition_names(boxes)
    stated, _, _ = scene_condition(boxes, codec.camera, names).partition("The 2D bbox")
    about = tuple(Phrase(name, name, named=True) for name in names)
    answer = solve(Question("distance", "number", about), boxes, names).text
    return f"<think>{stated.strip()} So {answer[0].lower()}{answer[1:]}</think>{answer}"


def released_config(size: str, layers: int | None, words: N3DConfig) -> N3DConfig:
    """The 3B or 7B with the special tokens of another model, whose tokenizer it borrows.

    Args:
        size: `3b` or `7b`.
        layers: of tower and decoder; None keeps them all. The last block of the tower attends to the whole image.

    Raises:
        ConfigError: if the size is unknown.
    """
    if size not in ("3b", "7b"):
        raise ConfigError(f"--random-weights must be 3b or 7b; got {size!r}")
    text = TextConfig() if size == "3b" else TextConfig(**_7B)
    vision = replace(VisionConfig(), out_hidden_size=text.hidden_size)
    if layers is not None:
        vision = replace(vision, depth=layers, fullatt_block_indexes=(layers - 1,))
        text = replace(text, num_hidden_layers=layers)
    return replace(
        words, vision=vision, text=text, image_longest_side=640, pe_order="row_major", points="mean", ratios=()
    )


def write_random_checkpoint(folder: Path, config: N3DConfig, tokenizer: Path) -> None:
    """Writes a bf16 checkpoint, one shard for each block: no more than a block is in memory at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json(), indent=1))
    shutil.copy(tokenizer, folder / "tokenizer.json")
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in N3DNetwork(config).named_parameters()}
    shards: dict[str, dict[str, torch.Size]] = {}
    for name, shape in shapes.items():
        block = ".".join(name.split(".")[:3]) if ".layers." in name or ".blocks." in name else name
        shards.setdefault(f"{block}.safetensors", {})[name] = shape
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)
    for file, tensors in shards.items():
        save_file({n: _random(s, pool) for n, s in tensors.items()}, str(folder / file), {"format": "pt"})
    weight_map = {name: file for file, tensors in shards.items() for name in tensors}
    (folder / _INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _random(shape: torch.Size, pool: torch.Tensor) -> torch.Tensor:
    """Norms are ones. Other values repeat after some millions, which no measurement notices: the memory is distinct."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    count = shape.numel()
    return pool.repeat(-(-count // len(pool)))[:count].reshape(shape).clone()
