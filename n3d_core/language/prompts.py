"""The prompts N3D-VLM was trained on (ChatML), as pieces of text around the image."""

from __future__ import annotations

import re

from n3d_core.errors import EmptyTextError, QueryError, TextTooLongError
from n3d_core.language.structured import CODE_TEMPLATE

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
VISION_START, VISION_END, IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

PREFIX = f"{TURN_START}system\n{SYSTEM}{TURN_END}\n{TURN_START}user\n{VISION_START}"
SUFFIX = f"{TURN_END}\n{TURN_START}assistant\n"

REFERENCE = f" The reference code is as followed: {CODE_TEMPLATE}"
ALL_OBJECTS = "all objects"
SEPARATOR = ";"  # between the phrases of one grounding query
MOST_PHRASES = 16
MAX_TEXT = 2000  # characters: longer than any question, shorter than any context

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIAL = re.compile(r"<\|([A-Za-z_]{1,40})\|>")


def detect_prompt() -> str:
    """Prompt for every object in the scene."""
    return f"Detect boxes.{REFERENCE}"


def class_prompt(name: str) -> str:
    """Prompt for all objects that a noun phrase names."""
    return f"Identify the 3D boxes for all the '{name}' in this scene.{REFERENCE}"


def locate_prompt(question: str) -> str:
    """Prompt for the first pass of a question: the boxes of the objects it mentions."""
    return f"{question} First locate the bbox of the aforementioned object(s).{REFERENCE}"


def grounding_prompt(text: str) -> str:
    """The prompt of a grounding query: `all objects`, or a noun phrase."""
    return detect_prompt() if text.lower() == ALL_OBJECTS else class_prompt(text)


def harmless(text: str) -> str:
    """Text on one line, trimmed, with special tokens spelled so that the tokenizer reads them as plain text."""
    return " ".join(_SPECIAL.sub(r"< |\1| >", text).split())


def checked_text(text: str, example: str = "name what to look for, for example 'red mug', or 'all objects'") -> str:
    """User text made safe for a prompt. `example` is what to write instead of nothing.

    Raises:
        EmptyTextError, TextTooLongError: if nothing is left, or more than `MAX_TEXT` characters.
        QueryError: if it contains unpaired surrogates, which no tokenizer accepts.
    """
    half = _SURROGATE.search(text)
    if half is not None:
        found = f"U+{ord(half.group()):04X} at {half.start()}"
        raise QueryError(f"the query text has the unpaired surrogate {found}: send valid UTF-8")
    clean = harmless(text)
    if not clean:
        raise EmptyTextError(f"the query text is empty: {example}")
    if len(clean) > MAX_TEXT:
        raise TextTooLongError(f"the query text has {len(clean)} characters; the limit is {MAX_TEXT}")
    return clean


def phrases(text: str) -> list[str]:
    """The phrases of a grounding query, separated by `;`, each made safe.

    Raises:
        EmptyTextError, TextTooLongError: if there is none, one is too long, or there are more than `MOST_PHRASES`.
    """
    found = [checked_text(part) for part in text.split(SEPARATOR) if part.strip()]
    if not found:
        return [checked_text("")]
    if len(found) > MOST_PHRASES:
        raise TextTooLongError(f"the query has {len(found)} phrases; the limit is {MOST_PHRASES}")
    return found
