"""System prompt and image of a frame, kept in the decoder's cache; prompts about the frame are written behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.decoding.loop import Decoder, Limits, Token, Work
from n3d_core.errors import TextTooLongError
from n3d_core.language import prompts
from n3d_core.language.box_grammar import Grammar
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.plan import ImagePlan, text_positions

_LEAST_REPLY = 16  # tokens that must still fit behind a prompt


class KeptPrefix:
    """The tokens up to the image's end, fed once.

    Args:
        encoded: image tokens, as the backend's `encode` returned them.
        plan: of the image; says how many tokens it has and where they stand.

    Attributes:
        ids: of the prefix.
        sequence: holds the prefix, and behind it the last prompt and reply.
    """

    def __init__(self, backend: Backend, tokenizer: Tokenizer, plan: ImagePlan, encoded: Any) -> None:
        text = tokenizer.encode(prompts.PREFIX)
        image_positions, self._position = plan.mrope_positions(len(text))
        positions = np.concatenate([text_positions(0, len(text)), image_positions], axis=1)
        self._tokenizer = tokenizer
        self.ids = text + [backend.config.image_token_id] * plan.tokens
        self.sequence = backend.start()
        self.sequence.extend(self.ids, positions, image=encoded)

    def reply(self, prompt: str, grammar: Grammar, decoder: Decoder, limits: Limits, work: Work) -> Iterator[Token]:
        """Feeds a prompt in place of the last one, and gives the tokens of its reply as they are decided.

        Args:
            prompt: what stands between the image and the end of the user's turn.
            work: is counted up.

        Raises:
            TextTooLongError: if the prompt leaves no room for a reply.
            QueryCancelledError, QueryTimeoutError: by `limits`, between steps.
        """
        ids = self._tokenizer.encode(f"{prompts.VISION_END}{prompt}{prompts.SUFFIX}")
        room = self.sequence.limit - len(self.ids) - len(ids)
        if room < _LEAST_REPLY:
            raise TextTooLongError(
                f"the query needs {len(ids)} tokens besides the image's {len(self.ids)}: {self.sequence.limit} fit in "
                "all; shorten the text (an engine holds as many as n3d compile --cache says)"
            )
        self.sequence.truncate(len(self.ids))
        logits = self.sequence.extend(ids, text_positions(self._position, len(ids)))[0]
        limits = replace(limits, tokens=min(limits.tokens, room))
        return decoder.reply(self.sequence, logits, self._position + len(ids), grammar, self.ids + ids, limits, work)
