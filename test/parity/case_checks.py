"""Compares everything in a case folder with what we compute."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.geometry.points import normalise
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.preprocess import longest_side_size, resize_for_model
from test.parity import compat
from test.parity.dialogue import build_dialogue
from test.parity.forward import CaseInputs, case_inputs, language_arrays, vision_arrays, with_ties_settled
from test.parity.golden import Arrays, Case, sha256
from test.parity.prompt_checks import compare_dialogue
from test.parity.report import Report

# Golden tensor (without pass and rows) -> stage of the report.
STAGES = {
    "pixel_u8": "pixels",
    "pixel_lut": "pixels",
    "image_grid_thw": "grid",
    "window_index": "windows",
    "cu_window_seqlens": "windows",
    "pe_coords_before_round": "pe_before_rounding",
    "pe_coords": "pe_coordinates",
    "pe_coords_bf16_model": "pe_coordinates_bf16",
    "patch_embed": "patch_embed",
    "vision_blocks": "vision_blocks",
    "merger_input": "merger_input",
    "pe_feat": "pe_features",
    "image_embeds": "image_embeds",
    "input_ids": "input_ids",
    "position_ids": "position_ids",
    "rope_delta": "position_ids",
    "last_hidden": "last_hidden",
    "logits": "logits",
    "greedy_ids": "greedy_ids",
    "greedy_logits": "greedy_logits",
    "greedy_margin": "greedy_margins",
}
# Without these a folder is no case.
REQUIRED = (
    "image_grid_thw",
    "pixel_u8",
    "pixel_lut",
    "pe_coords",
    "image_embeds",
    "input_ids_1",
    "logits_1",
    "greedy_ids_1",
)

_NAME = re.compile(r"(.+?)(?:_([12]))?(?:_(rows|last)(\d+))?")
_LAYER = re.compile(r"layer\d+_out")


def check_case(case: Case, backend: TorchBackend, tokenizer: Tokenizer | None, report: Report) -> None:
    """Runs a case through preprocessing, network and prompts, and compares all that its folder holds."""
    inputs = case_inputs(case, backend)
    with report.guarded("case", f"{case.name}/case.json"):
        check_facts(case, inputs, backend, report)
    ours = dict(inputs.arrays)
    with report.guarded("vision", case.name):
        ours |= vision_arrays(inputs, backend)
    with report.guarded("prompts", case.name):
        prompts = check_prompts(case, inputs, tokenizer, report)
        ours |= language_arrays(prompts, inputs.image.plan, ours["image_embeds"], backend, case.tensors)
    check_tensors(case.name, case.tensors, ours, report)


def check_tensors(name: str, golden: Arrays, ours: Arrays, report: Report) -> None:
    """Compares every golden tensor; one that is missing, or that we do not know, is a failure."""
    for required in REQUIRED:
        if required not in golden:
            report.fail("case", f"{name}/{required}", "missing from tensors.safetensors")
    for key in sorted(golden, key=_order):
        check_tensor(name, key, golden, ours, report)


def check_tensor(name: str, key: str, golden: Arrays, ours: Arrays, report: Report) -> None:
    """Compares one golden tensor with the rows of ours that its name asks for."""
    match = _NAME.fullmatch(key)
    base, number, rows, count = match.groups() if match else (key, None, None, None)
    stage = "decoder_layers" if _LAYER.fullmatch(base) else STAGES.get(base)
    whole = ours.get(f"{base}_{number}" if number else base)
    if stage is None or whole is None:
        why = "not known to this check" if stage is None else "could not be computed"
        report.fail(stage or "case", f"{name}/{key}", why)
        return
    mine = _picked(whole, rows, int(count or 0), stacked=base == "vision_blocks")
    if base in ("pe_coords", "pe_coords_bf16_model"):
        mine = with_ties_settled(mine, golden[key])
    report.near(stage, f"{name}/{key}", mine, golden[key])


def check_facts(case: Case, inputs: CaseInputs, backend: TorchBackend, report: Report) -> None:
    """Compares sizes, counts, intrinsics, normalisation and hashes of `case.json`."""
    config, plan, info = backend.config, inputs.image.plan, case.info
    size = case.image.size
    cloud, normalisation = normalise(case.points, case.valid)
    flat = np.concatenate([cloud, case.cloud[..., 3:]], axis=-1).reshape(-1, 4)
    facts: dict[str, Any] = {
        "pcd_pe_embedding_size": config.vision.hidden_size,
        "image_size_wh": list(size),
        "resized_640_wh": list(longest_side_size(*size, config.image_longest_side)),
        "model_input_wh": list(resize_for_model(case.image, config).size),
        "grid_thw": [1, plan.grid_h, plan.grid_w],
        "image_tokens": plan.tokens,
        "points_hw": list(case.valid.shape),
        "valid_points": int(case.valid.sum()),
        "points": case.valid.size,
        "tower_reshape": list(compat.tower_layout(plan.grid_h, plan.grid_w)),
        "intr": case.intrinsics.tolist(),
    }
    for key, ours in facts.items():
        if key in info:
            report.same("case", f"{case.name}/{key}", ours, info[key])
    hashes = {
        "pixel_values": inputs.arrays["pixel_values"],
        "pixel_u8": inputs.arrays["pixel_u8"],
        "point_cloud_nan_to_num": np.nan_to_num(flat),
    }
    for key, wanted in info["sha256"].items():
        report.same("hashes", f"{case.name}/{key}", sha256(hashes[key]), wanted)
    wanted = info["normalisation"]
    report.near("normalisation", f"{case.name}/shift0", np.array(normalisation.shift), np.array(wanted["shift0"]))
    report.near("normalisation", f"{case.name}/shift1", np.zeros(3), np.array(wanted["shift1"]))
    report.near("normalisation", f"{case.name}/scaling", normalisation.scale, wanted["scaling"])


def check_prompts(case: Case, inputs: CaseInputs, tokenizer: Tokenizer | None, report: Report) -> list[list[int]]:
    """Compares the words of both passes; returns the token ids to run: ours, or golden ones without a tokenizer."""
    info, tokens = case.info, inputs.image.plan.tokens
    _, normalisation = normalise(case.points, case.valid)
    built = build_dialogue(info, normalisation, case.intrinsics, tokens, tokenizer)
    compare_dialogue(case.name, info, built, tokenizer, report)
    golden = [case.tensors[key].tolist() for key in ("input_ids_1", "input_ids_2") if key in case.tensors]
    if tokenizer is None:
        return golden
    return [prompt.ids(tokenizer) for prompt in built.prompts[: len(golden)]]


def _order(key: str) -> int:
    """Stages in the order in which data flows."""
    return next((i for i, base in enumerate(STAGES) if key.startswith(base)), len(STAGES))


def _picked(whole: NDArray[Any], rows: str | None, count: int, stacked: bool) -> NDArray[Any]:
    """The rows that a golden tensor's name says it holds."""
    if rows is None:
        return whole
    kept = slice(None, None, count) if rows == "rows" else slice(-count, None)
    return whole[:, kept] if stacked else whole[kept]
