"""Many questions on one image in one sequence: the image is encoded once, and each question sees it and itself alone.

The prefix (system prompt and image) stands once; segments follow, each with the positions it would have if it stood
directly behind the prefix. So one packed sequence gives exactly the logits of its questions asked one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = -1
NO_OBJECT = -2  # what the end of a list of boxes points at


@dataclass(frozen=True)
class Segment:
    """One question and its reply, as ids.

    Attributes:
        prompt: ids from `<|vision_end|>` to the assistant header.
        reply: ids of the reply, ending with the end of turn.
        weights: weight of the loss of each reply id.
        bins: the bin value where a reply id is a bin of a box, `IGNORE` elsewhere.
        pointers: index of the object that decides a reply id, `NO_OBJECT` for the end, `IGNORE` where none does.
    """

    prompt: list[int]
    reply: list[int]
    weights: list[float]
    bins: list[int]
    pointers: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.reply)


@dataclass(frozen=True)
class Packed:
    """A packed sequence behind one image.

    Attributes:
        ids: [T] ids of prefix, image pads and segments.
        positions: [3, T] M-RoPE positions.
        segment: [T] number of the segment of each token, 0 for the prefix, `IGNORE` for padding.
        targets, weights, bins, pointers: [T] what each position should predict next, its weight, its bin if it is one,
            and the object that decides it.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segment: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    bins: NDArray[np.int64]
    pointers: NDArray[np.int64]


def pack(prefix: list[int], prefix_positions: NDArray[np.int64], following: int, segments: list[Segment]) -> Packed:
    """Packs segments behind a prefix whose next free position is `following`."""
    ids, number = list(prefix), [0] * len(prefix)
    targets, bins, pointers = ([IGNORE] * len(prefix) for _ in range(3))
    weights = [0.0] * len(prefix)
    positions = [prefix_positions]
    for index, segment in enumerate(segments, start=1):
        tokens = segment.prompt + segment.reply
        lead = len(segment.prompt) - 1  # the last prompt token predicts the first of the reply
        ids += tokens
        number += [index] * len(tokens)
        targets += [IGNORE] * lead + segment.reply + [IGNORE]
        weights += [0.0] * lead + segment.weights + [0.0]
        bins += [IGNORE] * lead + segment.bins + [IGNORE]
        pointers += [IGNORE] * lead + segment.pointers + [IGNORE]
        positions.append(np.broadcast_to(np.arange(len(tokens)) + following, (3, len(tokens))))
    return Packed(
        np.array(ids),
        np.concatenate(positions, axis=1),
        np.array(number),
        np.array(targets),
        np.array(weights, dtype=np.float32),
        np.array(bins),
        np.array(pointers),
    )


def attention_mask(segment: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[T, T] mask of a packed sequence: causal, and only to the prefix and the own segment.

    A padding token sees itself alone, so that its softmax is defined.
    """
    length = len(segment)
    causal = np.tril(np.ones((length, length), dtype=bool))
    same = segment[:, None] == segment[None, :]
    prefix = (segment == 0)[None, :] & (segment != IGNORE)[:, None]
    return (causal & (same | prefix)) | np.eye(length, dtype=bool)
