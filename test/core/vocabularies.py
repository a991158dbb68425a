"""Small tokenizers for tests: with whole numbers as tokens, and with single digits and Qwen's joins."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from n3d_core.language.tokenizer import Tokenizer

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


@lru_cache
def joining_tokenizer(folder: Path) -> Tokenizer:
    """A BPE with Qwen's pattern, single digits, and the merges `(mug`, `(red` and `)` + newline."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    lines = ["bbox_0=Bbox(mug,132,435)\nbbox_1=Bbox(red can,1,2)\n"] * 50
    backend.train_from_iterator(lines, trainer)
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder / "tokenizer.json")


@lru_cache
def whole_number_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of n3d-tiny on a small corpus: numbers and boilerplate are single tokens."""
    from training.small.tokenizer import build_tokenizer, save_tokenizer

    save_tokenizer(build_tokenizer(["red mug, blue can, the red mug"] * 20, 1500), folder)
    return Tokenizer(folder / "tokenizer.json")
