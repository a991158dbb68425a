"""From the tokens of a grounding reply to boxes, as they come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.decoding.box_decoder import BoxReader
from n3d_core.decoding.loop import Token
from n3d_core.decoding.scores import Calibration
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language.box_grammar import BoxVocabulary, Kind
from n3d_core.language.codec import BoxCodec
from n3d_core.language.structured import BoxCode, serialise
from n3d_core.results import BoxDecoded, Event
from test.core.vocabularies import whole_number_tokenizer

CODEC = BoxCodec(Normalisation((0.0, 0.0, 0.5), 0.8), Camera.from_fov(70.0, 64, 48))
MUG = BoxCode("mug", 400, 600, 300, 500, 80, 90, 70)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> BoxVocabulary:
    tokenizer = whole_number_tokenizer(tmp_path_factory.mktemp("vocabulary"))
    return BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")}))


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_line_that_is_cut_short_anywhere_leaves_the_boxes_before_it(words: BoxVocabulary, cut: int) -> None:
    first, second = (words.tokenizer.encode(line) for line in serialise([MUG, replace(MUG, u=100)]).splitlines())
    reader = BoxReader(words, CODEC, Calibration(), 0.0, None)
    for token in [*first, words.newline, *second[:-cut]]:
        reader.add(Token(token, None))
    reader.finish()
    assert reader.codes == [MUG]


@dataclass(frozen=True)
class Counting(Calibration):
    """Notes each score that it is asked for."""

    given: list[float] = field(default_factory=list)

    def score(self, evidence: NDArray[np.float64]) -> float:
        self.given.append(super().score(evidence))
        return self.given[-1]


def read(
    words: BoxVocabulary, codes: list[BoxCode], calibration: Calibration | None = None, min_score: float = 0.0
) -> tuple[BoxReader, list[Event]]:
    """A reader that was given a whole reply, sure of each of its numbers, and what it told."""
    told: list[Event] = []
    reader = BoxReader(words, CODEC, calibration or Calibration(), min_score, told.append)
    for token in words.tokenizer.encode(serialise(codes)):
        certain = np.zeros(words.size, np.float32)
        certain[token] = 1.0
        number = token in words.digits
        reader.add(Token(token, Kind.NUMBER if number else None, 1.0, certain if number else None))
    reader.finish()
    return reader, told


def test_each_line_is_told_as_a_box_when_it_ends(words: BoxVocabulary) -> None:
    box = replace(MUG, label="box", u=100)
    reader, told = read(words, [MUG, box])
    assert reader.codes == [MUG, box]
    assert [b.label for b in reader.boxes] == ["mug", "box"]
    np.testing.assert_allclose(reader.boxes[0].center, CODEC.decode(MUG).center)
    assert told == [BoxDecoded(b) for b in reader.boxes]


def test_an_object_that_is_said_twice_is_one_box(words: BoxVocabulary) -> None:
    again, beside, other = replace(MUG, u=MUG.u + 4), replace(MUG, u=MUG.u + 200), replace(MUG, label="bowl")
    calibration = Counting()
    reader, told = read(words, [MUG, again, beside, other], calibration)
    assert reader.codes == [MUG, again, beside, other]  # the reply is kept as it was written
    assert [b.label for b in reader.boxes] == ["mug", "mug", "bowl"]
    assert reader.boxes[0].center == CODEC.decode(MUG).center
    assert reader.boxes[1].center == CODEC.decode(beside).center
    assert told == [BoxDecoded(b) for b in reader.boxes]
    assert calibration.given == [b.score for b in reader.boxes]  # one for each, so that a log of them fits the boxes


def test_a_box_of_too_low_a_score_is_left_out_and_nobody_is_told(words: BoxVocabulary) -> None:
    beside = replace(MUG, u=MUG.u + 200)
    reader, told = read(words, [MUG, beside], Calibration((1.0, 0.0, 0.0, 0.0), fitted=True), min_score=0.74)
    assert (reader.codes, reader.boxes, told) == ([MUG, beside], [], [])  # both score 1 / (1 + exp(-1)) = 0.731
    reader, told = read(words, [MUG, beside], Calibration((1.0, 0.0, 0.0, 0.0), fitted=True), min_score=0.73)
    assert [b.score for b in reader.boxes] == pytest.approx([0.7310586] * 2)
    assert told == [BoxDecoded(b) for b in reader.boxes]


def test_a_line_cut_short_is_no_box(words: BoxVocabulary) -> None:
    reader, told = read(words, [MUG])
    for token in words.tokenizer.encode("\nbbox_1=Bbox(mug,400,600"):
        reader.add(Token(token, None))
    reader.finish()
    assert len(reader.boxes) == len(told) == 1
