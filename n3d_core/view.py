"""An encoded frame, and the queries on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

from n3d_core.answering import Asker
from n3d_core.decoding.kept_prefix import KeptPrefix
from n3d_core.decoding.loop import Limits
from n3d_core.depth import DepthLimits
from n3d_core.errors import ConfigError, QueryError
from n3d_core.evidence import box_warnings
from n3d_core.finding import Finder, Reply, Sightings, bare, means_several
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.structured import serialise
from n3d_core.memory.recollection import in_the_present
from n3d_core.preparation import prepare
from n3d_core.reasoning.audit import NOT_SEEN
from n3d_core.reasoning.parse import read_phrases, read_question
from n3d_core.reasoning.question import CAMERA_PHRASE, NotUnderstood, Phrase
from n3d_core.reasoning.resolve import Scene
from n3d_core.results import Answer, AnswerFrom, BoxDecoded, Grounding, Listener
from n3d_core.runtime import Query, Runtime

Cancel = Callable[[], bool]
Recall = Callable[[str, Sequence[Box3D]], Answer]
"""Answers a question from memory, given what was found in view (optical frame)."""


class View:
    """An encoded frame with the KV cache of its prefix, which all queries share. Queries run one at a time.

    Attributes:
        codec: converts between bins and metres in this view.
        depth_report: quality of the frame's depth.
        times: milliseconds spent on encoding, by stage.
    """

    def __init__(self, runtime: Runtime, frame: Frame, limits: DepthLimits, on_event: Listener | None = None) -> None:
        self.runtime, self.frame = runtime, frame
        self._lock = threading.Lock()
        looking = Query(Limits(), on_event)
        with looking.stage("prepare"):
            prepared = prepare(frame, limits, runtime.config, runtime.image_size)
        self.codec, self.depth_report = prepared.codec, prepared.depth
        with looking.stage("vision"):
            encoded = runtime.backend.encode(prepared.image)
        with looking.stage("prefill"):
            self._prefix = KeptPrefix(runtime.backend, runtime.tokenizer, prepared.image.plan, encoded)
        self._finder = Finder(runtime, frame, self.codec, self._prefix)
        self.times = looking.times

    def ground(
        self,
        text: str,
        *,
        min_score: float | None = None,
        on_event: Listener | None = None,
        cancel: Cancel | None = None,
        deadline: float | None = None,
    ) -> Grounding:
        """Finds what a text names.

        Args:
            text: noun phrases: "red mug", "all mugs and the box on the left", "anything yellow; lamp", "all objects".
            min_score: drop boxes that score lower (0..1); None uses the calibrated threshold (0 without a calibration).
                Boxes without evidence are always dropped.
            on_event: called on this thread with stages, boxes and text as they come.
            cancel: polled between steps; if it returns True, the query ends with `QueryCancelledError`.
            deadline: in `time.monotonic()` seconds; the query then ends with `QueryTimeoutError`.

        Raises:
            ConfigError: for a `min_score` out of range.
            EmptyTextError, TextTooLongError, QueryCancelledError, QueryTimeoutError, BackendError.
        """
        if min_score is not None and not 0 <= min_score <= 1:
            raise ConfigError(f"the minimum score must be from 0 to 1; got {min_score}")
        parts = prompts.phrases(text)
        least = self.runtime.calibration.threshold if min_score is None else min_score
        query = Query(Limits(cancel=cancel, deadline=deadline), on_event, least)
        seen, replies = Sightings(), dict[str, Reply]()
        with self._lock, query.stage("ground"):
            wanted = [phrase for part in parts for phrase in self._phrases(part, query)]
            self._prepare(wanted, query)
            chosen = [i for phrase in wanted for i in self._meant(phrase, least, seen, replies, query)]
            seen.name_apart(self._finder.known_everything)
        found = [seen.found[i] for i in dict.fromkeys(chosen)]
        boxes = [one.box for one in found]
        work = query.work
        return Grounding(
            text=serialise([code for reply in replies.values() for code in reply.codes]),
            boxes=boxes,
            times=self.times | query.times,
            depth_valid=self.depth_report.valid,
            warnings=self._warnings(boxes, query),
            evidence=[one.evidence for one in found],
            steps=work.steps,
            tokens=work.tokens,
            forced=work.forced,
            drafted=work.drafted,
        )

    def ask(
        self,
        question: str,
        *,
        about: Sequence[Box3D] | None = None,
        answer_from: AnswerFrom = "audited",
        recall: Recall | None = None,
        on_event: Listener | None = None,
        cancel: Cancel | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Answers a spatial question: grounds what it names, then reasons over the boxes.

        Args:
            about: boxes found earlier, which the question may call `{index}_{label}` or just by label; None grounds the
                objects in the question first.
            answer_from: `model` for the model's own answer, `geometry` for the one computed from the boxes, `audited`
                for the one to act on: the computed one wherever the boxes can tell.
            recall: answers from memory if something in the question is not in view; see
                `memory.recollection.answer_from_memory`. Its answer is used if it rests on a remembered object.
            on_event, cancel, deadline: as in `ground`.

        Raises:
            As `ground`; ConfigError for an unknown `answer_from`.
        """
        if answer_from not in get_args(AnswerFrom):
            raise ConfigError(f"answer_from must be one of {', '.join(get_args(AnswerFrom))}; got {answer_from!r}")
        asked = prompts.checked_text(question, "ask a question, for example 'How far is the mug from the box?'")
        text = asked if recall is None else in_the_present(asked)
        query = Query(Limits(cancel=cancel, deadline=deadline), on_event)
        with self._lock:
            answer = Asker(self._finder).ask(text, about, answer_from, query)
            if recall is not None and about is None and _is_out_of_view(answer):
                remembered = recall(text, self._finder.known_boxes)
                answer = remembered if remembered.remembered else answer
        return replace(
            answer,
            question=asked,
            times=self.times | query.times,
            depth_valid=self.depth_report.valid,
            warnings=self._warnings([] if answer.remembered else answer.boxes, query),
            steps=query.work.steps,
            tokens=query.work.tokens,
            forced=query.work.forced,
            drafted=query.work.drafted,
            replies=query.work.replies,
        )

    def _phrases(self, text: str, query: Query) -> tuple[Phrase, ...]:
        """The noun phrases of a text. If it is not understood, a model without a fixed vocabulary gets all of it."""
        read = read_phrases(text)
        if not isinstance(read, NotUnderstood):
            return read
        if self.runtime.vocabulary is None:
            return (Phrase(text, text.lower()),)
        likely = self.runtime.likely_question(text, read)
        guessed = read_phrases(likely) if likely else read
        if isinstance(guessed, NotUnderstood):
            query.warn(read.reason)
            return ()
        query.warn(f"{text!r} is worded in a way that is not known; it was taken for {likely!r}")
        return guessed

    def _prepare(self, phrases: Sequence[Phrase], query: Query) -> None:
        """Decodes together what the phrases need, but for those that the model does not know."""
        vocabulary = self.runtime.vocabulary
        known = [phrase for phrase in phrases if vocabulary is None or not vocabulary.unknown(phrase)]
        with query.quiet(not all(phrase.is_plain for phrase in known)):
            parts = [part for phrase in known for part in phrase.parts if part != CAMERA_PHRASE]
            self._finder.prepare(parts, query, everywhere=True)

    def _meant(
        self, phrase: Phrase, least: float, seen: Sightings, replies: dict[str, Reply], query: Query
    ) -> list[int]:
        """Indices into `seen` of the objects that a phrase means; objects not seen before are added."""
        unknown = self.runtime.vocabulary.unknown(phrase) if self.runtime.vocabulary is not None else ""
        if unknown:
            query.warn(f"{self.runtime.name} does not know {unknown!r}")
            return []
        plain = phrase.is_plain
        for part in (p for p in phrase.parts if p != CAMERA_PHRASE):
            with query.quiet(not plain):
                find = self._finder.find_all if means_several(part) else self._finder.find
                reply = find(part, query)
            replies[bare(part).label] = reply
            seen.add(part, [one for one in reply.found if one.box.score >= least])
        try:
            scene = Scene(tuple(seen.boxes), tuple(box.label for box in seen.boxes), dict(seen.meant))
            meant = scene.means(phrase)
        except QueryError as error:
            query.warn(str(error))
            return []
        if not plain:
            for index in meant:
                query.tell(BoxDecoded(seen.found[index].box))
        return meant

    def _warnings(self, boxes: Sequence[Box3D], query: Query) -> list[str]:
        return [*self.depth_report.warnings, *box_warnings(self.frame, boxes), *query.warnings]


def _is_out_of_view(answer: Answer) -> bool:
    """Whether something that a question names was not found in view."""
    if answer.verdict == NOT_SEEN:
        return True
    question = read_question(answer.question)
    return not isinstance(question, NotUnderstood) and question.type == "exists" and not answer.boxes
