"""A checkpoint folder that is whole, with random weights and a tokenizer: for what must hold whatever is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from n3d_core.language import prompts
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from test.core.checkpoints import random_state, small_config, write_checkpoint
from test.core.vocabularies import joining_tokenizer


def write_random_model(folder: Path, **generation: object) -> Path:
    """Writes it, with `generation_config.json` where its values are given."""
    tokenizer = joining_tokenizer(folder)
    config = config_for(tokenizer)
    write_checkpoint(folder, config.to_json(), random_state(config))
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def config_for(tokenizer: Tokenizer) -> N3DConfig:
    """The small network with a tokenizer's ids and images of some patches."""
    config = small_config(
        image_token_id=tokenizer.id_of(prompts.IMAGE_PAD),
        vision_start_token_id=tokenizer.id_of(prompts.VISION_START),
        vision_end_token_id=tokenizer.id_of(prompts.VISION_END),
        eos_token_id=tokenizer.id_of(prompts.TURN_END),
        image_longest_side=112,
    )
    return replace(config, text=replace(config.text, vocab_size=tokenizer.size + 5))
