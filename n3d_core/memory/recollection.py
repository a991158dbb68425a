"""Questions about objects that are not in view, answered from the map: where they were seen, when, how far apart.

Remembered objects are put before a viewer who stands where the camera is and looks level ahead; from there on they are
boxes like any others, and geometry answers the typed question.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D, OrientedBox, Vector
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import PRESENT_LOG_ODDS, RememberedObject, Sighting, first_seen
from n3d_core.memory.observations import Array, Pose, level_axes, observed
from n3d_core.reasoning.audit import NOT_SEEN, UNVERIFIABLE, VERIFIED, Verdict
from n3d_core.reasoning.lexicon import plural
from n3d_core.reasoning.outcome import sought
from n3d_core.reasoning.parse import read_phrases, read_question
from n3d_core.reasoning.question import CAMERA_PHRASE, NOTHING, NotUnderstood, Phrase, Value
from n3d_core.reasoning.resolve import AmbiguousError, MissingError, Scene, listed, matching
from n3d_core.reasoning.solve import Solution, solve_scene
from n3d_core.results import Answer

HALF_LIFE_S = 12 * 3600.0
"""After so long without being seen, an object is only half as likely to be where it was."""
_NOW_S = 2.0  # what was seen within this time is in view
_CANDIDATES = 1000  # objects of one head noun that a question can be about
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_PAST = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:when|where)(?: did| have|'ve| was it that) (?:you|we|i|the robot) (?:last |ever )?"
        r"(?:see|saw|seen|spot|spotted|find|found|notice|noticed|leave|left|put) (?P<what>.+?)(?: last| before)?",
        r"(?:when|where) (?:was|were) (?P<what>.+?) (?:last )?(?:seen|spotted|found|noticed|left|put)(?: last)?",
        r"do you (?:still )?(?:remember|know|recall) where (?P<what>.+?) (?:is|was|are|were)",
    )
)
_OVERHEAD = math.radians(60)
_SIDES = ("ahead of you", "ahead on your left", "to your left", "behind you on your left", "behind you",
          "behind you on your right", "to your right", "ahead on your right")  # fmt: skip


@dataclass(frozen=True)
class Viewpoint:
    """Where and when memory is asked.

    Attributes:
        pose: of the camera (optical frame) in the map.
        now: seconds, by the clock of the looks.
        map_frame: name of the map's frame, for sentences.
    """

    pose: Pose
    now: float
    map_frame: str = "map"

    @property
    def level(self) -> Array:
        """[3, 3]: columns are right, down and level ahead of the viewer, in the map."""
        ahead, up = self.pose.rotation[:, 2].copy(), -self.pose.rotation[:, 1]
        if math.hypot(ahead[0], ahead[1]) < 0.1:  # looks straight down (or up): ahead is where the image's top points
            ahead = up if ahead[2] < 0 else -up
        ahead[2] = 0.0
        ahead = ahead / np.linalg.norm(ahead)
        return np.column_stack([np.cross(ahead, [0.0, 0.0, 1.0]), [0.0, 0.0, -1.0], ahead])


def find_remembered(
    memory: ObjectMap, text: str = "", *, max_age: float = math.inf, now: float = 0.0, limit: int = 200
) -> list[RememberedObject]:
    """Remembered objects that a text names, the surest first; gone ones too.

    Args:
        text: noun phrases ("red mug; bottle"); empty for everything.
        max_age: seconds since an object was last seen, counted from `now`.

    Raises:
        QueryError: if the text is not understood. ObjectMapError: if the map cannot be read.
    """
    if not text.strip():
        return memory.recall(None, max_age, now, limit)
    phrases = read_phrases(text)
    if isinstance(phrases, NotUnderstood):
        raise QueryError(f"{text!r} names nothing to recall: {phrases.reason}")
    found = {one.id: one for phrase in phrases for one in _called(memory, phrase, max_age, now)}
    return sorted(found.values(), key=lambda one: (-one.log_odds, -one.last_seen))[:limit]


def forget_named(memory: ObjectMap, text: str) -> int:
    """Removes the objects that a text names; returns how many there were.

    Raises:
        QueryError: if the text is empty or not understood. ObjectMapError: if the map cannot be written.
    """
    if not text.strip():
        raise QueryError("name what to forget, or clear the map to forget everything")
    return memory.forget([one.id for one in find_remembered(memory, text, limit=2**31)])


def answer_from_memory(
    question: str, memory: ObjectMap, viewpoint: Viewpoint, in_view: Sequence[OrientedBox | Box3D] = ()
) -> Answer:
    """Answers a question about remembered objects.

    Args:
        in_view: boxes found in the current view (optical frame), which may be part of the answer.

    Returns:
        An answer in the optical frame of `viewpoint.pose`, with `remembered` parallel to `boxes`. `verified` where what
        it rests on is likely to be there still; `not_seen` where the map holds no such object, or knows it is gone.
        The model is not asked, so `said` is empty.

    Raises:
        ObjectMapError: if the map cannot be read.
    """
    read = read_question(in_the_present(question))
    if isinstance(read, NotUnderstood):
        return Answer(question, f"I cannot tell. {read.reason}", "", "", UNVERIFIABLE, read.reason)
    phrases = [phrase for phrase in read.phrases if phrase != CAMERA_PHRASE]
    objects, known = _candidates(memory, phrases, viewpoint, in_view)
    there = [one for one in objects if one.state != "gone"]
    try:
        solution = solve_scene(read, _scene(there, known, viewpoint))
    except MissingError as error:
        return _missing(question, error.phrase, objects, viewpoint)
    except AmbiguousError as error:
        return _ambiguous(question, error.phrase, [there[i] for i in error.indices], viewpoint)
    except QueryError as error:
        return Answer(question, str(error), "", "", UNVERIFIABLE, str(error))
    if read.type == "exists" and not solution.value.truth:
        return _missing(question, sought(read), objects, viewpoint)
    return _answer(question, solution, there, viewpoint)


def in_the_present(question: str) -> str:
    """A question about when or where something was seen as one about where it is: the answer tells both."""
    for pattern in _PAST:
        found = pattern.fullmatch(question.strip(" ?!."))
        if found is not None:
            return f"Where is {found['what']}?"
    return question


def where_sentence(one: RememberedObject, viewpoint: Viewpoint) -> str:
    """`The red mug was last seen 12 minutes ago, 3.2 m behind you, at (1.20, 0.40, 0.85) in map.`"""
    side = _side(one, viewpoint)
    away = float(np.linalg.norm(one.center - viewpoint.pose.translation))
    place = f"{away:.1f} m {side}, at {_point(one.center)} in {viewpoint.map_frame}"
    if _age(one, viewpoint) <= _NOW_S and one.state != "gone":
        return f"The {one.label} is in view, {place}."
    sentence = f"The {one.label} was last seen {_ago(_age(one, viewpoint))}, {place}."
    if one.state == "gone":
        looked = _ago(max(viewpoint.now - one.last_looked, 0.0))
        sentence = f"{sentence[:-1]}, but it is gone: its place was empty {looked}."
    return sentence


def still_there(one: RememberedObject, now: float) -> bool:
    """Whether an object is likely to be where it was, given its existence and how long ago it was last seen."""
    aged = one.existence * 0.5 ** (max(now - one.last_seen, 0.0) / HALF_LIFE_S)
    return aged >= 1 / (1 + math.exp(-PRESENT_LOG_ODDS))


def _called(memory: ObjectMap, phrase: Phrase, max_age: float, now: float) -> list[RememberedObject]:
    """The objects whose labels fit a phrase's noun, colours and attributes."""
    noun = None if phrase.noun == "object" else phrase.noun.split()[-1]
    return _fitting(phrase, memory.recall(noun, max_age, now, _CANDIDATES))


def _fitting(phrase: Phrase, objects: Sequence[RememberedObject]) -> list[RememberedObject]:
    plain = replace(phrase, where=(), pick=None, number=None, plural=True)
    return [objects[i] for i in matching(plain, [one.label for one in objects])]


def _candidates(
    memory: ObjectMap, phrases: Iterable[Phrase], viewpoint: Viewpoint, in_view: Sequence[OrientedBox | Box3D]
) -> tuple[list[RememberedObject], dict[Phrase, list[int]]]:
    """What a question can be about, those in view first, and of those the ones that each phrase means.

    What is in view takes the place of what is remembered there, and goes before what is remembered elsewhere.
    """
    boxes = [box if isinstance(box, OrientedBox) else OrientedBox.of(box) for box in in_view]
    seen = [shown for shown in observed(boxes, viewpoint.pose) if shown is not None]
    now = [first_seen(Sighting(one, viewpoint.pose, viewpoint.now)) for one in seen]
    known: dict[Phrase, list[int]] = {}
    recalled: dict[int, RememberedObject] = {}
    for phrase in phrases:
        recalled |= {one.id: one for one in _called(memory, phrase, math.inf, viewpoint.now)}
        fitting = matching(replace(phrase, where=(), pick=None), [one.label for one in now])
        if fitting and not (phrase.plural or phrase.is_anything):
            known[phrase] = fitting
    here = memory.known(seen, viewpoint.pose)
    for number, one in here.items():  # a box keeps the name that the question found it by
        now[number] = replace(now[number], id=one.id, first_seen=one.first_seen)
    seen_now = {one.id for one in here.values()}
    return [*now, *(one for one in recalled.values() if one.id not in seen_now)], known


def _scene(objects: Sequence[RememberedObject], known: dict[Phrase, list[int]], viewpoint: Viewpoint) -> Scene:
    """Objects as boxes in the level frame of a viewer."""
    boxes = tuple(_level_box(one, viewpoint) for one in objects)
    names = tuple(f"{index}_{one.label}" for index, one in enumerate(objects))
    return Scene(boxes, names, dict(known))


def _level_box(one: RememberedObject, viewpoint: Viewpoint) -> Box3D:
    """An object's box with its own extents, each along the viewer's axis that is nearest to it."""
    level = viewpoint.level
    x, y, z = (float(v) for v in level.T @ (one.center - viewpoint.pose.translation))
    across = level.T @ level_axes(one.yaw)[:, 0]
    length, width, height = (float(v) for v in one.size)
    size = (length, height, width) if abs(across[0]) >= abs(across[2]) else (width, height, length)
    covariance = tuple(float(v) for v in (level.T @ one.covariance @ level).reshape(-1))
    return Box3D(one.label, (x, y, z), size, one.existence, covariance)


def _optical_box(one: RememberedObject, viewpoint: Viewpoint) -> Box3D:
    """An object's box in the optical frame: the hull of its corners."""
    turn = viewpoint.pose.rotation.T
    box = one.box.transformed(turn, -turn @ viewpoint.pose.translation)
    width, height, length = (float(v) for v in np.ptp(box.corners(), axis=0))
    return Box3D(one.label, box.center, (width, height, length), one.existence, box.covariance)


def _answer(question: str, solution: Solution, seen: Sequence[RememberedObject], viewpoint: Viewpoint) -> Answer:
    used = list(dict.fromkeys(i for i in (*solution.outcome.found, *solution.roles.indices) if i is not None))
    shown = [seen[i] for i in used]
    doubtful = [one for one in shown if not still_there(one, viewpoint.now)]
    reason = solution.doubt
    if not reason and doubtful:
        reason = f"{_subject(doubtful)} may not be there any more."
    verdict: Verdict = UNVERIFIABLE if reason else VERIFIED
    value = NOTHING if reason else _value(solution, used, viewpoint)
    answer = Answer(question, _sentence(solution, shown, viewpoint), "", "", verdict, reason, value)
    return _with_objects(answer, shown, viewpoint)


def _value(solution: Solution, used: Sequence[int], viewpoint: Viewpoint) -> Value:
    """The value with indices of the boxes shown, and its point in the optical frame."""
    value = solution.value
    point: Vector = (0.0, 0.0, 0.0)
    if value.kind == "position":
        x, y, z = viewpoint.pose.rotation.T @ viewpoint.level @ np.asarray(value.point)
        point = (float(x), float(y), float(z))
    return replace(value, objects=tuple(used.index(i) for i in value.objects), point=point)


def _sentence(solution: Solution, shown: Sequence[RememberedObject], viewpoint: Viewpoint) -> str:
    kind = solution.question
    if kind.type == "position" and len(kind.objects) == 1 and len(shown) == 1:
        return where_sentence(shown[0], viewpoint)
    if kind.type == "exists" and shown and solution.value.truth:
        return f"Yes: {' '.join(where_sentence(one, viewpoint) for one in shown)}"
    sentence = solution.sentence.replace(" in view", " in memory")
    ages = [(one, _age(one, viewpoint)) for one in shown]
    old = [f"the {one.label} {_ago(age)}" for one, age in ages if age > _NOW_S]
    return f"{sentence} From memory: last seen {listed(old)}." if old else sentence


def _missing(question: str, phrase: Phrase, objects: Sequence[RememberedObject], viewpoint: Viewpoint) -> Answer:
    """That an object is gone where it is known to be, else that none is remembered."""
    gone = sorted((one for one in _fitting(phrase, objects) if one.state == "gone"), key=lambda one: -one.last_seen)
    if gone:
        sentence = where_sentence(gone[0], viewpoint)
        return _with_objects(Answer(question, sentence, "", "", NOT_SEEN, sentence), gone[:1], viewpoint)
    text = phrase.text if phrase.where or phrase.pick else phrase.label
    name = plural(text) if phrase.plural and not phrase.where else text
    sentence = f"No {name} {'are' if phrase.plural else 'is'} in view or remembered."
    return Answer(question, sentence, "", "", NOT_SEEN, sentence)


def _ambiguous(question: str, phrase: Phrase, fitting: Sequence[RememberedObject], viewpoint: Viewpoint) -> Answer:
    newest = sorted(fitting, key=lambda one: -one.last_seen)
    sentence = f"'{phrase.text}' fits {len(newest)} remembered objects: say which one is meant."
    places = " ".join(where_sentence(one, viewpoint) for one in newest[:3])
    return _with_objects(Answer(question, f"{sentence} {places}", "", "", UNVERIFIABLE, sentence), newest, viewpoint)


def _with_objects(answer: Answer, objects: Sequence[RememberedObject], viewpoint: Viewpoint) -> Answer:
    age = max((_age(one, viewpoint) for one in objects), default=0.0)
    return replace(answer, boxes=[_optical_box(one, viewpoint) for one in objects], remembered=list(objects), age=age)


def _side(one: RememberedObject, viewpoint: Viewpoint) -> str:
    right, down, ahead = viewpoint.level.T @ (one.center - viewpoint.pose.translation)
    if math.atan2(abs(down), math.hypot(right, ahead)) > _OVERHEAD:
        return "below you" if down > 0 else "above you"
    return _SIDES[round(math.atan2(-right, ahead) / (math.pi / 4)) % 8]


def _age(one: RememberedObject, viewpoint: Viewpoint) -> float:
    return max(viewpoint.now - one.last_seen, 0.0)


def _ago(seconds: float) -> str:
    """`just now`, `40 seconds ago`, `12 minutes ago`, `3 hours ago`, `2 days ago`."""
    if seconds < _NOW_S:
        return "just now"
    size, name = next(unit for unit in _UNITS if seconds >= unit[0])
    count = math.floor(seconds / size)
    return f"{count} {name}{'' if count == 1 else 's'} ago"


def _point(point: Array) -> str:
    return f"({', '.join(f'{v:.2f}' for v in point + 0.0)})"


def _subject(objects: Sequence[RememberedObject]) -> str:
    text = listed([f"the {one.label}" for one in objects[:3]])
    return text[:1].upper() + text[1:]
