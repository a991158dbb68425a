"""Builds the tokenizer of n3d-tiny: a byte-level BPE with Qwen2.5-VL's special tokens and whole numbers as tokens.

Any text can be encoded, with bytes as the fallback. The system prompt and the code template, which carry no
information, are one token each, to save the small model time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from n3d_core.atomic_write import write_text
from n3d_core.language import prompts

# Qwen2's pattern, except for numbers: up to three digits are one token, so that a bin is one prediction.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
WHOLE = (prompts.SYSTEM, prompts.REFERENCE, "bbox_", "=Bbox(", "<think>", "</think>")


def build_tokenizer(corpus: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains the BPE on `corpus`; every number of one to three digits becomes a token in any case."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_numbers(corpus), trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in QWEN_SPECIALS])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in WHOLE])
    return tokenizer


def number_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of the tokens "0" to "999".

    Raises:
        ValueError: if a number is not a single token.
    """
    ids = []
    for value in range(1000):
        encoded = tokenizer.encode(str(value), add_special_tokens=False).ids
        if len(encoded) != 1:
            raise ValueError(f"the number {value} must be one token; got {len(encoded)}: use a larger vocabulary")
        ids.append(encoded[0])
    return ids


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Writes `tokenizer.json` to a checkpoint folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_text(Path(folder) / "tokenizer.json", tokenizer.to_str(pretty=True))


def _with_numbers(corpus: Iterable[str]) -> Iterable[str]:
    yield from corpus
    for _ in range(3000):  # often enough that every pair of digits outranks every pair of letters
        yield " ".join(f"{value:02d}" for value in range(100))
    for _ in range(300):
        yield "\n".join(f"{value:03d}" for value in range(1000))
