"""The two prompts of a golden item, rebuilt from its messages, the first reply and the geometry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.points import Normalisation
from n3d_core.language import prompts
from n3d_core.language.structured import CODE_TEMPLATE
from n3d_core.language.tokenizer import Tokenizer
from test.parity import compat

_CLASS = re.compile(r"Identify the 3D boxes for all the '(.*)' in this scene\.")
_TEMPLATE = "<code_template>"
Item = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A whole ChatML prompt.

    Attributes:
        said: what the user says, `<image>` marking where the image stands.
        image_tokens: that stand in its place.
        answer: that its item holds; the scripts cut a prompt for its sake.
    """

    said: str
    image_tokens: int
    answer: str = ""

    @property
    def text(self) -> str:
        """As the golden files write it."""
        return self._filled(f"{{IMAGE_PAD x {self.image_tokens}}}")

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Token ids as the pipeline encodes them, the part before the image by itself; cut as the scripts cut."""
        before, after = self._filled("<image>").split("<image>", 1)
        image = [tokenizer.id_of(prompts.IMAGE_PAD)] * self.image_tokens
        ids = tokenizer.encode(before) + image + tokenizer.encode(after)
        answer = len(tokenizer.encode(f"{self.answer}{prompts.TURN_END}\n"))
        return ids[: compat.kept_prompt_length(len(ids), answer)]

    def whole_ids(self, tokenizer: Tokenizer) -> list[int]:
        """Token ids of the text encoded at once, not cut."""
        return tokenizer.encode(self._filled(prompts.IMAGE_PAD * self.image_tokens))

    def _filled(self, image: str) -> str:
        turn = prompts.PREFIX.removesuffix(prompts.VISION_START)
        marked = f"{prompts.VISION_START}{image}{prompts.VISION_END}"
        return turn + self.said.replace("<image>", marked, 1) + prompts.SUFFIX


@dataclass(frozen=True)
class Dialogue:
    """Both prompts of an item, and the text kept of its first reply; None where the item has no first reply."""

    first: Prompt
    product_words: str | None
    saved: str | None = None
    second: Prompt | None = None

    @property
    def prompts(self) -> list[Prompt]:
        """In the order in which they are asked."""
        return [self.first] if self.second is None else [self.first, self.second]


def build_dialogue(
    item: Item,
    normalisation: Normalisation,
    fractions: NDArray[np.floating],
    image_tokens: int,
    tokenizer: Tokenizer | None,
) -> Dialogue:
    """The prompts of an item that has `messages` and, for the second, `scripted_reply`."""
    first, words = first_prompt(item, image_tokens), product_words(item)
    if "scripted_reply" not in item:
        return Dialogue(first, words)
    saved = saved_grounding(item["scripted_reply"], normalisation, tokenizer)
    return Dialogue(first, words, saved, second_prompt(item, saved, fractions, image_tokens))


def first_prompt(item: Item, image_tokens: int) -> Prompt:
    """Pass 1: a localisation prompt as it stands, or a question that asks for the boxes first."""
    said = _with_image(_content(item, 0))
    if len(item["messages"]) <= 3 and item.get("program") != "detection.py":
        said += prompts.locate_prompt("").replace(CODE_TEMPLATE, _TEMPLATE)
    if _TEMPLATE not in said:
        said += _TEMPLATE
    answer = compat.answer_as_bins(_content(item, 1))
    return Prompt(said.replace(_TEMPLATE, CODE_TEMPLATE), image_tokens, answer)


def product_words(item: Item) -> str | None:
    """What `language/prompts.py` builds for pass 1 of an item; None where the product asks no such thing."""
    asked = _content(item, 0).removeprefix("<image>")
    if asked.startswith("Detect boxes."):
        return prompts.grounding_prompt(prompts.ALL_OBJECTS)
    if match := _CLASS.match(asked):
        return prompts.grounding_prompt(match.group(1))
    return None if _TEMPLATE in asked or len(item["messages"]) > 3 else prompts.locate_prompt(asked)


def second_prompt(item: Item, saved: str, fractions: NDArray[np.floating], image_tokens: int) -> Prompt:
    """Pass 2: the question's first sentence and what the saved grounding says of its objects."""
    two_turns = len(item["messages"]) > 3
    question = _content(item, 2) if two_turns else _content(item, 0)
    condition = compat.condition(compat.parse(saved), fractions, question if two_turns else None)
    said = _with_image(compat.first_sentence(question)) + condition
    return Prompt(said, image_tokens, _content(item, 3) if two_turns else "")


def saved_grounding(reply: str, normalisation: Normalisation, tokenizer: Tokenizer | None) -> str:
    """What the scripts keep of a first reply; without a tokenizer the reply is taken as said in one piece."""
    if tokenizer is not None:
        ids = [*tokenizer.encode(reply), tokenizer.id_of(prompts.TURN_END)]
        reply = compat.streamed(ids, tokenizer.decode)
    return compat.saved_grounding(reply, normalisation)


def _content(item: Item, index: int) -> str:
    messages = item["messages"]
    return str(messages[index]["content"]) if index < len(messages) else ""


def _with_image(said: str) -> str:
    return said if "<image>" in said else f"<image>{said}"
