"""The checkpoint's tokenizer: text to ids and back."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer as _Backend

from n3d_core.errors import CheckpointError, reading
from n3d_core.network.config import N3DConfig


class Tokenizer:
    """Reads `tokenizer.json` of a checkpoint folder.

    Raises:
        CheckpointError: if the file is missing or damaged, or lacks the ChatML or vision tokens.
    """

    REQUIRED = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")

    def __init__(self, path: str | Path) -> None:
        with reading(path, "a tokenizer", CheckpointError, of=(Exception,)):  # tokenizers raises bare Exception
            self._backend = _Backend.from_file(str(path))
        self._backend.no_truncation()  # a file saved with either would silently cut or pad prompts
        self._backend.no_padding()
        special = [re.escape(t.content) for t in self._backend.get_added_tokens_decoder().values() if t.special]
        self._special = re.compile("|".join(sorted(special, key=len, reverse=True)) or "(?!)")
        missing = [t for t in self.REQUIRED if self._backend.token_to_id(t) is None]
        if missing:
            raise CheckpointError(f"{path}: tokens {', '.join(missing)} are missing; use a Qwen2.5-VL tokenizer")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without adding any."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str) -> list[int]:
        """Token ids of a text, with special tokens in it treated as plain text."""
        cuts = [0, *(match.start() + 1 for match in self._special.finditer(text)), len(text)]
        return [i for first, last in pairwise(cuts) for i in self.encode(text[first:last])]

    def encode_with_starts(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of a text, and the index of each token's first character."""
        encoded = self._backend.encode(text, add_special_tokens=False)
        return list(encoded.ids), [start for start, _ in encoded.offsets]

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, without special tokens."""
        return str(self._backend.decode(ids, skip_special_tokens=True))

    def text_of(self, token: int) -> str:
        """Text of one ordinary token; empty for special tokens and partial characters."""
        text = str(self._backend.decode([token], skip_special_tokens=True))
        return "" if "\ufffd" in text else text

    def id_of(self, token: str) -> int:
        """Id of an existing token."""
        number = self._backend.token_to_id(token)
        if number is None:
            raise KeyError(f"{token!r} is not a token")
        return int(number)

    @property
    def tokens(self) -> dict[str, int]:
        """All tokens and their ids, added ones included."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    @property
    def size(self) -> int:
        """Number of ids, added tokens included."""
        return len(self.tokens)


def load_tokenizer(folder: str | Path, config: N3DConfig) -> Tokenizer:
    """The tokenizer of a checkpoint folder, checked against the network's configuration.

    Raises:
        CheckpointError: if it is missing or damaged, or belongs to another model.
    """
    path = Path(folder) / "tokenizer.json"
    tokenizer = Tokenizer(path)
    advice = "this is another model's tokenizer; copy the one that came with the weights"
    wanted = {
        "<|image_pad|>": config.image_token_id,
        "<|vision_start|>": config.vision_start_token_id,
        "<|vision_end|>": config.vision_end_token_id,
    }
    for token, number in wanted.items():
        if tokenizer.id_of(token) != number:
            raise CheckpointError(
                f"{path}: {token} has id {tokenizer.id_of(token)}, but config.json says {number}: {advice}"
            )
    if tokenizer.size > config.text.vocab_size:
        raise CheckpointError(
            f"{path}: {tokenizer.size} tokens, but the embedding table has {config.text.vocab_size}: {advice}"
        )
    return tokenizer
