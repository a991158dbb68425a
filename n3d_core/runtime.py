"""`Runtime`: the parts of a loaded model, which all its views share; and `Query`: the state of one running query."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from n3d_core.backends.base import Backend
from n3d_core.decoding.calibration import Calibration
from n3d_core.decoding.loop import Limits, Work
from n3d_core.decoding.sampling import Sampling
from n3d_core.errors import CheckpointError, reading
from n3d_core.geometry.boxes import Box3D
from n3d_core.language.answer_grammar import MAX_THOUGHT, FreeReply, Spelling, ThoughtThenAnswer, answer_room
from n3d_core.language.box_grammar import BoxVocabulary, ReplyGrammar
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.preparation import ImageSize
from n3d_core.reasoning.likeness import likely_question
from n3d_core.reasoning.question import TYPES, NotUnderstood, Phrase, Question
from n3d_core.reasoning.resolve import SIZE_ADJECTIVES
from n3d_core.results import BoxDecoded, Event, Listener, StageStarted

LEAST_THOUGHT = 16  # tokens
VOCABULARY = "vocabulary.json"
UNTAUGHT = ("angle", "color", "direction.yes_no", "outnumber", "proportion", "same.side", "same.other_side")
"""What a vocabulary that does not list it leaves out: question types, or one form or predicate of a type."""


@dataclass(frozen=True)
class Vocabulary:
    """The words and questions that a small model was trained on. A large one has no such list.

    Attributes:
        classes, colors: nouns and colour words, singular and lower case.
        untaught: questions that it was not trained to answer, as in `UNTAUGHT`.
    """

    classes: frozenset[str]
    colors: frozenset[str]
    untaught: frozenset[str] = frozenset(UNTAUGHT)

    @classmethod
    def from_folder(cls, folder: Path) -> Vocabulary | None:
        """Reads `vocabulary.json` of a checkpoint folder; None if it has none.

        Raises:
            CheckpointError: if the file is damaged.
        """
        path = folder / VOCABULARY
        if not path.exists():
            return None
        with reading(path, "lists of classes, colors and (optional) untaught questions", CheckpointError):
            data = json.loads(path.read_text(encoding="utf-8"))
            lists = data["classes"], data["colors"], data.get("untaught", list(UNTAUGHT))
            if not all(isinstance(names, list) for names in lists):
                raise TypeError(f"got {', '.join(type(names).__name__ for names in lists)}")
            unknown = [name for name in lists[2] if str(name).split(".")[0] not in TYPES]
            if unknown:
                raise ValueError(f"{unknown[0]!r} in untaught is not a question type")
            return cls(*(frozenset(map(str, names)) for names in lists))

    def teaches(self, question: Question) -> bool:
        """Whether the model was trained to answer such questions."""
        kinds = {question.type, f"{question.type}.{question.form}", f"{question.type}.{question.predicate}"}
        return not kinds & self.untaught

    def unknown(self, phrase: Phrase) -> str:
        """The first word of a phrase, its clauses or exceptions that the model was not trained on; empty if none."""
        own = [
            *(a for a in phrase.attributes if a not in SIZE_ADJECTIVES),
            *(c for c in phrase.colors if c not in self.colors),
            *([] if phrase.noun in self.classes | {"object", "camera"} else [phrase.noun]),
        ]
        referred = (self.unknown(part) for part in phrase.parts[1:])
        return next((word for word in (*own, *referred) if word), "")


@dataclass(frozen=True)
class Runtime:
    """A backend, with the tokenizer, grammars and settings that all views of a model share.

    Attributes:
        name: the model's name.
        words: what the grammars need to know about the tokenizer.
        sampling: how replies are decoded.
        image_size: the size the backend is compiled for; if None, it is compiled for every size that arrives.
        vocabulary: the words the model was trained on; None if it can be asked for anything.
    """

    name: str
    backend: Backend
    tokenizer: Tokenizer
    words: BoxVocabulary
    calibration: Calibration
    sampling: Sampling
    image_size: ImageSize | None = None
    vocabulary: Vocabulary | None = None

    @property
    def config(self) -> N3DConfig:
        """The network's configuration."""
        return self.backend.config

    def likely_question(self, text: str, read: NotUnderstood, names: Sequence[str] = ()) -> str | None:
        """The plain question that a text which is not understood likely means; None if there is no likely one.

        A model without a fixed vocabulary reads the text itself.
        """
        if self.vocabulary is None or read.why not in ("wording", "not_geometry"):
            return None
        return likely_question(text, self.vocabulary.classes, names)

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.words)

    def can_spell(self, answers: Sequence[str]) -> bool:
        """Whether there are known answers, all of which can be spelled with the model's tokens."""
        return bool(answers) and self._spelling.spells(answers)

    def reply_grammar(self, answers: Sequence[str], room: int) -> ReplyGrammar:
        """The grammar of a second reply: a thought and then one of the answers, or any text if none are known.

        Args:
            room: maximum tokens of the reply; the thought leaves enough of them for the answer.
        """
        known = answers if self.can_spell(answers) else ()
        budget = max(1, min(MAX_THOUGHT, room - answer_room(known)))
        if not known:
            return FreeReply(self.words, budget)
        return ThoughtThenAnswer.answering(self._spelling, known, budget)

    def least_reply(self, answers: Sequence[str]) -> int:
        """Minimum tokens of a second reply: the longest answer, and a short thought."""
        return answer_room(answers if self.can_spell(answers) else ()) + LEAST_THOUGHT


@dataclass
class Query:
    """State of one query.

    Attributes:
        least: minimum score of the boxes that the listener is told about.
        times: milliseconds per stage.
        warnings: sentences for the user, in order.
    """

    limits: Limits
    listener: Listener | None = None
    least: float = 0.0
    work: Work = field(default_factory=Work)
    times: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _told: list[Box3D] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """Passes an event to the listener, if there is one; each box only once."""
        if self.listener is None:
            return
        if isinstance(event, BoxDecoded):
            if event.box in self._told or event.box.score < self.least:
                return
            self._told.append(event.box)
        self.listener(event)

    def warn(self, sentence: str) -> None:
        """Adds a warning, unless it is already there."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage and adds up its milliseconds, even if it raises."""
        self.tell(StageStarted(name))
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + (time.perf_counter() - start) * 1000

    @contextmanager
    def quiet(self, really: bool = True) -> Iterator[None]:
        """Hides events from the listener."""
        listener = self.listener
        if really:
            self.listener = None
        try:
            yield
        finally:
            self.listener = listener
