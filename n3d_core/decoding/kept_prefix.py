"""Keeps a frame's system prompt and image in the decoder's cache; prompts about the frame are appended to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.decoding.loop import Decoder, Limits, Token, Work
from n3d_core.errors import TextTooLongError
from n3d_core.language import prompts
from n3d_core.language.box_grammar import ReplyGrammar
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.plan import ImagePlan, text_positions

LEAST_REPLY = 48  # tokens that must fit behind a prompt: a box line spelled digit by digit takes about 40


@dataclass(frozen=True)
class Prompt:
    """A prompt in tokens.

    Attributes:
        ids: tokens between the image and the reply.
        room: number of tokens that fit behind it.
    """

    ids: list[int]
    room: int


class KeptPrefix:
    """The tokens up to the end of the image, fed once.

    Args:
        encoded: image tokens, as the backend's `encode` returned them.
        plan: the image's plan, for the number and positions of its tokens.

    Attributes:
        ids: of the prefix.
        sequence: holds the prefix, followed by the last prompt and reply.
    """

    def __init__(self, backend: Backend, tokenizer: Tokenizer, plan: ImagePlan, encoded: Any) -> None:
        text = tokenizer.encode(prompts.PREFIX)
        image_positions, self._position = plan.mrope_positions(len(text))
        positions = np.concatenate([text_positions(0, len(text)), image_positions], axis=1)
        self._tokenizer = tokenizer
        self.ids = text + [backend.config.image_token_id] * plan.tokens
        self.sequence = backend.start()
        self.sequence.extend(self.ids, positions, image=encoded)

    def prompt(self, text: str, least: int = LEAST_REPLY) -> Prompt:
        """The tokens of a prompt. Special tokens in it are treated as plain text.

        Args:
            text: text between the image and the end of the user's turn.
            least: number of tokens that the reply needs.

        Raises:
            TextTooLongError: if the prompt leaves too little room.
        """
        encode = self._tokenizer.encode
        ids = [*encode(prompts.VISION_END), *self._tokenizer.encode_plain(text), *encode(prompts.SUFFIX)]
        room = self.sequence.limit - len(self.ids) - len(ids)
        if room < least:
            raise TextTooLongError(
                f"the query takes {len(ids)} tokens, the image {len(self.ids)} and the reply at least {least}: only "
                f"{self.sequence.limit} fit; shorten the text (n3d compile --cache sets an engine's limit)"
            )
        return Prompt(ids, room)

    def reply(
        self, prompt: Prompt, grammar: ReplyGrammar, decoder: Decoder, limits: Limits, work: Work
    ) -> Iterator[Token]:
        """Feeds a prompt in place of the last one and yields the tokens of its reply as they are decoded.

        Args:
            work: is added to.

        Raises:
            QueryCancelledError, QueryTimeoutError: by `limits`, between steps.
        """
        self.sequence.truncate(len(self.ids))
        limits = replace(limits, tokens=min(limits.tokens, prompt.room))
        return decoder.reply(self.sequence, prompt.ids, self._position, grammar, self.ids, limits, work)
