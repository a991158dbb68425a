"""What random weights are made to say, so that both ways write the same tokens and as many as a trained model would.

Both replies have the released model's patterns: two boxes, then a chain of thought that states the boxes of its prompt
and concludes. The numbers are those of the prompt, as a model that reads it would state them.
"""

from __future__ import annotations

from n3d_core.language.codec import BoxCodec
from n3d_core.language.conditions import condition_names, scene_condition
from n3d_core.language.structured import parse
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.reasoning.solving import answer_by_geometry

QUESTION = "How far is the red mug from the blue box?"
GROUNDING = "bbox_0=Bbox(red mug,412,530,388,500,61,74,60)\nbbox_1=Bbox(blue box,640,518,455,500,140,122,133)"


def prescribed_replies(tokenizer: Tokenizer, codec: BoxCodec, end: int) -> list[list[int]]:
    """Ids of the replies of both passes to `QUESTION`, each with the turn's `end`.

    Args:
        codec: of the frame, which says where the prescribed bins lie.
    """
    return [[*tokenizer.encode(text), end] for text in (GROUNDING, reasoning(codec))]


def reasoning(codec: BoxCodec) -> str:
    """The second reply: the boxes as the prompt states them, their distance, and the answer."""
    boxes = [codec.decode(code) for code in parse(GROUNDING)]
    names = condition_names(boxes)
    stated, _, _ = scene_condition(boxes, codec.camera, names).partition("The 2D bbox")
    answer = answer_by_geometry(QUESTION, boxes, names).text
    return f"<think>{stated.strip()} So {answer[0].lower()}{answer[1:]}</think>{answer}"
