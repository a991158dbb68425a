"""What a loaded model consists of, frozen: `N3D` builds it once, and every `View` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from n3d_core.backends.base import Backend
from n3d_core.decoding.calibration import Calibration
from n3d_core.decoding.sampling import Sampling
from n3d_core.language.answer_grammar import MAX_THOUGHT, FreeReply, Spelling, ThoughtThenAnswer, answer_room
from n3d_core.language.box_grammar import BoxVocabulary, Grammar
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.preparation import ImageSize

LEAST_THOUGHT = 16  # tokens


@dataclass(frozen=True)
class Runtime:
    """A backend, and how it is spoken to.

    Attributes:
        name: of the model.
        words: what the grammars know of the tokenizer.
        sampling: how replies are decoded.
        image_size: that the backend is compiled for; None compiles for each image size that comes.
    """

    name: str
    backend: Backend
    tokenizer: Tokenizer
    words: BoxVocabulary
    calibration: Calibration
    sampling: Sampling
    image_size: ImageSize | None = None

    @property
    def config(self) -> N3DConfig:
        """Of the network."""
        return self.backend.config

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.words)

    def can_spell(self, answers: Sequence[str]) -> bool:
        """Whether answers are known, and can be spelled in whatever way the model likes."""
        return bool(answers) and self._spelling.spells(answers)

    def reply_grammar(self, answers: Sequence[str], room: int) -> Grammar:
        """What a second reply may say: a thought and one of some answers, or any text where none are known.

        Args:
            room: tokens that the reply can have; the thought leaves enough of them for the answer.
        """
        known = answers if self.can_spell(answers) else ()
        budget = max(1, min(MAX_THOUGHT, room - answer_room(known)))
        if not known:
            return FreeReply(self.words, budget)
        return ThoughtThenAnswer.answering(self._spelling, known, budget)

    def least_reply(self, answers: Sequence[str]) -> int:
        """Tokens that a second reply needs: the longest answer, and a short thought."""
        return answer_room(answers if self.can_spell(answers) else ()) + LEAST_THOUGHT
