"""From the tokens of a grounding reply to boxes with score and covariance, against distributions that are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.decoding.box_decoder import BinMoments, BoxDecoder, DecodedBox, center_covariance
from n3d_core.decoding.calibration import CALIBRATION, Calibration
from n3d_core.decoding.loop import Token
from n3d_core.errors import CheckpointError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary, TokenKind
from n3d_core.language.structured import BINS, BoxCode, BoxCodec, serialise
from test.core.vocabularies import joining_tokenizer, whole_number_tokenizer

CODEC = BoxCodec(Normalisation((0.0, 0.0, 0.5), 0.8), Camera.from_fov(70.0, 64, 48))
MUG = BoxCode("mug", 400, 600, 300, 500, 80, 90, 70)
Shares = NDArray[np.float32]


def vocabulary(folder: Path, make: Callable[[Path], object]) -> BoxVocabulary:
    tokenizer = make(folder)
    return BoxVocabulary(tokenizer, tokenizer.size + 7, frozenset({tokenizer.id_of("<|im_end|>")}))  # type: ignore[attr-defined,arg-type]


@pytest.fixture(scope="module", params=[whole_number_tokenizer, joining_tokenizer])
def words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BoxVocabulary:
    return vocabulary(tmp_path_factory.mktemp("vocabulary"), request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> BoxVocabulary:
    return vocabulary(tmp_path_factory.mktemp("whole"), whole_number_tokenizer)


@pytest.fixture(scope="module")
def joining(tmp_path_factory: pytest.TempPathFactory) -> BoxVocabulary:
    return vocabulary(tmp_path_factory.mktemp("joining"), joining_tokenizer)


def tokens_of(
    words: BoxVocabulary, codes: list[BoxCode], unsure: dict[int, tuple[float, Shares | None]] | None = None
) -> list[Token]:
    """A reply whose free tokens are sure, but for those at some places: their probability and their distribution."""
    state, found = BoxGrammar(words), []
    for place, token in enumerate([*words.tokenizer.encode(serialise(codes)), min(words.ends)]):
        if state.forced:
            found.append(Token(token, None))
        else:
            certain = np.zeros(words.size, np.float32)
            certain[token] = 1.0
            probability, shares = (unsure or {}).get(place, (1.0, certain))
            number = state.kind is TokenKind.NUMBER
            found.append(Token(token, state.kind, probability, shares if number else None))
        state = state.advance(token)
    return found


def decode(
    words: BoxVocabulary, tokens: list[Token], calibration: Calibration | None = None
) -> tuple[BoxDecoder, list[DecodedBox]]:
    decoder = BoxDecoder(words, CODEC, calibration or Calibration())
    return decoder, [found for found in map(decoder.add, tokens) if found is not None]


def places_of(words: BoxVocabulary, codes: list[BoxCode], kind: TokenKind) -> list[int]:
    """Of a reply's tokens, those that decide something of a kind."""
    return [i for i, token in enumerate(tokens_of(words, codes)) if token.kind is kind]


def test_each_line_is_a_box_when_it_ends(words: BoxVocabulary) -> None:
    box = replace(MUG, label="red can", u=100)
    tokens = tokens_of(words, [MUG, box])
    decoder, found = decode(words, tokens)
    assert decoder.codes == [MUG, box] == [f.code for f in found]
    assert decoder.found == found
    for decoded, code in zip(found, (MUG, box), strict=True):
        plain = CODEC.decode(code)
        assert (decoded.box.label, decoded.box.center, decoded.box.size) == (plain.label, plain.center, plain.size)
        assert decoded.box.score == 1.0
    done = [bool(decode(words, tokens[:n])[1]) for n in range(len(tokens))]
    assert done.index(True) == len(words.tokenizer.encode(serialise([MUG]) + "\n")) - (0 if words.joined else 1)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_reply_that_is_cut_anywhere_keeps_the_boxes_before_it(words: BoxVocabulary, cut: int) -> None:
    codes = [MUG, replace(MUG, u=100), replace(MUG, u=900)]
    tokens = tokens_of(words, codes)[:-cut]
    text = words.tokenizer.decode([t.id for t in tokens])
    decoder, found = decode(words, tokens)
    assert decoder.codes == codes[: text.count(")")]
    assert len(found) == text.count(")")


