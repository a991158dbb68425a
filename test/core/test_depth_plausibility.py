"""A depth image read in the wrong unit is told apart, on made and on real images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.depth import DepthUnit, suspect_unit

REAL = Path(__file__).parents[3] / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real RGB-D images are not at {REAL}")


def room(rng: np.random.Generator) -> NDArray[np.uint16]:
    """A room in whole millimetres, 0.7 to 5 m."""
    near, far = rng.uniform(700, 1200), rng.uniform(3000, 5000)
    return np.linspace(near, far, 4800).reshape(60, 80).astype(np.uint16)


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_unit_is_named_with_its_factor(seed: int) -> None:
    scene = room(np.random.default_rng(seed))
    rotated = (scene << np.uint16(3)) | (scene >> np.uint16(13))
    cases = [
        (scene, "m", 1 / 1000, "millimetres read as metres"),
        (scene * 5, "mm", 1 / 5, "5000 values per metre"),
        (scene * 10, "mm", 1 / 10, "10000 values per metre"),
        (rotated, "mm", 1 / 8, "SUN RGB-D"),
    ]
    for raw, unit, factor, words in cases:
        suspicion = suspect_unit(DepthUnit.parse(unit).to_metres(raw))
        assert suspicion is not None, words
        assert suspicion.factor == pytest.approx(factor)
        assert words in suspicion.message


@pytest.mark.parametrize("seed", range(5))
def test_the_right_unit_raises_no_suspicion(seed: int) -> None:
    scene = room(np.random.default_rng(seed))
    assert suspect_unit(DepthUnit.parse("mm").to_metres(scene)) is None
    assert suspect_unit((scene / 1000).astype(np.float32) + np.float32(1e-4)) is None


def test_a_large_monocular_scene_is_no_suspicion_but_kilometres_are() -> None:
    outdoors = np.linspace(9.5, 120, 1000, dtype=np.float32).reshape(25, 40)
    assert suspect_unit(outdoors) is None
    assert suspect_unit(outdoors * 100) is not None


def test_an_empty_image_says_nothing() -> None:
    assert suspect_unit(np.full((2, 2), np.nan, np.float32)) is None


@needs_real
@pytest.mark.parametrize(
    ("file", "right", "wrong", "words"),
    [
        ("tum_desk/depth.png", "tum", "mm", "5000 values per metre"),
        ("tum_desk/depth.png", "tum", "m", "millimetres read as metres"),
        ("sun_hallway/depth.png", "sun", "mm", "SUN RGB-D"),
        ("redwood/depth/00000.png", "mm", "m", "millimetres read as metres"),
    ],
)
def test_real_sensors(file: str, right: str, wrong: str, words: str) -> None:
    raw = cv2.imread(str(REAL / file), cv2.IMREAD_UNCHANGED)
    assert suspect_unit(DepthUnit.parse(right).to_metres(raw)) is None
    suspicion = suspect_unit(DepthUnit.parse(wrong).to_metres(raw))
    assert suspicion is not None
    assert words in suspicion.message


@needs_real
@pytest.mark.parametrize("frame", range(5))
def test_real_millimetres_raise_no_suspicion(frame: int) -> None:
    raw = cv2.imread(str(REAL / f"redwood/depth/{frame:05d}.png"), cv2.IMREAD_UNCHANGED)
    assert suspect_unit(DepthUnit.parse("mm").to_metres(raw)) is None


def test_every_unit_that_fits_is_named_with_its_distance_and_following_the_wrong_one_is_not_silent() -> None:
    v, u = np.mgrid[:241, :321]  # an odd number of pixels: their median is one of them
    metres = 0.605 + 0.0015 * u + 0.001 * v  # a table, in whole millimetres stored as tenths
    raw = (np.round(metres * 1000) * 10).astype(np.uint16)
    told = suspect_unit(DepthUnit.parse("mm").to_metres(raw))
    assert told is not None
    assert told.factor in (1 / 5, 1 / 10)
    assert "unit tum) read as millimetres: 1.93 m" in told.message
    assert "10000 values per metre (RealSense D405, BOP, YCB-Video) read as millimetres: 0.965 m" in told.message
    followed = suspect_unit(DepthUnit.parse("tum").to_metres(raw))
    assert followed is not None
    assert "twice as many values per metre as assumed (10000 instead of 5000): 0.965 m" in followed.message
    assert suspect_unit(DepthUnit.parse("10000").to_metres(raw)) is None
    assert suspect_unit(DepthUnit.parse("tum").to_metres(raw), is_given=True) is None


def test_honest_whole_centimetres_are_named_as_one_that_fits_and_are_settled_by_giving_the_unit() -> None:
    v, u = np.mgrid[:240, :320]
    depth = DepthUnit.parse("mm").to_metres((np.round((1.2 + 0.003 * u + 0.002 * v) * 100) * 10).astype(np.uint16))
    told = suspect_unit(depth)
    assert told is not None
    assert "whole centimetres, unit correct: 1.91 m" in told.message
    assert suspect_unit(depth, is_given=True) is None


@needs_real
@pytest.mark.parametrize(
    ("file", "unit", "assumed", "words", "median"),
    [
        ("posecnn/000001-depth.png", "10000", "mm", "D405, BOP, YCB-Video) read as millimetres: 0.964 m", 0.964),
        ("posecnn/000001-depth.png", "10000", "tum", "(10000 instead of 5000): 0.964 m", 0.964),
        ("apc_unregistered/frame-000000.depth.png", "sun:10000", "mm", "unit sun:10000): 0.55 m", 0.5496),
    ],
)
def test_rotation_and_scale_of_real_sensors_combine(
    file: str, unit: str, assumed: str, words: str, median: float
) -> None:
    raw = cv2.imread(str(REAL / file), cv2.IMREAD_UNCHANGED)
    told = suspect_unit(DepthUnit.parse(assumed).to_metres(raw))
    assert told is not None
    assert words in told.message
    depth = DepthUnit.parse(unit).to_metres(raw)
    assert float(np.nanmedian(depth)) == pytest.approx(median, abs=0.002)
    assert suspect_unit(depth) is None
