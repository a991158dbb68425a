"""What our network computes for a golden case, under the names of the golden tensors, before rows are picked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from n3d_core.backends.base import Sequence
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.geometry.points import normalise
from n3d_core.network.model import sinusoid
from n3d_core.network.plan import ImagePlan, image_plan, text_positions
from n3d_core.network.preprocess import (
    DEVIATION,
    MEAN,
    VisionInput,
    coordinates_before_rounding,
    merge_group_tiles,
    patchify,
    resize_for_model,
)
from test.parity import compat
from test.parity.golden import Arrays, Case

Register = Callable[[nn.Module, Callable[[Tensor], None]], Any]

TIE = 5e-3  # coordinates that lie so near to a tie before rounding may round either way
SAME_LOGIT = 2e-4  # two tokens whose logits are nearer than this may change places


@dataclass(frozen=True)
class CaseInputs:
    """A case as the network takes it.

    Attributes:
        image: patches, rounded coordinates and plan.
        arrays: of the preprocessing, under golden names; coordinates are not rounded yet.
    """

    image: VisionInput
    arrays: Arrays


def case_inputs(case: Case, backend: TorchBackend) -> CaseInputs:
    """Preprocesses the image and the cloud of a case, the cloud laid out as the reference's tower reads it."""
    config = backend.config
    pixels = np.asarray(resize_for_model(case.image, config))
    patches, grid_h, grid_w = patchify(pixels, config.vision)
    cloud, _ = normalise(case.points, case.valid)
    cloud, valid = compat.laid_out(cloud, grid_h, grid_w), compat.laid_out(case.valid, grid_h, grid_w)
    unrounded = coordinates_before_rounding(cloud, valid, grid_h, grid_w)
    plan = image_plan(config, grid_h, grid_w)
    arrays = {
        "pixel_u8": merge_group_tiles(pixels, config.vision),
        "pixel_lut": ((np.arange(256)[:, None] * (1 / 255)).astype(np.float32) - MEAN).T / DEVIATION[:, None],
        "pixel_values": patches,
        "image_grid_thw": np.array([[1, grid_h, grid_w]]),
        "window_index": plan.order[:: config.vision.spatial_merge_size**2] // config.vision.spatial_merge_size**2,
        "cu_window_seqlens": plan.segments,
        "pe_coords_before_round": unrounded,
        "pe_coords": unrounded,
        "pe_coords_bf16_model": compat.bf16_coordinates(cloud, valid, grid_h, grid_w),
    }
    coordinates = with_ties_settled(unrounded, case.tensors.get("pe_coords"))
    return CaseInputs(VisionInput(patches, coordinates, plan), arrays)


