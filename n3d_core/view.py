"""An encoded frame, and the queries on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from n3d_core.decoding.box_decoder import BoxDecoder, DecodedBox, same_object
from n3d_core.decoding.drafts import BoxLines, Drafter, Lookup
from n3d_core.decoding.kept_prefix import KeptPrefix, Prompt
from n3d_core.decoding.loop import Decoder, Limits, Token, Work
from n3d_core.depth import DepthLimits
from n3d_core.errors import ConfigError, QueryError
from n3d_core.evidence import box_warnings
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.answer_grammar import split_reply
from n3d_core.language.box_grammar import BoxGrammar, Grammar
from n3d_core.language.conditions import condition_names, first_sentence, mentioned, numbered_names, scene_condition
from n3d_core.language.structured import BoxCode, serialise
from n3d_core.preparation import prepare
from n3d_core.reasoning.old.audit import audit
from n3d_core.reasoning.old.solving import answer_by_geometry, answers_to
from n3d_core.results import Answer, AnswerFrom, BoxDecoded, Event, Grounding, Listener, StageStarted, TextDecoded
from n3d_core.runtime import Runtime

_MOST_REPEATS = 12  # lines in a row that say nothing new; a model that goes on like that does not stop by itself

Cancel = Callable[[], bool]


@dataclass
class _Query:
    """One query while it runs: when it must end, who listens, and what it has cost (milliseconds of each stage)."""

    limits: Limits
    listener: Listener | None
    work: Work = field(default_factory=Work)
    times: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        if self.listener is not None:
            self.listener(event)


class View:
    """An encoded frame, and the kept prefix of every question about it. One query runs at a time; others wait.

    Attributes:
        codec: between bins and metres in this view.
        depth_report: what was found in the frame's depth.
        times: milliseconds of the stages of looking.
    """

    def __init__(self, runtime: Runtime, frame: Frame, limits: DepthLimits) -> None:
        self.runtime, self.frame = runtime, frame
        self.times: dict[str, float] = {}
        self._lock = threading.Lock()
        with _timed(self.times, "prepare"):
            prepared = prepare(frame, limits, runtime.config, runtime.image_size)
        self.codec, self.depth_report = prepared.codec, prepared.depth
        with _timed(self.times, "vision"):
            encoded = runtime.backend.encode(prepared.image)
        with _timed(self.times, "prefill"):
            self._prefix = KeptPrefix(runtime.backend, runtime.tokenizer, prepared.image.plan, encoded)

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
            text: a noun phrase, several separated by `;`, or `all objects`.
            min_score: boxes with a score below it, 0..1, are left out; None takes the threshold that the model was
                calibrated to (0 where it was not).
            on_event: called with stages, boxes and text as they come, on this thread.
            cancel: asked between steps; True ends the query with `QueryCancelledError`.
            deadline: `time.monotonic()` seconds, after which the query ends with `QueryTimeoutError`.

        Raises:
            EmptyTextError, TextTooLongError, QueryCancelledError, QueryTimeoutError, BackendError.
        """
        phrases = prompts.phrases(text)
        least = self.runtime.calibration.threshold if min_score is None else min_score
        query = _Query(Limits(cancel=cancel, deadline=deadline), on_event)
        found: list[DecodedBox] = []
        codes: list[BoxCode] = []
        with self._lock, _timed(query.times, "decode"):
            query.tell(StageStarted("ground"))
            for phrase in phrases:
                label = "" if phrase.lower() == prompts.ALL_OBJECTS else phrase
                codes += self._read_boxes(prompts.grounding_prompt(phrase), label, query, least, found)
        boxes = [decoded.box for decoded in found]
        return Grounding(
            text=serialise(codes),
            boxes=boxes,
            times=self.times | query.times,
            depth_valid=self.depth_report.valid,
            warnings=[*self._warnings(boxes), *query.warnings],
            evidence=[decoded.evidence for decoded in found],
            steps=query.work.steps,
            tokens=query.work.tokens,
            forced=query.work.forced,
            drafted=query.work.drafted,
        )

    def ask(
        self,
        question: str,
        *,
        about: list[Box3D] | None = None,
        answer_from: AnswerFrom = "audited",
        on_event: Listener | None = None,
        cancel: Cancel | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Answers a spatial question: grounds what it speaks of, then reasons over the boxes.

        Args:
            about: boxes found before, which the question names as `{index}_{label}` or by label; None grounds first.
            answer_from: `model` says what the model says, `geometry` what the boxes give, `audited` the model's answer
                with the value of the boxes beside it where they contradict it.
            on_event, cancel, deadline: as in `ground`.

        Raises:
            As `ground`; ConfigError for an unknown `answer_from`.
        """
        if answer_from not in ("model", "geometry", "audited"):
            raise ConfigError(f"answer_from must be 'model', 'geometry' or 'audited'; got {answer_from!r}")
        question = prompts.checked_text(question)
        query = _Query(Limits(cancel=cancel, deadline=deadline), on_event)
        with self._lock:
            with _timed(query.times, "ground"):
                boxes, names = self._spoken_of(question, about, query)
            with _timed(query.times, "reason"):
                reply = self._reason(question, boxes, names, query)
        return self._audited(question, boxes, names, reply, answer_from, query)

    def _spoken_of(self, question: str, about: list[Box3D] | None, query: _Query) -> tuple[list[Box3D], list[str]]:
        """The boxes that a question is about, and what its second pass calls them. What is asked about is taken to be
        there: a doubtful box is better than none.

        Of boxes that were found before, those whose number stands in the question; all where none does.
        """
        if about is not None:
            names = numbered_names(about)
            chosen = mentioned(question, names) or range(len(about))
            return [about[i] for i in chosen], [names[i] for i in chosen]
        query.tell(StageStarted("ground"))
        found: list[DecodedBox] = []
        self._read_boxes(prompts.locate_prompt(question), "", query, 0.0, found)
        boxes = [decoded.box for decoded in found]
        return boxes, condition_names(boxes)

    def _reason(self, question: str, boxes: list[Box3D], names: list[str], query: _Query) -> str:
        """The whole second reply: a chain of thought and an answer."""
        query.tell(StageStarted("reason"))
        answers = answers_to(question, boxes, names)
        text = first_sentence(question) + scene_condition(boxes, self.frame.camera, names)
        prompt = self._prefix.prompt(text, self.runtime.least_reply(answers))
        grammar = self.runtime.reply_grammar(answers, prompt.room)
        ids: list[int] = []
        for token in self._reply(prompt, grammar, Lookup(), query):
            if token.id not in self.runtime.words.ends:
                ids.append(token.id)
                if query.listener is not None:
                    query.tell(TextDecoded(self.runtime.tokenizer.decode(ids)))
        return self.runtime.tokenizer.decode(ids)

    def _audited(
        self,
        question: str,
        boxes: list[Box3D],
        names: list[str],
        reply: str,
        answer_from: AnswerFrom,
        query: _Query,
    ) -> Answer:
        """A second reply with the audit's finding."""
        reasoning, said = split_reply(reply)
        with _timed(query.times, "audit"):
            finding = audit(question, boxes, reasoning, said, names)
        if not said and reasoning:
            query.warnings.append("the model's thought was cut before it came to an answer")
        return Answer(
            question=question,
            answer=_geometric_answer(question, boxes, names) if answer_from == "geometry" else said,
            reasoning=reasoning,
            verdict=finding.verdict,
            corrected=finding.corrected if answer_from == "audited" else "",
            verdict_reason=finding.reason,
            boxes=boxes,
            times=self.times | query.times,
            depth_valid=self.depth_report.valid,
            warnings=[*self._warnings(boxes), *query.warnings],
            text=reply,
            steps=query.work.steps,
            tokens=query.work.tokens,
            forced=query.work.forced,
            drafted=query.work.drafted,
        )

    def _read_boxes(self, text: str, label: str, query: _Query, least: float, found: list[DecodedBox]) -> list[BoxCode]:
        """Adds the boxes of a reply that are new and score at least `least` to those found; returns all its lines."""
        decoder = BoxDecoder(self.runtime.words, self.codec, self.runtime.calibration)
        drafter = BoxLines(self.runtime.words, label)
        for token in self._reply(self._prefix.prompt(text), BoxGrammar(self.runtime.words), drafter, query):
            decoded = decoder.add(token)
            if decoded is None or decoded.box.score < least:
                if decoder.repeats >= _MOST_REPEATS:
                    query.warnings.append("the model repeats itself: its reply was stopped")
                    break
                continue
            if any(same_object(other.box, decoded.box) for other in found):
                continue
            found.append(decoded)
            query.tell(BoxDecoded(decoded.box))
        return decoder.codes

    def _reply(self, prompt: Prompt, grammar: Grammar, drafter: Drafter, query: _Query) -> Iterator[Token]:
        cut = query.work.cut
        decoder = Decoder(self.runtime.sampling, drafter=drafter)
        yield from self._prefix.reply(prompt, grammar, decoder, query.limits, query.work)
        if query.work.cut > cut:
            most = min(query.limits.tokens, prompt.room)
            query.warnings.append(f"the reply was cut after {most} tokens: what came later is missing")

    def _warnings(self, boxes: list[Box3D]) -> list[str]:
        return [*self.depth_report.warnings, *box_warnings(self.frame, boxes)]


def _geometric_answer(question: str, boxes: list[Box3D], names: list[str]) -> str:
    """What the boxes alone say; empty where geometry cannot read the question (the audit says why)."""
    try:
        return answer_by_geometry(question, boxes, names).text
    except QueryError:
        return ""


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the milliseconds of a block to a stage, also where it raises."""
    start = time.perf_counter()
    try:
        yield
    finally:
        times[stage] = times.get(stage, 0.0) + (time.perf_counter() - start) * 1000
