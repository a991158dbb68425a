"""The two prompts of a golden item, rebuilt from its messages, the first reply and the geometry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core import compat
from n3d_core.geometry.points import Normalisation
from n3d_core.language import prompts
from n3d_core.language.structured import CODE_TEMPLATE
from n3d_core.language.tokenizer import Tokenizer

_CLASS = re.compile(r"Identify the 3D boxes for all the '(.*)' in this scene\.")
Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Prompt:
    """A whole ChatML prompt: the words, its image tokens being counted only, and the answer that its item holds."""

    words: str
    image_tokens: int
    answer: str = ""

    @property
    def text(self) -> str:
        """As the golden files write it."""
        pads = f"{{IMAGE_PAD x {self.image_tokens}}}"
        return f"{prompts.PREFIX}{pads}{prompts.VISION_END}{self.words}{prompts.SUFFIX}"

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Token ids as the pipeline encodes them, the part before the image by itself, cut as the scripts cut them."""
        image = [tokenizer.id_of(prompts.IMAGE_PAD)] * self.image_tokens
        rest = tokenizer.encode(f"{prompts.VISION_END}{self.words}{prompts.SUFFIX}")
        ids = tokenizer.encode(prompts.PREFIX) + image + rest
        answer = len(tokenizer.encode(f"{self.answer}{prompts.TURN_END}\n"))
        return ids[: compat.kept_prompt_length(len(ids), answer)]

    def whole_ids(self, tokenizer: Tokenizer) -> list[int]:
        """Token ids of the text encoded at once."""
        pads = prompts.IMAGE_PAD * self.image_tokens
        return tokenizer.encode(f"{prompts.PREFIX}{pads}{prompts.VISION_END}{self.words}{prompts.SUFFIX}")


@dataclass(frozen=True)
class Dialogue:
    """Both prompts of an item, and the text kept of its first reply; None where the item has no first reply."""

    first: Prompt
    product_words: str | None
    saved: str | None = None
    second: Prompt | None = None

    @property
    def prompts(self) -> list[Prompt]:
        return [self.first] if self.second is None else [self.first, self.second]


def build_dialogue(
    item: Mapping[str, Any],
    normalisation: Normalisation,
    fractions: NDArray[np.floating],
    image_tokens: int,
    tokenizer: Tokenizer | None,
) -> Dialogue:
    """The prompts of an item that has `messages` and, for the second, `scripted_reply`."""
    messages = item["messages"]
    first, words = first_prompt(messages, image_tokens), product_words(messages)
    if "scripted_reply" not in item:
        return Dialogue(first, words)
    saved = saved_grounding(item["scripted_reply"], normalisation, tokenizer)
    return Dialogue(first, words, saved, second_prompt(messages, saved, fractions, image_tokens))


def first_prompt(messages: Messages, image_tokens: int) -> Prompt:
    """Pass 1: a localisation prompt as it stands, or a question that asks for the boxes first."""
    said = _first_question(messages)
    if "<code_template>" in said:
        words = said.replace("<code_template>", CODE_TEMPLATE)
    elif len(messages) > 2:
        words = said
    else:
        words = prompts.locate_prompt(said)
    return Prompt(words, image_tokens, _content(messages, 1))


def product_words(messages: Messages) -> str | None:
    """The words of pass 1 as `language/prompts.py` builds them for what the item asks; None where it has no such prompt."""
    said = _first_question(messages)
    if said.startswith("Detect boxes."):
        return prompts.grounding_prompt(prompts.ALL_OBJECTS)
    if match := _CLASS.match(said):
        return prompts.grounding_prompt(match.group(1))
    return None if "<code_template>" in said or len(messages) > 2 else prompts.locate_prompt(said)


def second_prompt(messages: Messages, saved: str, fractions: NDArray[np.floating], image_tokens: int) -> Prompt:
    """Pass 2: the question's first sentence and what the saved grounding says of its objects."""
    two_turns = len(messages) > 2
    question = _content(messages, 2) if two_turns else _first_question(messages)
    try:
        boxes = compat.parse(saved)
    except ValueError:
        boxes = []
    condition = compat.condition(boxes, fractions, question if two_turns else None)
    return Prompt(compat.first_sentence(question) + condition, image_tokens, _content(messages, 3))


def saved_grounding(reply: str, normalisation: Normalisation, tokenizer: Tokenizer | None) -> str:
    """What the scripts keep of a first reply; without a tokenizer the reply is taken as said in one piece."""
    if tokenizer is not None:
        ids = [*tokenizer.encode(reply), tokenizer.id_of(prompts.TURN_END)]
        reply = compat.streamed(ids, tokenizer.decode)
    return compat.saved_grounding(reply, normalisation)


def _first_question(messages: Messages) -> str:
    return _content(messages, 0).replace("<image>", "")


def _content(messages: Messages, index: int) -> str:
    return str(messages[index]["content"]) if index < len(messages) else ""
