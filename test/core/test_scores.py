"""Evidence, score and covariance of a box, against distributions whose moments are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.decoding.loop import Token
from n3d_core.decoding.scores import CALIBRATION, BinMoments, BoxEvidence, Calibration, center_covariance
from n3d_core.errors import CheckpointError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language.box_grammar import BoxVocabulary, Kind
from n3d_core.language.codec import BoxCodec
from n3d_core.language.structured import BINS, BoxCode
from test.core.vocabularies import joining_tokenizer, whole_number_tokenizer

CODEC = BoxCodec(Normalisation((0.0, 0.0, 0.5), 0.8), Camera.from_fov(70.0, 64, 48))
CODE = BoxCode("mug", 400, 600, 300, 500, 50, 60, 70)


@pytest.fixture(scope="module", params=[whole_number_tokenizer, joining_tokenizer])
def words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BoxVocabulary:
    tokenizer = request.param(tmp_path_factory.mktemp("vocabulary"))
    return BoxVocabulary(tokenizer, tokenizer.size + 7, frozenset({tokenizer.id_of("<|im_end|>")}))


def shares(words: BoxVocabulary, **of: float) -> NDArray[np.float32]:
    """A distribution over the vocabulary: `_7=0.5` gives half of it to the token `7`."""
    distribution = np.zeros(words.size, np.float32)
    for number, share in of.items():
        distribution[words.tokenizer.encode(number.removeprefix("_"))[0]] = share
    return distribution


def number(words: BoxVocabulary, text: str, *distributions: NDArray[np.float32]) -> list[Token]:
    ids = words.tokenizer.encode(text)
    chosen = [Token(i, Kind.NUMBER, float(d[i]), d) for i, d in zip(ids, distributions, strict=True)]
    return [*chosen, Token(words.comma, None)]


def test_choices_add_up_and_forced_tokens_count_for_nothing(words: BoxVocabulary) -> None:
    evidence = BoxEvidence(words)
    for token in (
        Token(words.opening(0)[0], Kind.DECISION, 0.5),
        Token(words.close, None, 0.001),
        Token(words.tokenizer.encode("red")[0], Kind.LABEL, 0.25),
        Token(words.tokenizer.encode("mug")[0], Kind.LABEL, 0.8),
    ):
        evidence.add(token)
    values, moments = evidence.finish()
    np.testing.assert_allclose(values, [math.log(0.5), math.log(0.25) + math.log(0.8), 0.0])
    assert moments == []


def test_a_number_of_one_digit_has_the_moments_of_its_distribution(words: BoxVocabulary) -> None:
    evidence = BoxEvidence(words)
    for token in number(words, "7", shares(words, _7=0.5, _9=0.25, _4=0.25)):
        evidence.add(token)
    _, (moments,) = evidence.finish()
    assert moments.variance == pytest.approx(0.25 * 4 + 0.25 * 9)
    assert moments.near == pytest.approx(1.0)  # all within 15 bins


def test_far_bins_are_not_near_and_places_add_up(tmp_path: Path) -> None:
    tokenizer = joining_tokenizer(tmp_path / "joining")  # single digits
    words = BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")}))
    evidence = BoxEvidence(words)
    digits = (shares(words, _4=0.9, _6=0.1), shares(words, _3=0.5, _2=0.5), shares(words, _2=1.0))
    for token in number(words, "432", *digits):
        evidence.add(token)
    _, (moments,) = evidence.finish()
    assert moments.variance == pytest.approx(0.1 * 200**2 + 0.5 * 10**2)
    assert moments.near == pytest.approx(0.9)


def test_the_angle_does_not_count(words: BoxVocabulary) -> None:
    first, other = words.tokenizer.encode("555")[0], words.tokenizer.encode("999")[0]
    for unsure_place, expected in ((3, 0.0), (2, math.log(0.1) / 6)):  # of the seven numbers the angle is the fourth
        evidence = BoxEvidence(words)
        for place in range(7):
            distributions = [np.zeros(words.size, np.float32) for _ in words.tokenizer.encode("555")]
            for token, distribution in zip(words.tokenizer.encode("555"), distributions, strict=True):
                distribution[token] = 1.0
            if place == unsure_place:
                distributions[0][[first, other]] = 0.1, 0.9
            for token in number(words, "555", *distributions):
                evidence.add(token)
        values, moments = evidence.finish()
        assert len(moments) == 7
        assert values[2] == pytest.approx(expected, abs=1e-6)


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
    covariance = center_covariance(CODEC, CODE, moments, 1.0)
    assert covariance is not None
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((20000, 3)) * np.sqrt(np.array([9.0, 4.0, 16.0]) + 1 / 12)
    jacobian = CODEC.center_jacobian(CODE)
    np.testing.assert_allclose(np.reshape(covariance, (3, 3)), np.cov((spread @ jacobian.T).T), rtol=0.05, atol=1e-7)
    doubled = center_covariance(CODEC, CODE, moments, 2.0)
    np.testing.assert_allclose(doubled, 2 * np.array(covariance))
    assert center_covariance(CODEC, CODE, moments[:2], 1.0) is None
    widest = center_covariance(CODEC, CODE, [BinMoments(1e9, 0.0)] * 3, 1.0)
    flat = center_covariance(CODEC, CODE, [BinMoments(BINS**2 / 12, 0.0)] * 3, 1.0)
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
