"""The chain of thought of each question type: state the boxes, state the rule, compute, conclude.

Two styles: `published` has the words of the released model's samples, `compact` the same shape without needless words
(for small models). Both are computed from the numbers that the second pass's prompt states (2 decimals, x left, y up).
"""

from __future__ import annotations

from n3d_core.reasoning.old.chain_numbers import count_chain, direction_chain, distance_chain, size_chain
from n3d_core.reasoning.old.chain_parts import Style
from n3d_core.reasoning.old.chain_relations import comparison_chain, order_chain, relative_distance_chain
from n3d_core.reasoning.old.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.old.roles import Roles

__all__ = ["Style", "chain_of_thought"]


def chain_of_thought(question: Question, roles: Roles, style: Style = "compact") -> tuple[list[str], str]:
    """The steps of the reasoning and the answer's text; see the module's text for the styles."""
    published = style == "published"
    if question.type in COMPARISONS:
        return comparison_chain(question, roles, published)
    if question.type in SIZES:
        return size_chain(question, roles)
    if question.type in DISTANCES:
        return distance_chain(question, roles, published)
    if question.type == "direction":
        return direction_chain(roles, published)
    if question.type == "count":
        return count_chain(question, roles)
    if question.type == "relative_distance":
        return relative_distance_chain(question, roles, published)
    return order_chain(question, roles, published)