def test_an_object_that_is_said_twice_is_one_box(words: BoxVocabulary) -> None:
    again, beside, other = replace(MUG, u=MUG.u + 4), replace(MUG, u=MUG.u + 200), replace(MUG, label="red can")
    decoder, found = decode(words, tokens_of(words, [MUG, again, beside, other]))
    assert decoder.codes == [MUG, again, beside, other]  # the reply is kept as it was written
    assert [f.code for f in found] == [MUG, beside, other]


def test_forty_equal_lines_are_one_box(words: BoxVocabulary) -> None:
    decoder, found = decode(words, tokens_of(words, [MUG] * 40))
    assert len(decoder.codes) == 40
    assert [f.code for f in found] == [MUG]
    assert decoder.repeats == 39


# ---------------------------------------------------------------- evidence


def test_choices_add_up_and_forced_tokens_count_for_nothing(words: BoxVocabulary) -> None:
    decision, label = places_of(words, [MUG], TokenKind.DECISION)[0], places_of(words, [MUG], TokenKind.LABEL)
    unsure = {decision: (0.5, None)} | dict.fromkeys(label, (0.25, None))
    (found,) = decode(words, tokens_of(words, [MUG], unsure))[1]
    np.testing.assert_allclose(found.evidence, [math.log(0.5), len(label) * math.log(0.25), 0.0])
    assert found.box.score == pytest.approx(0.5 * 0.25 ** len(label))


def test_the_choice_of_one_more_line_counts_for_that_line(words: BoxVocabulary) -> None:
    """Also where the bracket and the newline behind it are one token, among tokens that go on with the number."""
    codes = [MUG, replace(MUG, u=100)]
    tokens = tokens_of(words, codes)
    first_line = len(words.tokenizer.encode(serialise(codes[:1]) + "\n"))
    shares = np.zeros(words.size, np.float32)
    end = words.close_newline if words.joined else words.newline
    shares[[end, words.close]] = 0.02, 0.48
    shares[words.digit_ids[0]] = 0.5  # says nothing of another line
    place = first_line - 1
    assert tokens[place].id == end
    unsure: dict[int, tuple[float, Shares | None]] = {place: (0.04 if not words.joined else 0.02, shares)}
    one, other = decode(words, tokens_of(words, codes, unsure))[1]
    assert one.evidence[0] == 0.0
    assert other.evidence[0] == pytest.approx(math.log(0.04))
    assert other.box.score == pytest.approx(0.04)
    if words.joined:  # behind the newline the model could still have ended
        unsure[first_line] = (0.5, None)
        assert decode(words, tokens_of(words, codes, unsure))[1][1].evidence[0] == pytest.approx(math.log(0.02))


def shares_of(words: BoxVocabulary, **of: float) -> Shares:
    """A distribution over the vocabulary: `_7=0.5` gives half of it to the token `7`."""
    distribution = np.zeros(words.size, np.float32)
    for number, share in of.items():
        distribution[words.tokenizer.encode(number.removeprefix("_"))[0]] = share
    return distribution


def test_a_whole_number_has_the_moments_of_its_distribution(whole: BoxVocabulary) -> None:
    code = replace(MUG, u=7)
    place = places_of(whole, [code], TokenKind.NUMBER)[0]
    (found,) = decode(whole, tokens_of(whole, [code], {place: (0.5, shares_of(whole, _7=0.5, _9=0.25, _4=0.25))}))[1]
    expected = center_covariance(CODEC, code, [BinMoments(0.25 * 4 + 0.25 * 9, 1.0), *[BinMoments(0.0, 1.0)] * 2], 1.0)
    assert expected is not None
    np.testing.assert_allclose(np.array(found.box.covariance), np.array(expected), rtol=1e-6)
    assert found.evidence[2] == pytest.approx(0.0, abs=1e-6)  # all within 15 bins


