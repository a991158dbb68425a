"""Writes the folder that a training of n3d-tiny starts from: config, tokenizer, vocabulary and generation config.

    python -m training.tiny OUTPUT
    python -m training.tiny OUTPUT --weights models/n3d-tiny

With `--weights`, it also holds the weights of a checkpoint of the same sizes; its image size and encoding of points may
differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import write_text
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig, TextConfig, VisionConfig
from n3d_core.network.plan import image_plan
from training.entry.command import described, run_command
from training.learn.checkpoints import Piece, export
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS
from training.scenes.vocabulary import Vocabulary
from training.small.tokenizer import build_tokenizer, save_tokenizer

VOCABULARY = 2432  # 256 bytes, 1,110 numbers, and the words of the questions

TAUGHT = Vocabulary(
    ("mug", "bottle", "bowl", "laptop", "car", "duck", "box", "ball", "cone", "lamp", "chair", "stool", "bucket"),
    ("red", "yellow", "green", "blue", "purple", "pink", "white", "black"),
)
"""Objects in the training scenes. The tokenizer knows the words of all classes, so later trainings can add some."""

# Words of spatial questions and their reasoning, as in the released model's samples: each becomes a token.
_WORDS = """
Identify the 3D boxes for all the in this scene. Detect boxes. First locate the bbox of the aforementioned object(s).
The 3D bbox of is and The 2D bbox of So the height of is meters. is meters in height. width length wide long high tall
The 3D center coordinate of is We can calculate the direction as follows: Step 1: Calculate the vector from A to B:
vector_AB = B_pos - A_pos = Step 2: Calculate the angle between the vector and the positive x-axis (counterclockwise):
angle_rad = atan2(vector_AB[0], vector_AB[1]) = atan2( (radians). angle_deg = degrees(angle_rad) = (degrees). Step 3:
Normalize the angle into [0, 360) degrees: normalized_angle = (angle_deg + 360) % 360 = Convert the normalized angle
to clock position (1 to 12), where each hour corresponds to 30 degrees: clock_position = 12 - (normalized_angle // 30)
= (If clock_position <= 0, wrap around to get clock_position = 12 + clock_position) will find around the o'clock
direction. We can determine the front-behind relationship as follows: Compare the Z coordinates of the centers. Z_A =
Z_B = Since Determine if is in front of or behind of and we are considering the opposite view, That is False. That is
True. X_A X_B Y_A Y_B left right above below wider thinner taller shorter bigger smaller closer farther further
nearest furthest largest smallest highest lowest leftmost rightmost distance vertical horizontal between from to sqrt
d1 d2 volume count How far many What which Which Is Are Does Do Where If you are at where will you find compared with
than or yes no Yes No answer depth order near far camera view viewed seen as side opposite photographer observer
positioned located placed system user assistant first second third in on of the a an and not it its there any one two
three four five six seven eight nine ten objects object things items scene image picture centimeters inches feet
millimeters meters cm mm ft m apart away measure estimate tell me give name much more less same larger small big tall
short wide thin long size dimension extent rank sort list arrange from nearest to farthest standing lying direction
clock o'clock hour facing front back behind
"""


def tiny_config(vocabulary: int) -> N3DConfig:
    """The config of n3d-tiny: N3D-VLM's architecture (windows, full blocks, merger, M-RoPE, grouped queries), small."""
    return N3DConfig(
        vision=VisionConfig(
            depth=6,
            hidden_size=192,
            intermediate_size=512,
            num_heads=6,
            out_hidden_size=192,
            patch_size=16,
            window_size=128,
            fullatt_block_indexes=(1, 3, 5),
        ),
        text=TextConfig(
            vocab_size=-(-vocabulary // 64) * 64,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=2,
            # A head has 16 pairs, fast ones first. An image is 12 tokens wide: one column must rotate some pair of the
            # last section noticeably, yet others must hardly rotate over a whole question, for lookups.
            rope_theta=2000.0,
            mrope_section=(1, 4, 11),
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        ),
        pe_order="aligned",
        points="valid",
        image_longest_side=384,
        ratios=((4, 3), (16, 9), (16, 10), (3, 2), (1, 1), (3, 4), (9, 16), (10, 16), (2, 3)),
    )


def write_warm(checkpoint: Path, output: Path) -> None:
    """Writes a checkpoint's weights, tokenizer and vocabulary for n3d-tiny's image size and encoding of points.

    If the checkpoint lacks the channels with a patch's position in the image, they start without effect.

    Raises:
        CheckpointError: if the checkpoint cannot be loaded.
    """
    network = load_network(checkpoint)
    tiny = tiny_config(network.config.text.vocab_size)
    kept: dict[str, Any] = {"points": tiny.points, "image_longest_side": tiny.image_longest_side, "ratios": tiny.ratios}
    config = replace(network.config, **kept)
    weights = network.state_dict()
    if network.config.points != config.points:
        merge = config.vision.spatial_merge_size
        places = image_plan(config, merge, merge).place_channels
        first = weights["visual.merger.mlp.0.weight"]
        first.view(len(first), merge * merge, -1)[:, :, places] = 0
    export(output, config, {name: Piece.of(value) for name, value in weights.items()}, checkpoint)


def corpus() -> Iterator[str]:
    """The training texts of the tokenizer."""
    for _ in range(40):
        for color, cls in itertools.product(COLORS, CLASSES):
            yield f"Where is the {color} {cls}? ({color} {cls},"
            yield f"'{cls}' {cls}, {cls}; 'the {color} {cls}' 0_{cls} 1_{color} {cls}"
    for _ in range(400):
        yield _WORDS


def write_fresh(output: Path) -> None:
    """Writes config, tokenizer, vocabulary and generation config, without weights."""
    output.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(corpus(), VOCABULARY)
    save_tokenizer(tokenizer, output)
    TAUGHT.write(output)
    config = tiny_config(tokenizer.get_vocab_size()).to_json()
    for key, token in (
        ("image_token_id", "<|image_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
        ("eos_token_id", "<|im_end|>"),
    ):
        config[key] = tokenizer.token_to_id(token)
    write_text(output / "config.json", json.dumps(config, indent=1) + "\n")
    # Numbers are trained with softened targets, so the median of a number's distribution is its best estimate.
    generation = {"eos_token_id": config["eos_token_id"], "box_numbers": "median"}
    write_text(output / "generation_config.json", json.dumps(generation, indent=1) + "\n")


def write_start(args: argparse.Namespace) -> dict[str, str]:
    """Writes the folder to start a training from."""
    if args.weights:
        write_warm(args.weights, args.output)
    else:
        write_fresh(args.output)
    return {"output": str(args.output)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, help="checkpoint to start from (default: random weights)")
    return run_command(write_start, parser, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
