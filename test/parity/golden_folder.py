"""Writes a small folder of golden vectors in the reference's form, from our own code: it tests the check only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.geometry.points import normalise
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from test.core.checkpoints import small_config
from test.core.vocabularies import whole_number_tokenizer
from test.parity.dialogue import build_dialogue
from test.parity.forward import case_inputs, language_arrays, vision_arrays
from test.parity.golden import Case, sha256
from test.parity.report import Report
from test.parity.weights import rebuilt, rebuilt_network

SEED, STEPS = 7, 6
REPLY = "\n".join(f"bbox_{i}=Bbox({name},{u},400,300,500,20,25,2{i})" for i, (name, u) in enumerate(
    [("mug", 250), ("green mug", 500), ("orange/tangerine", 812), ("box", 90), ("box", 640)]
))  # fmt: skip
ITEMS: dict[str, dict[str, Any]] = {
    "one_turn": {"wh": (90, 120), "messages": ["<image>What is the width of mug? Answer in 0.5 m."]},
    "two_turns": {
        "wh": (160, 70),
        "messages": [
            "<image>Identify the 3D boxes for all the 'mug' in this scene."
            " The reference code is as followed: <code_template>",
            "bbox_0=Bbox(mug,0.2,0.4,1.5,0.0,0.1,0.1,0.1)\n",
            "Is 0_mug, seen from here, left of 3_box? Explain.",
            "",
        ],
    },
}


def write_golden_folder(root: Path) -> Path:
    """Two cases of a network with tied embeddings: portrait and landscape, both with holes in the cloud."""
    (root / "tokenizer").mkdir(parents=True)
    tokenizer = whole_number_tokenizer(root / "tokenizer")
    backend = _write_model(root / "small", tokenizer)
    for seed, (name, item) in enumerate(ITEMS.items()):
        _write_case(root / name, item, backend, tokenizer, seed)
    return root


def _write_model(folder: Path, tokenizer: Tokenizer) -> TorchBackend:
    folder.mkdir()
    small = small_config(
        tied=True,
        image_token_id=tokenizer.id_of("<|image_pad|>"),
        vision_start_token_id=tokenizer.id_of("<|vision_start|>"),
        vision_end_token_id=tokenizer.id_of("<|vision_end|>"),
        eos_token_id=tokenizer.id_of("<|im_end|>"),
    )
    config = replace(small, text=replace(small.text, vocab_size=tokenizer.size + 3))
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    listing = _listing(config)
    (folder / "weights.json").write_text(json.dumps(listing))
    return TorchBackend(rebuilt_network(config, listing, Report(), "small"))


def _listing(config: N3DConfig) -> dict[str, Any]:
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in N3DNetwork(config).named_parameters()}
    parameters = {
        name: {"shape": list(shape), "sha256_f32le": hashlib.sha256(rebuilt(name, shape, SEED).tobytes()).hexdigest()}
        for name, shape in shapes.items()
    }
    return {"seed": SEED, "parameters": parameters}


def _write_case(folder: Path, item: dict[str, Any], backend: TorchBackend, tokenizer: Tokenizer, seed: int) -> None:
    folder.mkdir()
    case = _random_case(folder.name, item["wh"], seed)
    case.image.save(folder / "image.png")
    np.savez(folder / "points.npz", pcd=case.cloud.astype(np.float16), intr=case.intrinsics)
    inputs = case_inputs(case, backend)
    _, normalisation = normalise(case.points, case.valid)
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(item["messages"])]
    info: dict[str, Any] = {
        "model": "small",
        "files": {"image": "image.png", "points": "points.npz"},
        "messages": messages,
        "scripted_reply": REPLY,
    }
    tokens = inputs.image.plan.tokens
    built = build_dialogue(info, normalisation, case.intrinsics, tokens, tokenizer)
    ids = [prompt.ids(tokenizer) for prompt in built.prompts]
    greedy = {f"greedy_ids_{i}": np.zeros(STEPS, dtype=np.int32) for i in (1, 2)}
    arrays = inputs.arrays | vision_arrays(inputs, backend)
    arrays |= language_arrays(ids, inputs.image.plan, arrays["image_embeds"], backend, greedy)
    info |= _facts(case, inputs, arrays) | {"grounding_saved": built.saved}
    info |= {f"prompt_{i}": prompt.text for i, prompt in enumerate(built.prompts, start=1)}
    (folder / "case.json").write_text(json.dumps(info))
    save_file(_golden_tensors(arrays), folder / "tensors.safetensors")


def _random_case(name: str, size: tuple[int, int], seed: int) -> Case:
    generator = np.random.default_rng(seed)
    width, height = size
    picture = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    cloud_w, cloud_h = (640, round(height * 640 / width)) if width >= height else (round(width * 640 / height), 640)
    cloud = generator.random((cloud_h, cloud_w, 4)) * [4, 3, 2, 0] + [-2, -1.5, 1, 1]
    cloud[100:200, 50:120] = [np.nan, np.inf, 0, 0]
    cloud = cloud.astype(np.float16).astype(np.float32)
    intrinsics = np.array([[1.1, 0, 0.5], [0, 0.9, 0.5], [0, 0, 1]], dtype=np.float32)
    return Case(name, {}, {}, picture, cloud, intrinsics)


def _facts(case: Case, inputs: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    cloud, normalisation = normalise(case.points, case.valid)
    flat = np.nan_to_num(np.concatenate([cloud, case.cloud[..., 3:]], axis=-1).reshape(-1, 4))
    return {
        "image_size_wh": list(case.image.size),
        "grid_thw": [1, inputs.image.plan.grid_h, inputs.image.plan.grid_w],
        "intr": case.intrinsics.tolist(),
        "normalisation": {"shift0": list(normalisation.shift), "scaling": normalisation.scale, "shift1": [0.0] * 3},
        "sha256": {
            "pixel_values": sha256(arrays["pixel_values"]),
            "pixel_u8": sha256(arrays["pixel_u8"]),
            "point_cloud_nan_to_num": sha256(flat),
        },
    }


def _golden_tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    """The rows and types that golden files keep."""
    kept = {key: value for key, value in arrays.items() if key != "pixel_values"}
    for key in ("pe_coords", "pe_coords_bf16_model"):
        kept[key] = np.round(kept[key])
    for base in ("patch_embed", "merger_input", "pe_feat"):
        kept[f"{base}_rows16"] = kept.pop(base)[::16]
    kept["vision_blocks_rows16"] = kept.pop("vision_blocks")[:, ::16]
    kept["logits_2_last64"] = kept.pop("logits_2")[-64:]
    kept = {k: v for k, v in kept.items() if not k.startswith(("layer1", "layer2"))}
    return {k: np.ascontiguousarray(v.astype(np.int32) if v.dtype == np.int64 else v) for k, v in kept.items()}
