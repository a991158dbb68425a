"""The geometry of one image size, computed once on the host: window order, rotary tables, token positions.

A robot's camera has one image size, so what the reference derives in every forward pass is a constant here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from n3d_core.network.config import N3DConfig, VisionConfig

_PLACE_CHANNELS = 12  # at most, per axis: waves too short to say anything about a patch of points


@dataclass(frozen=True)
class ImagePlan:
    """Constants of the vision tower for a patch grid of `grid_h` x `grid_w`.

    The patches enter the tower in merge-group order (the four patches of one image token are adjacent, as the
    preprocessor emits them). `order` puts the groups in window order, in which all blocks run.

    Attributes:
        order: [P] index into merge-group order that gives window order (whole groups move together).
        token_inverse: [P/4] index that puts merged tokens back from window order into reading order.
        pe_rows: [P] index into row-major patch order of the encoding added at each window-order position. For
            `row_major` it is 0..P-1: the released weights were trained with that misalignment.
        windows: [W, L] index into window order of the patches of each window, padded with 0.
        window_mask: [W, L] True for real patches, False for padding.
        window_inverse: [P] index into the flattened [W * L] windows, back to window order.
        cos, sin: [P, head_size] rotary tables in window order.
        places: [P, hidden_size] waves that encode each patch's image position, in window order, and `place_channels`
            [hidden_size], the channels of the encoding that they replace; None with the released point encoding.
        segments: [n] cumulative lengths of windows (`cu_window_seqlens` of the reference).
    """

    grid_h: int
    grid_w: int
    order: NDArray[np.int64]
    token_inverse: NDArray[np.int64]
    pe_rows: NDArray[np.int64]
    windows: NDArray[np.int64]
    window_mask: NDArray[np.bool_]
    window_inverse: NDArray[np.int64]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]
    segments: NDArray[np.int64]
    token_h: int
    token_w: int
    places: NDArray[np.float32] | None = None
    place_channels: NDArray[np.bool_] | None = None

    @property
    def patches(self) -> int:
        """Patches before the merger: P."""
        return self.grid_h * self.grid_w

    @property
    def tokens(self) -> int:
        """Image tokens after the merger."""
        return self.token_h * self.token_w

    def mrope_positions(self, start: int) -> tuple[NDArray[np.int64], int]:
        """M-RoPE positions [3, tokens] (time, row, column) of an image that begins at `start`, and the next one."""
        row, col = np.divmod(np.arange(self.tokens), self.token_w)
        positions = np.stack([np.zeros_like(row), row, col]) + start
        return positions, start + max(self.token_h, self.token_w)


def text_positions(start: int, count: int) -> NDArray[np.int64]:
    """M-RoPE positions [3, count] of text that begins at `start`: the same on all three axes."""
    return np.broadcast_to(np.arange(start, start + count), (3, count))


@lru_cache(maxsize=8)
def image_plan(config: N3DConfig, grid_h: int, grid_w: int) -> ImagePlan:
    """The plan of a patch grid (both sides multiples of the merge size)."""
    vision = config.vision
    merge = vision.spatial_merge_size
    token_h, token_w = grid_h // merge, grid_w // merge
    window_tokens, lengths = _window_order(token_h, token_w, vision.window_size // vision.pixels_per_token)
    group = merge * merge
    order = (window_tokens[:, None] * group + np.arange(group)).reshape(-1)
    row_major = _row_major_of_merge_groups(grid_h, grid_w, merge)[order]
    lengths = lengths * group
    windows, mask, inverse = _padded_windows(lengths)
    cos, sin = _rotary(vision, grid_w, row_major)
    pe_rows = row_major if config.pe_order == "aligned" else np.arange(grid_h * grid_w)
    places, place_channels = None, None
    if config.points == "valid":
        waves, place_channels = _place_waves(grid_h, grid_w, vision.hidden_size)
        places = waves[pe_rows]
    return ImagePlan(
        grid_h=grid_h,
        grid_w=grid_w,
        order=order,
        token_inverse=np.argsort(window_tokens),
        pe_rows=pe_rows,
        windows=windows,
        window_mask=mask,
        window_inverse=inverse,
        cos=cos,
        sin=sin,
        segments=np.concatenate([[0], np.cumsum(lengths)]),
        token_h=token_h,
        token_w=token_w,
        places=places,
        place_channels=place_channels,
    )


def _window_order(token_h: int, token_w: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens in window order [token_h * token_w], and the size of each window (edge windows are smaller)."""
    row, col = np.divmod(np.arange(token_h * token_w), token_w)
    window = (row // side) * (-(-token_w // side)) + col // side
    order = np.argsort(window, kind="stable")
    return order, np.bincount(window)


def _row_major_of_merge_groups(grid_h: int, grid_w: int, merge: int) -> NDArray[np.int64]:
    """Row-major patch index of each patch in merge-group order, [P]."""
    index = np.arange(grid_h * grid_w).reshape(grid_h // merge, merge, grid_w // merge, merge)
    return index.transpose(0, 2, 1, 3).reshape(-1)


def _padded_windows(
    lengths: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    slot = np.arange(lengths.max())
    mask = slot < lengths[:, None]
    windows = np.where(mask, starts[:, None] + slot, 0)
    return windows, mask, np.flatnonzero(mask)


def _rotary(
    vision: VisionConfig, grid_w: int, row_major: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """2D rotary tables [P, head_size]: half of the frequencies rotate with the row, half with the column."""
    head = vision.hidden_size // vision.num_heads
    inverse = 1.0 / (10000.0 ** (np.arange(0, head // 2, 2, dtype=np.float32) / np.float32(head // 2)))
    row, col = np.divmod(row_major, grid_w)
    angles = np.concatenate([row[:, None] * inverse, col[:, None] * inverse], axis=1).astype(np.float32)
    angles = np.concatenate([angles, angles], axis=1)
    return np.cos(angles), np.sin(angles)


def _place_waves(grid_h: int, grid_w: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image position of each patch: waves [grid_h * grid_w, width] in row-major order, and the channels [width] where
    they replace the points' waves.

    These are the first channels of x (for u) and of y (for v), whose own waves are only a few units long there. The
    first wave has half a period across the image; each further one is half as long.
    """
    per_axis = width // 3
    pairs = min(_PLACE_CHANNELS, per_axis) // 2
    row, column = np.divmod(np.arange(grid_h * grid_w), grid_w)
    waves = np.zeros((grid_h * grid_w, width), dtype=np.float32)
    taken = np.zeros(width, dtype=np.bool_)
    for axis, share in enumerate(((column + 0.5) / grid_w, (row + 0.5) / grid_h)):
        angles = share[:, None] * np.pi * 2.0 ** np.arange(pairs)
        channels = axis * per_axis + np.arange(2 * pairs)
        waves[:, channels] = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(share), -1)
        taken[channels] = True
    return waves, taken