def test_far_bins_are_not_near_and_places_add_up(joining: BoxVocabulary) -> None:
    code = replace(MUG, u=432)
    places = places_of(joining, [code], TokenKind.NUMBER)
    unsure = {
        places[0]: (0.9, shares_of(joining, _4=0.9, _6=0.1)),
        places[1]: (0.5, shares_of(joining, _3=0.5, _2=0.5)),
    }
    (found,) = decode(joining, tokens_of(joining, [code], unsure))[1]
    moments = [BinMoments(0.1 * 200**2 + 0.5 * 10**2, 0.9), *[BinMoments(0.0, 1.0)] * 2]
    np.testing.assert_allclose(
        np.array(found.box.covariance), np.array(center_covariance(CODEC, code, moments, 1.0)), rtol=1e-5
    )
    assert found.evidence[2] == pytest.approx(math.log(0.9) / 6, abs=1e-6)  # a mean over the numbers but the angle


@pytest.mark.parametrize(("place", "expected"), [(3, 0.0), (2, math.log(0.1) / 6)])
def test_the_angle_does_not_count(whole: BoxVocabulary, place: int, expected: float) -> None:
    code = BoxCode("mug", *[555] * 7)
    token = places_of(whole, [code], TokenKind.NUMBER)[place]
    (found,) = decode(whole, tokens_of(whole, [code], {token: (0.1, shares_of(whole, _555=0.1, _999=0.9))}))[1]
    assert found.evidence[2] == pytest.approx(expected, abs=1e-6)


def test_a_calibrated_score_is_the_logistic_of_the_evidence() -> None:
    evidence = np.log(np.array([0.9, 0.5, 0.7]))
    assert Calibration().score(evidence) == pytest.approx(0.9 * 0.5 * 0.7)
    fitted = Calibration((2.0, 1.0, 0.5, 3.0), fitted=True)
    logit = 2.0 + evidence @ [1.0, 0.5, 3.0]
    assert fitted.score(evidence) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert fitted.score(np.full(3, -1e4)) == pytest.approx(0.0, abs=1e-300)
    assert fitted.score(np.full(3, 1e4)) == 1.0


def test_the_covariance_is_that_of_centres_decoded_from_drawn_bins() -> None:
    moments = [BinMoments(9.0, 1.0), BinMoments(4.0, 1.0), BinMoments(16.0, 1.0), *[BinMoments(1e6, 0.0)] * 4]
    covariance = center_covariance(CODEC, MUG, moments, 1.0)
    assert covariance is not None
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((20000, 3)) * np.sqrt(np.array([9.0, 4.0, 16.0]) + 1 / 12)
    jacobian = CODEC.center_jacobian(MUG)
    np.testing.assert_allclose(np.reshape(covariance, (3, 3)), np.cov((spread @ jacobian.T).T), rtol=0.05, atol=1e-7)
    doubled = center_covariance(CODEC, MUG, moments, 2.0)
    np.testing.assert_allclose(doubled, 2 * np.array(covariance))
    assert center_covariance(CODEC, MUG, moments[:2], 1.0) is None
    widest = center_covariance(CODEC, MUG, [BinMoments(1e9, 0.0)] * 3, 1.0)
    flat = center_covariance(CODEC, MUG, [BinMoments(BINS**2 / 12, 0.0)] * 3, 1.0)
    assert widest == flat  # nothing is less certain than every bin alike


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"weights": [1, 2], "covariance_scale": 1}', '{"weights": [1, 2, 3, NaN], "covariance_scale": 1}',
     '{"weights": [1, 2, 3, 4], "covariance_scale": 0}',
     '{"weights": [1, 2, 3, 4], "covariance_scale": 1, "threshold": 1}',
     '{"weights": [1, 2, 3, 4], "covariance_scale": 1, "threshold": NaN}'],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / CALIBRATION).write_text(content)
    with pytest.raises(CheckpointError, match=CALIBRATION):
        Calibration.from_folder(tmp_path)


def test_a_folder_without_calibration_has_the_plain_product(tmp_path: Path) -> None:
    assert Calibration.from_folder(tmp_path) == Calibration()
    (tmp_path / CALIBRATION).write_text(json.dumps({"weights": [1, 2, 3, 4], "covariance_scale": 1.5}))
    assert Calibration.from_folder(tmp_path) == Calibration((1.0, 2.0, 3.0, 4.0), 1.5, True, 0.0)
    about = {"weights": [1, 2, 3, 4], "covariance_scale": 1.5, "threshold": 0.35}
    (tmp_path / CALIBRATION).write_text(json.dumps(about))
    assert Calibration.from_folder(tmp_path).threshold == 0.35
