"""Lifting of scenes whose truth is known, and what each rule turns away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import lift_truth as truth
from bench.primitives import render_primitives, sensor_noise
from n3d_core.geometry import Camera, iou_3d
from training.lift.cleaning import CleanConfig
from training.lift.completion import CompletionConfig
from training.lift.lifting import Candidate, lift
from training.lift.object_mask import ObjectMask
from training.lift.rules import REASONS, RulesConfig

CAMERA = Camera(320, 240, 260.0, 260.0, 159.5, 119.5)


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    return truth.measure(truth.primitive_cases(range(6)))


def test_visible_boxes_reach_the_seen_surface(measured: dict) -> None:
    assert measured["mean"]["visible_clean"] >= 0.95
    assert measured["mean"]["visible_noisy"] >= 0.82


def test_completion_reaches_the_whole_object_of_every_shape(measured: dict) -> None:
    assert measured["mean"]["whole_clean"] >= 0.84
    assert measured["mean"]["whole_noisy"] >= 0.80
    for shape in ("box", "cylinder", "sphere"):
        row = measured["shapes"][shape]
        assert row["whole_clean"] >= row["whole_uncompleted"] + 0.1


def test_boxes_instead_of_masks_are_worse_but_usable(measured: dict) -> None:
    assert 0.5 <= measured["mean"]["visible_boxes"] < measured["mean"]["visible_noisy"]


def _wall(distance: float = 2.0) -> np.ndarray:
    return np.full((240, 320), distance, np.float32)


def _mask(left: int, top: int, right: int, bottom: int) -> ObjectMask:
    return ObjectMask(left, top, np.ones((bottom - top, right - left), bool))


def _bump(depth: np.ndarray, mask: ObjectMask, distance: float) -> None:
    depth[mask.top : mask.bottom, mask.left : mask.right] = distance + np.linspace(0, 0.1, mask.right - mask.left)


def _candidate(mask: ObjectMask | None, label: str = "thing", **kwargs: object) -> Candidate:
    return Candidate(label, mask.box if mask else (10.0, 10.0, 60.0, 60.0), mask, **kwargs)


def test_a_patch_of_known_depth_gets_its_exact_box() -> None:
    depth, mask = _wall(), _mask(100, 80, 160, 140)
    _bump(depth, mask, 1.0)
    (found,) = lift([_candidate(mask)], depth, CAMERA).objects
    z = np.linspace(0, 0.1, 60) + 1.0
    x = (np.arange(100, 160) - 159.5) / 260.0 * z
    assert found.visible.low[0] == pytest.approx(x.min(), abs=1e-6)
    assert found.visible.high[0] == pytest.approx(x.max(), abs=1e-6)
    assert found.visible.high[2] == pytest.approx(1.1, abs=1e-6)
    assert found.whole == found.visible
    assert found.points == 3600


@pytest.mark.parametrize(
    ("reason", "candidate", "rules"),
    [
        ("crowd", _candidate(_mask(100, 80, 160, 140), crowd=True), {}),
        ("box_outside", Candidate("a", (400.0, 10.0, 500.0, 60.0), _mask(100, 80, 160, 140)), {}),
        ("box_outside", Candidate("a", (float("nan"), 10.0, 50.0, 60.0), _mask(100, 80, 160, 140)), {}),
        ("box_outside", Candidate("a", (50.0, 10.0, 50.0, 60.0), _mask(100, 80, 160, 140)), {}),
        ("no_mask", _candidate(None), {}),
        ("no_mask", Candidate("a", (10.0, 10.0, 60.0, 60.0), ObjectMask.from_image(np.zeros((240, 320)))), {}),
        ("mask_small", _candidate(_mask(100, 80, 106, 86)), {}),
        ("box_small", _candidate(_mask(100, 80, 160, 140)), {"min_box_share": 0.2}),
        ("box_large", _candidate(_mask(100, 80, 160, 140)), {"max_box_share": 0.01}),
        ("truncated", _candidate(_mask(0, 0, 60, 60)), {"max_border_share": 0.4}),
        ("depth_invalid", _candidate(_mask(200, 80, 260, 140)), {}),
        ("few_points", _candidate(_mask(100, 80, 160, 140)), {"min_points": 4000}),
        ("too_small", _candidate(_mask(100, 80, 160, 140)), {"min_size": 3.0}),
        ("too_large", _candidate(_mask(100, 80, 160, 140)), {"max_size": 0.05}),
        ("aspect", _candidate(_mask(20, 100, 300, 110)), {"max_aspect": 2.0}),
        ("too_far", _candidate(_mask(100, 80, 160, 140)), {"max_distance": 0.5}),
        ("low_quality", _candidate(_mask(100, 80, 160, 140)), {"min_quality": 1.01}),
    ],
)
def test_each_rule_counts_what_it_turns_away(reason: str, candidate: Candidate, rules: dict) -> None:
    depth = _wall()
    _bump(depth, _mask(100, 80, 160, 140), 1.0)
    depth[80:140, 200:260] = np.nan
    _bump(depth, _mask(20, 100, 300, 110), 1.0)
    result = lift([candidate], depth, CAMERA, rules=replace(RulesConfig(), **rules))
    assert result.objects == []
    assert dict(result.rejected) == {reason: 1}
    assert reason in REASONS


def test_a_mask_within_another_of_its_label_is_contained_and_of_another_label_is_not() -> None:
    depth, outer, inner = _wall(), _mask(100, 80, 180, 150), _mask(110, 90, 150, 130)
    _bump(depth, outer, 1.0)
    same = lift([_candidate(outer, "mug"), _candidate(inner, "mug")], depth, CAMERA)
    assert [o.index for o in same.objects] == [0]
    assert dict(same.rejected) == {"contained": 1}
    assert len(lift([_candidate(outer, "mug"), _candidate(inner, "lid")], depth, CAMERA).objects) == 2
    twice = lift([_candidate(inner, "mug"), _candidate(inner, "mug")], depth, CAMERA)
    assert [o.index for o in twice.objects] == [0]


def test_two_equal_halves_far_apart_in_depth_are_one_object_and_background() -> None:
    depth, mask = _wall(3.0), _mask(100, 80, 160, 140)
    _bump(depth, _mask(100, 80, 140, 140), 1.0)
    (found,) = lift([_candidate(mask)], depth, CAMERA, rules=RulesConfig(min_quality=0.0)).objects
    assert found.visible.high[2] < 1.2
    assert found.kept_share == pytest.approx(40 / 60, abs=0.05)


def test_a_flying_pixel_at_65_metres_moves_nothing() -> None:
    depth, mask = _wall(), _mask(100, 80, 160, 140)
    _bump(depth, mask, 1.0)
    before = lift([_candidate(mask)], depth, CAMERA).objects[0].visible
    depth[110, 130] = 65.0
    after = lift([_candidate(mask)], depth, CAMERA).objects[0].visible
    assert iou_3d(before, after) > 0.99


def test_several_objects_at_once_are_each_as_alone() -> None:
    scene = render_primitives(4, objects=5, width=320, height=240)
    depth = sensor_noise(scene.depth, 4, scene.camera.fx)
    given = [_candidate(ObjectMask.from_image(scene.instances == i), f"o{i}") for i in range(5)]
    together = {o.visible.label: o for o in lift(given, depth, scene.camera, completion=CompletionConfig()).objects}
    assert sorted(together) == [f"o{i}" for i in range(5)]
    for candidate in given:
        others = [replace(c, crowd=True) for c in given if c is not candidate]
        alone = lift([candidate, *others], depth, scene.camera, completion=CompletionConfig()).objects
        assert [o.visible for o in alone] == [o.visible for k, o in together.items() if k == candidate.label]
        assert [o.whole for o in alone] == [o.whole for k, o in together.items() if k == candidate.label]


def test_the_whole_box_always_holds_the_visible_one() -> None:
    scene = render_primitives(9, objects=6, width=320, height=240)
    depth = sensor_noise(scene.depth, 9, scene.camera.fx)
    given = [_candidate(ObjectMask.from_image(scene.instances == i)) for i in range(6)]
    objects = lift(given, depth, scene.camera, completion=CompletionConfig()).objects
    assert len(objects) == 5  # the sixth mask is too small
    for found in objects:
        assert (found.whole.low <= found.visible.low + 1e-9).all()
        assert (found.whole.high >= found.visible.high - 1e-9).all()
        assert 0 < found.quality <= 1


def test_random_masks_and_depth_are_no_objects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        depth = rng.uniform(0, 5, (240, 320)).astype(np.float32)
        depth[rng.random(depth.shape) < rng.random()] = np.nan
        masks = [ObjectMask.from_image(rng.random((240, 320)) < rng.random() ** 6) for _ in range(3)]
        lifted = lift([_candidate(m) for m in masks], depth, CAMERA, CleanConfig(), completion=CompletionConfig())
        assert (lifted.objects, lifted.rejected.total()) == ([], len(masks))
