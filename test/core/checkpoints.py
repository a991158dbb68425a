"""Checkpoint folders for tests: configurations of the released sizes, and small random networks in every layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from n3d_core.network.checkpoint import INDEX, WEIGHTS
from n3d_core.network.config import N3DConfig, TextConfig, VisionConfig
from n3d_core.network.model import N3DNetwork


def hub_config(size: str) -> dict[str, Any]:
    """`config.json` of Qwen2.5-VL-Instruct on the hub, flat; N3D-VLM's is the same but for the class."""
    text = {
        "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
        "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28},
    }[size]
    small = size == "3B"
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **text,
        "num_key_value_heads": 2 if small else 4,
        "vocab_size": 151936 if small else 152064,
        "tie_word_embeddings": small,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "max_position_embeddings": 128000,
        "use_sliding_window": False,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "vision_token_id": 151654,
        "image_token_id": 151655,
        "video_token_id": 151656,
        "torch_dtype": "bfloat16",
        "vision_config": {
            "depth": 32,
            "hidden_act": "silu",
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "in_chans": 3,
            "out_hidden_size": text["hidden_size"],
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
    }


def small_config(tied: bool = False, **own: Any) -> N3DConfig:
    """All that N3D-VLM has, tiny: windows that do not fill, full and windowed blocks, grouped queries."""
    vision = VisionConfig(
        depth=3,
        hidden_size=64,
        intermediate_size=80,
        num_heads=4,
        out_hidden_size=64,
        fullatt_block_indexes=(1,),
    )
    text = TextConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        mrope_section=(2, 3, 3),
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
    )
    tokens = {"image_token_id": 294, "vision_start_token_id": 292, "vision_end_token_id": 293, "eos_token_id": 291}
    return replace(N3DConfig(vision, text), **(tokens | own))


def random_state(config: N3DConfig, seed: int = 0) -> dict[str, Tensor]:
    """Parameters of a size that keeps activations near 1, by name."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, parameter in N3DNetwork(config).named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "ln_q.weight")):
            state[name] = 1 + 0.1 * noise
        elif parameter.dim() == 1:
            state[name] = 0.1 * noise
        else:
            state[name] = noise / parameter[0].numel() ** 0.5
    return state


def random_network(config: N3DConfig, seed: int = 0) -> N3DNetwork:
    """A network of `random_state`."""
    network = N3DNetwork(config)
    network.load_state_dict(random_state(config, seed))
    return network.eval().requires_grad_(False)


def write_checkpoint(folder: Path, config: dict[str, Any], state: dict[str, Tensor], parts: int = 1) -> Path:
    """A folder as released: one file, or shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if parts == 1:
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        return folder
    names, where = sorted(state), {}
    for part in range(parts):
        file = f"model-{part + 1:05d}-of-{parts:05d}.safetensors"
        chosen = names[part::parts]
        save_file({n: state[n] for n in chosen}, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(chosen, file)
    size = sum(t.numel() * t.element_size() for t in state.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}))
    return folder


def in_newer_spelling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as transformers' modules have them."""
    return {_newer(name): value for name, value in state.items()}


def _newer(name: str) -> str:
    if name.startswith("visual."):
        return f"model.{name}"
    return name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name
