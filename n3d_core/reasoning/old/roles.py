"""Which boxes take which role in a question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old.names import is_anything, matching
from n3d_core.reasoning.old.question import CAMERA, Question

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_ROLES = len(LETTERS)


@dataclass(frozen=True)
class Roles:
    """The objects of one question in the order of their roles (A, B, C ...): what they are called and their boxes."""

    names: tuple[str, ...]
    boxes: tuple[Box3D, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def letter(self, index: int) -> str:
        """The letter of a role in formulas: A, B, C ..."""
        return LETTERS[index]


def resolve(question: Question, boxes: Sequence[Box3D], names: Sequence[str] | None = None) -> Roles:
    """Finds the box of each object that a question is about.

    Args:
        question: as `read_question` gives it.
        boxes: the boxes at hand.
        names: what the boxes are called in the reasoning (`4_chair`), parallel to `boxes`; their labels if None.

    Raises:
        QueryError: if a mention fits no box, or fits several, or there are too few or too many candidates, or a box is
            not finite. A count of what no box is called is one, too, unless there is no box at all: then it is 0.
    """
    called = [b.label for b in boxes] if names is None else list(names)
    if len(called) != len(boxes):
        raise QueryError(f"{len(called)} names are given for {len(boxes)} boxes: one name for each is wanted")
    for box, name in zip(boxes, called, strict=True):
        if not all(map(math.isfinite, (*box.center, *box.size))):
            raise QueryError(f"the box of {name!r} has a centre or size that is not finite: nothing follows from it")
    chosen = [_one(mention, called) for mention in question.names]
    if question.among:
        rivals = range(len(boxes)) if is_anything(question.among) else matching(question.among, called)
        chosen += [i for i in rivals if i not in chosen]
    _check(question, chosen, called)
    return Roles(
        tuple("camera" if i is None else called[i] for i in chosen),
        tuple(CAMERA if i is None else boxes[i] for i in chosen),
    )


def _one(mention: str, called: list[str]) -> int | None:
    """Index of the only box that a mention fits, None for the camera."""
    found = matching(mention, called)
    if len(found) == 1:
        return found[0]
    if not found and mention == "camera":
        return None
    known = ", ".join(repr(n) for n in called) or "none"
    if not found:
        raise QueryError(f"no box is called {mention!r}; the boxes are: {known}")
    raise QueryError(f"{mention!r} may mean {len(found)} of the boxes ({known}): name the one that is meant")


def _check(question: Question, chosen: list[int | None], called: list[str]) -> None:
    if len(chosen) > MAX_ROLES:
        raise QueryError(f"the question is about {len(chosen)} objects: at most {MAX_ROLES} are compared")
    if len(set(chosen)) != len(chosen):
        raise QueryError("the question names the same object twice: name different ones")
    if question.type == "count":
        if called and not chosen:
            raise QueryError(f"no box is called {question.among!r}; the boxes are: {', '.join(map(repr, called))}")
        return
    wanted = {"extreme": 1, "relative_distance": 2, "depth_order": 2}.get(question.type, 1)
    if len(chosen) < wanted:
        what = question.among or "object"
        raise QueryError(
            f"there are too few boxes to choose a {what!r} from; the boxes are: {', '.join(called) or 'none'}"
        )
