"""Small checkpoint folders in the released form: Qwen's pre-tokenizer and special tokens, digits as ordinary tokens,
the hub's flat config without keys of ours, weights in bf16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from n3d_core.language.prompts import CODE_TEMPLATE
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from test.core.vocabularies import QWEN_PATTERN
from training.learn.optim import fresh_weights

SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)


def qwen_tokenizer(size: int = 700) -> Tokenizer:
    """A byte-level BPE of Qwen's layout."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    texts = [CODE_TEMPLATE, "bbox_0=Bbox(red mug,500,500,500,500,20,20,20)\n", "<think>The 3D bbox of red mug is"]
    tokenizer.train_from_iterator(texts * 20, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIALS])
    return tokenizer


def write_released(folder: Path, tied: bool = True, architecture: str = "Qwen2_5_VLForConditionalGeneration") -> Path:
    """Writes such a folder with random weights; a few percent of the real widths, and the real patches and windows."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = qwen_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": [architecture], "model_type": "qwen2_5_vl", "hidden_act": "silu",
        "vocab_size": -(-tokenizer.get_vocab_size() // 64) * 64, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "max_position_embeddings": 8192, "tie_word_embeddings": tied, "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "vision_config": {
            "model_type": "qwen2_5_vl", "hidden_act": "silu", "depth": 2, "hidden_size": 48, "intermediate_size": 64,
            "num_heads": 4, "out_hidden_size": 64, "in_chans": 3, "patch_size": 14, "spatial_patch_size": 14,
            "temporal_patch_size": 2, "spatial_merge_size": 2, "window_size": 112, "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    generation = {"eos_token_id": [config["eos_token_id"], tokenizer.token_to_id("<|endoftext|>")]}
    (folder / "generation_config.json").write_text(json.dumps(generation | {"repetition_penalty": 1.05}))
    network = N3DNetwork(N3DConfig.from_json(config))
    weights = fresh_weights(network, 2, torch.Generator().manual_seed(1))
    save_file({n: w.bfloat16() for n, w in weights}, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder
