"""From a question to its answer: read it, ground what it names, solve it, let the model reason, audit.

The question is read once. Its phrases are grounded one by one; if one of them is not in view, that is the answer.
Geometry then solves the question and drafts the model's thought, and the audit compares the two answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from n3d_core.decoding.drafts import Lookup
from n3d_core.errors import EmptyTextError, QueryError, TextTooLongError
from n3d_core.finding import Finder, Sightings, bare, kept
from n3d_core.geometry.boxes import Box3D
from n3d_core.language.answer_grammar import split_reply
from n3d_core.language.prompts import condition_names, first_sentence, numbered_names, scene_condition
from n3d_core.reasoning.asking import plain_question
from n3d_core.reasoning.audit import CONTRADICTED, NOT_SEEN, UNVERIFIABLE, VERIFIED, audit
from n3d_core.reasoning.outcome import evaluate, sought
from n3d_core.reasoning.parse import NOT_GEOMETRY, read_question
from n3d_core.reasoning.question import ANYTHING, CAMERA_PHRASE, NOTHING, NotUnderstood, Phrase, Question
from n3d_core.reasoning.resolve import AmbiguousError, MissingError, Scene, article, matching, missing_sentence
from n3d_core.reasoning.solve import Solution, solve_scene
from n3d_core.reasoning.thoughts import Style
from n3d_core.results import Answer, AnswerFrom, TextDecoded
from n3d_core.runtime import Query

_SEEN_TOO = 0.25  # 3D IoU
_PIECE = 16  # tokens that are decoded again for each token that a listener hears of
_RANGING = ("extreme", "related", "relative_distance", "order", "depth_order")
"""Types that pick among objects of one kind: they need names that tell these objects apart."""
_COUNTED = ("count", "all", "outnumber")
"""Types whose answer depends on how many objects of a kind there are."""
_TAKEN_FOR = (
    Question("extreme", "choice", predicate="front", among=ANYTHING),
    Question("extreme", "choice", predicate="bigger", among=ANYTHING),
    Question("count", "number", among=ANYTHING),
)
"""What a small model answers instead of questions that it misunderstands; only drafts follow from them."""


@dataclass(frozen=True)
class Said:
    """The model's second reply: the whole text, the thought and the answer."""

    text: str = ""
    reasoning: str = ""
    answer: str = ""


class Asker:
    """Answers questions about one view."""

    def __init__(self, finder: Finder) -> None:
        self._finder, self._runtime = finder, finder.runtime
        self._style: Style = "compact" if finder.runtime.vocabulary is not None else "published"

    def ask(self, text: str, about: Sequence[Box3D] | None, answer_from: AnswerFrom, query: Query) -> Answer:
        """Answers one question; see `View.ask`. For `model`, the model is asked even if geometry has no answer."""
        answer = self._answer(text, about, answer_from, query)
        if answer_from != "model" or answer.said or answer.text:
            return answer
        boxes = answer.boxes if about is None else list(about)
        said = self._freely(text, boxes, numbered_names(boxes) if about is not None else condition_names(boxes), query)
        return replace(answer, answer=said.answer, said=said.answer, reasoning=said.reasoning, text=said.text)

    def _answer(self, text: str, about: Sequence[Box3D] | None, answer_from: AnswerFrom, query: Query) -> Answer:
        names = numbered_names(about) if about is not None else []
        question = read_question(text, names)
        if isinstance(question, NotUnderstood):
            likely = self._runtime.likely_question(text, question, names)
            if likely is None:
                return self._not_understood(text, question, about, query)
            return _as_taken(text, likely, self._answer(likely, about, answer_from, query))
        if _asks_for_colors(question) and about is None and self._runtime.vocabulary is None:
            unseen = NotUnderstood("not_geometry", NOT_GEOMETRY, question.objects)
            return self._not_understood(text, unseen, about, query)
        unknown = self._unknown(question) if about is None else ""
        if unknown:
            return _unsolved(text, f"{self._runtime.name} does not know {unknown!r}.")
        try:
            with query.stage("ground"):
                seen = self._see(question, query) if about is None else Sightings()
                scene = _scene_of(seen) if about is None else Scene(tuple(about), tuple(names))
                solution, shown = self._solve(question, scene, named=about is not None)
        except MissingError as error:
            return self._not_seen(text, error, about, query)
        except AmbiguousError as error:
            boxes = [scene.boxes[i] for i in error.indices]
            return replace(_unsolved(text, error.sentence), boxes=boxes)
        except (EmptyTextError, TextTooLongError):
            raise
        except QueryError as error:
            return _unsolved(text, str(error))
        vocabulary = self._runtime.vocabulary
        untaught = question.is_computed or (vocabulary is not None and not vocabulary.teaches(question))
        if answer_from != "model" and (untaught or (about is None and _is_about_grounding(question, seen))):
            return self._grounded(text, question, solution, shown, seen, query)
        steps, tokens = query.work.steps, query.work.tokens
        with query.stage("reason"):
            asked = plain_question(question, solution.roles) if vocabulary is not None else ""
            said = self._reason(asked or _asked_in(text, question, names), solution, query)
        work = (query.work.steps - steps, query.work.tokens - tokens)
        with query.stage("audit"):
            answer = _audited(text, solution, shown, said, answer_from)
            reason = self._mistrusted(question, solution, seen, query) if answer.verdict == VERIFIED else ""
            if reason:
                answer = replace(answer, verdict=UNVERIFIABLE, verdict_reason=reason, value=NOTHING)
        return replace(answer, reason_steps=work[0], reason_tokens=work[1])

    def _unknown(self, question: Question) -> str:
        """The first word of a question that the model does not know, or an empty string."""
        vocabulary = self._runtime.vocabulary
        if vocabulary is None:
            return ""
        return next((word for phrase in _things(question) if (word := vocabulary.unknown(phrase))), "")

    def _see(self, question: Question, query: Query) -> Sightings:
        """Grounds the phrases of a question."""
        seen, least = Sightings(), self._runtime.calibration.threshold
        phrases = sorted(_things(question), key=lambda p: p.is_anything)
        counted = question.type in _COUNTED and all(phrase.is_plain for phrase in phrases)
        self._finder.prepare(phrases, query, everywhere=counted)
        for phrase in phrases:
            found = self._finder.find(phrase, query).found
            single = phrase.is_plain and not (phrase.plural or phrase.is_anything)
            seen.add(phrase, kept(found, least, single))
        among = question.among
        ranging = among is not None and not among.is_anything and (question.type in _RANGING or question.is_computed)
        if (ranging and among is not None and len(seen.meant[among]) > 1) or _asks_for_colors(question):
            seen.name_apart(self._finder.everything(query).found)
        return seen

    def _solve(self, question: Question, scene: Scene, named: bool) -> tuple[Solution, list[Box3D]]:
        """The solution and the boxes it is about, those of its roles first, named as in the prompt.

        Args:
            named: whether the caller named the boxes; if not, names are made up.
        """
        outcome = evaluate(question, scene)
        referred = [i for p in _things(question) for i in scene.known.get(p, []) if not p.is_anything]
        roles = [i for i in outcome.roles.indices if i is not None]
        order = list(dict.fromkeys([*roles, *outcome.found, *referred]))
        boxes, place = [scene.boxes[i] for i in order], {index: new for new, index in enumerate(order)}
        first = len(set(roles))
        names = [scene.names[i] for i in order]
        if not named:
            names = [*condition_names(boxes[:first]), *numbered_names(boxes)[first:]]
        known = {p: [place[i] for i in found if i in place] for p, found in scene.known.items()}
        return solve_scene(question, Scene(tuple(boxes), tuple(names), known), self._style), boxes

    def _grounded(
        self, text: str, question: Question, solution: Solution, boxes: list[Box3D], seen: Sightings, query: Query
    ) -> Answer:
        """The answer that grounding and geometry give; a second reply would only be a guess."""
        reason = solution.doubt or self._mistrusted(question, solution, seen, query)
        verdict, value = (UNVERIFIABLE, NOTHING) if reason else (VERIFIED, solution.value)
        return Answer(text, solution.sentence, "", "", verdict, reason, value, boxes)

    def _mistrusted(self, question: Question, solution: Solution, seen: Sightings, query: Query) -> str:
        """Why an answer that is right about the boxes may be wrong about the scene; an empty string if it is safe.

        A doubtful object must also turn up when everything is grounded. So must a count, zero included: a box that is
        missing leaves no evidence.
        """
        used = {box.center for box in solution.roles.boxes}
        for one in seen.found:
            same = one.evidence.same
            if one.box.center in used and same is not None and same < _SEEN_TOO:
                return f"It is doubtful that a {one.box.label} is there: grounding all objects does not find it."
        if question.type == "extreme" and len(used) < 2:
            return "Only one object was found that competes; another may have been missed."
        if question.type not in (*_COUNTED, "exists") or not seen.meant:
            return ""
        kinds = question.objects
        if question.type != "outnumber":
            kinds = (question.among if question.type == "all" and question.among else sought(question),)
        return next((reason for kind in kinds if (reason := self._miscounted(question, kind, seen, query))), "")

    def _miscounted(self, question: Question, kind: Phrase, seen: Sightings, query: Query) -> str:
        """Says if grounding all objects finds another number of a kind than grounding the kind alone."""
        phrase, least = replace(kind, plural=True), self._runtime.calibration.threshold
        counted = len(_meant(seen, phrase))
        if phrase.is_anything or not phrase.is_plain or (question.type == "exists" and counted):
            return ""
        everything = [one.box.label for one in self._finder.everything(query).found if one.box.score >= least]
        among_all = len(matching(bare(phrase), everything))
        if counted == among_all:
            return ""
        return f"Grounding {phrase.label!r} finds {counted}, grounding all objects {among_all} of them."

    def _reason(self, asked: str, solution: Solution, query: Query) -> Said:
        """The second reply, drafted with the thought that the boxes give."""
        tokenizer, answers = self._runtime.tokenizer, solution.answers
        indices = list(dict.fromkeys(i for i in solution.roles.indices if i is not None))
        boxes = [solution.scene.boxes[i] for i in indices]
        names = [solution.scene.names[i] for i in indices]
        text = asked + scene_condition(boxes, self._finder.frame.camera, names)
        draft = tokenizer.encode_plain(solution.reply)

        def others() -> list[list[int]]:
            return [tokenizer.encode_plain(reply) for reply in _mistaken_replies(solution, self._style)]

        return self._reply(text, answers, Lookup(draft, self._runtime.words.digits, others), query)

    def _reply(self, text: str, answers: Sequence[str], drafter: Lookup, query: Query) -> Said:
        prompt = self._finder.prefix.prompt(text, self._runtime.least_reply(answers))
        grammar = self._runtime.reply_grammar(answers, prompt.room)
        ids, decode = list[int](), self._runtime.tokenizer.decode
        told, place = "", 0  # the text of the first ids, which ends between two characters
        for token in self._finder.reply(prompt, grammar, drafter, query):
            if token.id not in self._runtime.words.ends:
                ids.append(token.id)
                if query.listener is not None:
                    said = told + decode(ids[place:])
                    query.tell(TextDecoded(said))
                    if len(ids) - place >= _PIECE and not said.endswith("\ufffd"):
                        told, place = said, len(ids)
        reply = decode(ids)
        reasoning, answer = split_reply(reply)
        if reasoning and not answer:
            query.warn("the model's thought was cut before it came to an answer")
        return Said(reply, reasoning, answer)

    def _freely(self, text: str, boxes: Sequence[Box3D], names: Sequence[str], query: Query) -> Said:
        """The model's reply to a question whose possible answers are not known."""
        with query.stage("reason"):
            asked = text + scene_condition(boxes, self._finder.frame.camera, names)
            return self._reply(asked, (), Lookup(), query)

    def _not_seen(self, text: str, error: MissingError, about: Sequence[Box3D] | None, query: Query) -> Answer:
        """Says what is missing, and what is there instead."""
        sentence = error.sentence
        if about is None:
            with query.stage("ground"):
                names = [one.box.label for one in self._finder.everything(query).found]
            if error.phrase.is_plain and not error.phrase.is_anything and matching(bare(error.phrase), names):
                sentence = (
                    f"It is doubtful that {article(error.phrase.label)} is there: only grounding all objects finds it."
                )
                return _unsolved(text, sentence)
            sentence = missing_sentence(error.phrase, names)
        return Answer(text, sentence, "", "", NOT_SEEN, sentence)

    def _not_understood(self, text: str, read: NotUnderstood, about: Sequence[Box3D] | None, query: Query) -> Answer:
        """Says that it cannot tell. A model without a fixed vocabulary may know more; its own answer is passed on."""
        if self._runtime.vocabulary is not None:
            return _unsolved(text, f"I cannot tell. {read.reason}")
        with query.stage("ground"):
            boxes = [one.box for one in self._finder.locate(text, query).found] if about is None else list(about)
        names = condition_names(boxes) if about is None else numbered_names(boxes)
        said = self._freely(text, boxes, names, query)
        said_so = (said.answer, said.answer, said.reasoning)
        return Answer(text, *said_so, UNVERIFIABLE, read.reason, boxes=boxes, text=said.text)


def _as_taken(text: str, plain: str, answer: Answer) -> Answer:
    """The answer to a plain question as that to a text which likely means it: never verified, as this is a guess."""
    reason = f"The wording is not known; it was taken for the question {plain!r}."
    settled = answer.verdict in (VERIFIED, CONTRADICTED)
    return replace(
        answer,
        question=text,
        verdict=UNVERIFIABLE if settled else answer.verdict,
        verdict_reason=reason if settled else answer.verdict_reason,
        value=NOTHING if settled else answer.value,
    )


def _is_about_grounding(question: Question, seen: Sightings) -> bool:
    """Whether grounding alone answers: is there one, of which are there more, or how many when none was found."""
    if question.type == "outnumber":
        return all(phrase.is_plain for phrase in question.objects)
    if question.type not in ("exists", "count") or question.limit is not None:
        return False
    phrase = sought(question)
    return phrase.is_plain and not phrase.is_anything and (question.type == "exists" or not _meant(seen, phrase))


def _asks_for_colors(question: Question) -> bool:
    """Whether the answer is about colors, which only labels hold."""
    colored = any(where.relation == "color" for phrase in question.phrases for where in phrase.where)
    return colored or question.type == "color" or question.predicate in ("color", "other_color", "some_color", "colors")


def _meant(seen: Sightings, phrase: Phrase) -> list[int]:
    """What a phrase found, be it singular or plural."""
    return next((found for said, found in seen.meant.items() if replace(said, plural=True) == phrase), [])


def _scene_of(seen: Sightings) -> Scene:
    return Scene(tuple(seen.boxes), tuple(numbered_names(seen.boxes)), dict(seen.meant))


def _things(question: Question) -> list[Phrase]:
    """The noun phrases of a question, except the camera."""
    return [phrase for phrase in question.phrases if phrase != CAMERA_PHRASE]


def _asked_in(text: str, question: Question, names: Sequence[str]) -> str:
    """The first sentence, as the model was trained on single sentences; the whole text if the question needs it."""
    first = first_sentence(text)
    return first if first == text or read_question(first, names) == question else text


def _mistaken_replies(solution: Solution, style: Style) -> list[str]:
    """Replies to other questions about the same boxes, which a model that misunderstands the question thinks of."""
    scene, replies = Scene(solution.scene.boxes, solution.scene.names), []
    for question in _TAKEN_FOR:
        with suppress(QueryError):  # too many boxes for it, or none
            replies.append(solve_scene(question, scene, style).reply)
    return replies


def _unsolved(text: str, sentence: str) -> Answer:
    return Answer(text, sentence, "", "", UNVERIFIABLE, sentence)


def _audited(text: str, solution: Solution, boxes: list[Box3D], said: Said, answer_from: AnswerFrom) -> Answer:
    finding = audit(solution, said.reasoning, said.answer)
    settled = finding.verdict in (VERIFIED, CONTRADICTED)
    if answer_from == "model":
        answer, acted_on = said.answer, finding.verdict == VERIFIED
    else:
        answer, acted_on = solution.sentence, settled
    return Answer(
        question=text,
        answer=answer,
        said=said.answer,
        reasoning=said.reasoning,
        verdict=finding.verdict,
        verdict_reason=finding.reason,
        value=solution.value if acted_on else NOTHING,
        boxes=boxes,
        text=said.text,
    )
