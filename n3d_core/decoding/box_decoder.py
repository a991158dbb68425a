"""Turns the tokens of a grounding reply into boxes as they come."""

from __future__ import annotations

from dataclasses import replace

from n3d_core.decoding.loop import Token
from n3d_core.decoding.scores import BoxEvidence, Calibration, center_covariance
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.language.box_grammar import BoxVocabulary
from n3d_core.language.codec import BoxCodec
from n3d_core.language.structured import FIELDS, BoxCode, parse_line
from n3d_core.results import BoxDecoded, Listener

SAME_OBJECT = 0.5
"""3D IoU above which two boxes of one label are one object: solid things do not share half of their volume."""


class BoxReader:
    """Collects a reply; each finished line becomes a box with its score and covariance.

    A model may say an object twice, a few bins apart. The reply keeps both lines, the boxes the first of them.

    Args:
        min_score: boxes with a score below it are left out of `boxes`, and nobody is told of them.

    Attributes:
        codes: every line of the reply.
        boxes: the objects, in the reply's order.
    """

    def __init__(
        self,
        words: BoxVocabulary,
        codec: BoxCodec,
        calibration: Calibration,
        min_score: float,
        on_event: Listener | None,
    ) -> None:
        self._words, self._codec, self._calibration, self._on_event = words, codec, calibration, on_event
        self._min_score = min_score
        self._said: list[Box3D] = []
        self._line: list[int] = []
        self._evidence = BoxEvidence(words)
        self.codes: list[BoxCode] = []
        self.boxes: list[Box3D] = []

    def add(self, token: Token) -> None:
        """Takes the next token; the choice to write another line counts for that line."""
        w = self._words
        if token.id in w.ends:
            self.finish()
        elif token.id == w.newline or (w.joined and token.id == w.close_newline):
            self.finish(extra=[w.close] if token.id == w.close_newline and w.joined else [])
            self._evidence.add(token)
        else:
            self._line.append(token.id)
            self._evidence.add(token)

    def finish(self, extra: list[int] | None = None) -> None:
        """Closes the line that is being written; a line cut short by the token limit is dropped."""
        ids, self._line = self._line + (extra or []), []
        evidence, self._evidence = self._evidence, BoxEvidence(self._words)
        if ids.count(self._words.comma) < len(FIELDS) or ids[-1] != self._words.close:
            return
        text = self._words.tokenizer.decode(ids)
        code = parse_line(text, len(self.codes))
        self.codes.append(code)
        plain = self._codec.decode(code)
        if any(other.label == plain.label and iou_3d(other, plain) >= SAME_OBJECT for other in self._said):
            return
        self._said.append(plain)
        values, moments = evidence.finish()
        covariance = center_covariance(self._codec, code, moments, self._calibration.covariance_scale)
        box = replace(plain, score=self._calibration.score(values), covariance=covariance)
        if box.score < self._min_score:
            return
        self.boxes.append(box)
        if self._on_event is not None:
            self._on_event(BoxDecoded(box))
