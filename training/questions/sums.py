"""Drills of what thoughts compute: a list of quantities to work out from stated boxes, one after the other.

A question trains each step once in some three hundred tokens; a drill trains ten in as many. All of its steps are
written by the functions that write them in thoughts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.question import Question as SpatialQuestion
from n3d_core.reasoning.relations import ALIKE, MEASURES, as_stated
from n3d_core.reasoning.resolve import Roles
from n3d_core.reasoning.thought_numbers import (
    alike_step,
    bboxes,
    best,
    difference,
    direction_chain,
    gap_steps,
    in_order,
    length_of,
    measures,
    measures_of,
    sign,
    subtractions,
    volumes,
)
from n3d_core.reasoning.units import number_text
from training.data.sequences import Question
from training.questions.grounding import SceneObjects

_MOST_BOXES = 4
_STEPS = (2, 4)  # quantities of a drill
_AXES = {"distance": (0, 1, 2), "horizontal_distance": (0, 2), "vertical_distance": (1,)}
_DIRECTION = SpatialQuestion("direction", "number", ())
_COMPARED = "XYZWHLV"


def sums_question(scene: SceneObjects, rng: np.random.Generator) -> Question | None:
    """Some of a scene's boxes, stated, and quantities computed from them; None for less than two objects."""
    count = min(len(scene.objects), int(rng.integers(2, _MOST_BOXES + 1)))
    if count < 2:
        return None
    chosen = [scene.objects[i].box for i in rng.permutation(len(scene.objects))[:count].tolist()]
    roles = Roles(tuple(b.label for b in chosen), tuple(as_stated(b) for b in chosen), tuple(range(count)))
    kinds = rng.choice(len(_KINDS), size=int(rng.integers(_STEPS[0], _STEPS[1] + 1))).tolist()
    done = [_KINDS[k](roles, rng) for k in kinds]
    asked = dict.fromkeys(name for name, _ in done)
    steps = dict(reversed(done))
    given = f"{bboxes(roles)} "
    return Question(f"Compute {', '.join(asked)}.", reply=" ".join(steps[name] for name in asked), given=given)


def _pair(roles: Roles, rng: np.random.Generator) -> tuple[Box3D, Box3D, str]:
    i, j = rng.permutation(len(roles))[:2].tolist()
    return roles.boxes[i], roles.boxes[j], roles.letter(i) + roles.letter(j)


def _length(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    a, b, letters = _pair(roles, rng)
    kind = str(rng.choice(list(_AXES)))
    parts = [difference(a, b)[i] for i in _AXES[kind]]
    metres = round(float(np.hypot.reduce(parts)), 2)
    name = f"{kind}_{letters}"
    return name, f"{subtractions(a, b, _AXES[kind], letters)} {name} = {length_of(parts)} = {metres} meters."


def _gap(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    a, b, letters = _pair(roles, rng)
    along, formula, metres = gap_steps(a, b, letters)
    return f"gap_{letters}", f"{along} gap_{letters} = {formula} = {metres} meters."


def _direction(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    i, j = rng.permutation(len(roles))[:2].tolist()
    pair = Roles((roles.names[i], roles.names[j]), (roles.boxes[i], roles.boxes[j]), (0, 1))
    letters = roles.letter(i) + roles.letter(j)
    steps = " ".join(direction_chain(_DIRECTION, pair, published=False)[0][1:])
    return f"clock_{letters}", steps.replace("_AB", f"_{letters}")


def _volume(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    i = int(rng.integers(len(roles)))
    own = volumes(Roles(roles.names[i : i + 1], roles.boxes[i : i + 1], (0,)))
    return f"V_{roles.letter(i)}", own.replace("V_A", f"V_{roles.letter(i)}")


def _ranked(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    """The largest or smallest of a measure, or all in an order."""
    measure, how = str(rng.choice(list(_COMPARED))), str(rng.choice(["max", "min", "order"]))
    variables, texts = [f"{measure}_{roles.letter(i)}" for i in range(len(roles))], measures(measure, roles.boxes)
    values = [float(t) for t in texts]
    order = sorted(range(len(values)), key=values.__getitem__)
    listed = measures_of(measure, texts, roles)
    if how == "order":
        names = " < ".join(roles.names[i] for i in order)
        return f"order({measure})", f"{listed} Since {in_order(variables, texts, order)}, {names}."
    winner = roles.names[order[-1] if how == "max" else order[0]]
    return f"{how}({measure})", f"{listed} Since {best(variables, texts, how == 'max')}, {winner}."


def _alike(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    a, b, letters = _pair(roles, rng)
    measure = str(rng.choice(list("WHL")))
    first, second = (round(MEASURES[measure](box), 2) for box in (a, b))
    near = abs(first - second) <= ALIKE * max(first, second)
    return f"alike({measure}_{letters})", f"Since {alike_step(first, second)}, {near}."


def _limited(roles: Roles, rng: np.random.Generator) -> tuple[str, str]:
    """An extent against a limit that the prompt names in metres or centimetres."""
    i, measure = int(rng.integers(len(roles))), str(rng.choice(list("WHL")))
    value = MEASURES[measure](roles.boxes[i])
    limit = max(round(value * float(np.exp(rng.normal(0, 0.5))), 2), 0.01)
    said = f"{limit:g} m" if rng.random() < 0.5 else f"{round(limit * 100)} cm"
    name, text = f"{measure}_{roles.letter(i)}", number_text(value, 4)
    sides = sign(text, f"{limit:g}")
    return f"{name} > {said}", f"Since {name} = {text} {sides} limit = {limit:g}, {sides == '>'}."


_KINDS: Sequence[Callable[[Roles, np.random.Generator], tuple[str, str]]] = (
    _length, _length, _gap, _direction, _volume, _ranked, _ranked, _ranked, _alike, _limited, _limited,
)  # fmt: skip