def with_ties_settled(unrounded: NDArray[np.float32], wanted: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Our rounded coordinates, with golden ones where the two differ by one step that a tie explains."""
    ours = np.round(unrounded)
    if wanted is None or wanted.shape != ours.shape:
        return ours
    near_tie = np.abs(np.abs(unrounded - np.floor(unrounded)) - 0.5) <= TIE
    return np.where(near_tie & (np.abs(wanted - unrounded) <= 0.5 + TIE), wanted, ours)


@torch.inference_mode()
def vision_arrays(inputs: CaseInputs, backend: TorchBackend) -> Arrays:
    """The tower's stages and the image tokens."""
    tower = backend.network.visual
    taps: dict[str, nn.Module] = {"patch_embed": tower.patch_embed}
    taps |= {f"block{i}": block for i, block in enumerate(tower.blocks)}
    with _outputs(taps) as seen, _inputs({"merger_input": tower.merger}) as entering:
        embeds = backend.encode(inputs.image)
    blocks = [seen[f"block{i}"][0] for i in range(len(tower.blocks))]
    return {
        "patch_embed": seen["patch_embed"][0],
        "vision_blocks": np.stack(blocks),
        "merger_input": entering["merger_input"][0],
        "pe_feat": sinusoid(torch.from_numpy(inputs.image.coordinates), backend.config.vision.hidden_size).numpy(),
        "image_embeds": embeds.numpy(),
    }


def language_arrays(
    prompts: list[list[int]], plan: ImagePlan, embeds: NDArray[np.float32], backend: TorchBackend, golden: Arrays
) -> Arrays:
    """Positions, hidden states, logits and greedy tokens of both passes, the second on the first one's kept prefix."""
    decoder = backend.network.model
    taps: dict[str, nn.Module] = {"last_hidden": decoder}
    taps |= {f"layer{i}_out": layer for i, layer in enumerate(decoder.layers)}
    sequence = backend.start()
    arrays: Arrays = {}
    before: Arrays = {}
    for number, ids in enumerate(prompts, start=1):
        kept = 0 if number == 1 else _common_prefix(prompts[0], ids)
        positions = prompt_positions(ids, plan, backend.config.image_token_id)
        sequence.truncate(kept)
        with _outputs(taps) as seen:
            image = torch.from_numpy(embeds) if kept == 0 else None
            logits = sequence.extend(ids[kept:], positions[:, kept:], image=image, rows=len(ids) - kept)
        whole = {name: value[0] for name, value in seen.items()} | {"logits": logits}
        if kept:
            whole = {name: np.concatenate([before[name][:kept], value]) for name, value in whole.items()}
        before = whole
        whole |= {"input_ids": np.array(ids), "position_ids": positions}
        whole["rope_delta"] = np.array([positions.max() + 1 - len(ids)])
        whole |= greedy_arrays(sequence, logits[-1], int(positions.max()) + 1, golden.get(f"greedy_ids_{number}"))
        arrays |= {f"{name}_{number}": value for name, value in whole.items()}
    return arrays


def prompt_positions(ids: list[int], plan: ImagePlan, image_token: int) -> NDArray[np.int64]:
    """M-RoPE positions [3, T] of a prompt with one image, wherever it stands."""
    start = ids.index(image_token)
    image, following = plan.mrope_positions(start)
    after = len(ids) - start - plan.tokens
    return np.concatenate([text_positions(0, start), image, text_positions(following, after)], axis=1)


def greedy_arrays(
    sequence: Sequence, logits: NDArray[np.float32], position: int, golden: NDArray[np.int32] | None
) -> Arrays:
    """Greedy decoding token by token, as long as the golden one; where two logits tie, the golden token goes on."""
    ids: list[int] = []
    rows: list[NDArray[np.float32]] = []
    for wanted in [] if golden is None else golden.tolist():
        best = int(logits.argmax())
        if 0 <= wanted < len(logits) and logits[best] - logits[wanted] <= SAME_LOGIT:
            best = wanted
        ids.append(best)
        rows.append(logits)
        logits = sequence.extend([best], np.full((3, 1), position))[0]
        position += 1
    if not ids:
        return {}
    ranked = np.sort(np.array(rows), axis=1)
    return {
        "greedy_ids": np.array(ids),
        "greedy_logits": np.array(rows),
        "greedy_margin": ranked[:, -1] - ranked[:, -2],
    }


def _common_prefix(a: list[int], b: list[int]) -> int:
    """Length of what two prompts share, but at least one token of the second is left to run."""
    pairs = zip(a, b, strict=False)
    shared = next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
    return min(shared, len(b) - 1)


@contextmanager
def _outputs(modules: dict[str, nn.Module]) -> Iterator[Arrays]:
    with _tapped(modules, lambda module, keep: module.register_forward_hook(lambda m, inputs, out: keep(out))) as seen:
        yield seen


@contextmanager
def _inputs(modules: dict[str, nn.Module]) -> Iterator[Arrays]:
    with _tapped(modules, lambda module, keep: module.register_forward_pre_hook(lambda m, args: keep(args[0]))) as seen:
        yield seen


@contextmanager
def _tapped(modules: dict[str, nn.Module], register: Register) -> Iterator[Arrays]:
    """Copies what flows through modules meanwhile."""
    seen: Arrays = defaultdict()

    def keeper(name: str) -> Callable[[Tensor], None]:
        def keep(value: Tensor) -> None:
            seen[name] = value.detach().clone().numpy()

        return keep

    handles = [register(module, keeper(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
