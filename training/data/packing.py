"""Packs many questions on one image into one sequence: each question attends only to the image and to itself.

The prefix (system prompt and image) appears once; each segment has the positions that it would have directly after the
prefix. A packed sequence thus gives exactly the logits of its questions asked one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.network.plan import text_positions

IGNORE = -1

Pointer = tuple[int, ...] | None  # indices of the objects that a token refers to; None if it has no target


@dataclass(frozen=True)
class Segment:
    """One question and its reply, as ids.

    Attributes:
        prompt: ids from `<|vision_end|>` to the assistant header.
        reply: ids of the reply, ending with the end of turn.
        weights: loss weight of each reply id.
        bins: the bin value where a reply id is a bin of a box, `IGNORE` elsewhere.
        pointers: for each id of prompt and reply, the objects that determine the next token: one for a box being
            written, all queried ones at the end of a question, none before the end of the turn.
    """

    prompt: list[int]
    reply: list[int]
    weights: list[float]
    bins: list[int]
    pointers: list[Pointer]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.reply)


@dataclass(frozen=True)
class Packed:
    """A packed sequence behind one image.

    Attributes:
        ids: [T] ids of prefix, image pads and segments.
        positions: [3, T] M-RoPE positions.
        segment: [T] number of the segment of each token, 0 for the prefix, `IGNORE` for padding.
        targets, weights, bins: [T] the token that each position should predict, its weight, and its bin if it is one.
        pointers: of each position.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segment: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    bins: NDArray[np.int64]
    pointers: list[Pointer]


def pack(prefix: list[int], prefix_positions: NDArray[np.int64], following: int, segments: list[Segment]) -> Packed:
    """Packs segments behind a prefix whose next free position is `following`."""
    ids, number = list(prefix), [0] * len(prefix)
    targets, weights, bins = [IGNORE] * len(prefix), [0.0] * len(prefix), [IGNORE] * len(prefix)
    pointers: list[Pointer] = [None] * len(prefix)
    positions = [prefix_positions]
    for index, segment in enumerate(segments, start=1):
        tokens = segment.prompt + segment.reply
        lead = len(segment.prompt) - 1  # the last prompt token predicts the first of the reply
        ids += tokens
        number += [index] * len(tokens)
        targets += [IGNORE] * lead + segment.reply + [IGNORE]
        weights += [0.0] * lead + segment.weights + [0.0]
        bins += [IGNORE] * lead + segment.bins + [IGNORE]
        pointers += segment.pointers
        positions.append(text_positions(following, len(tokens)))
    return Packed(
        np.array(ids),
        np.concatenate(positions, axis=1),
        np.array(number),
        np.array(targets),
        np.array(weights, dtype=np.float32),
        np.array(bins),
        pointers,
    )
