"""That refining boxes with depth gains, on rendered scenes and on annotated real ones."""

from pathlib import Path

import numpy as np
import pytest

from bench.refine import hull, measure, oriented_iou, real_cases, synthetic_cases
from n3d_core.geometry.boxes import OrientedBox
from training.scenes.scene_config import SceneConfig

REAL = Path(__file__).parents[3] / "shared/data/sunrgbd_bed"


def test_the_iou_of_turned_boxes_is_that_of_the_shapes():
    box = OrientedBox("", (0, 0, 0), (1, 1, 1))
    half = OrientedBox("", (0.5, 0, 0), (1, 1, 1))
    c = np.sqrt(0.5)
    turned = box.transformed(np.array([[c, 0, c], [0, 1, 0], [-c, 0, c]]), np.zeros(3))
    assert oriented_iou(box, box) == 1.0
    assert oriented_iou(box, half) == pytest.approx(1 / 3, abs=0.01)
    assert oriented_iou(box, turned) == pytest.approx((2 * np.sqrt(2) - 2) / (2 - (2 * np.sqrt(2) - 2)), abs=0.02)
    assert oriented_iou(box, OrientedBox("", (3, 0, 0), (1, 1, 1))) == 0.0


def test_rendered_objects_gain_with_gravity_from_the_points():
    pytest.importorskip("mujoco", reason="MuJoCo renders the scenes (extra `train`)")
    cases = list(synthetic_cases(3, SceneConfig(width=320, height=240)))
    for case in cases:  # the true upright box is the same object as the true axis-aligned one
        outer = np.asarray(hull(case.upright).size)
        assert (outer > 0.98 * np.asarray(case.axis_aligned.size)).all()
    figures = measure(cases, "points", seed=0)
    assert figures["gravity_error_degrees"] < 1.0
    assert figures["exact.after"] > figures["exact.before"] + 0.05
    assert figures["noisy.after"] > figures["noisy.before"] + 0.05


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real data (../shared/data) is not here")
def test_annotated_real_boxes_gain_with_gravity_from_the_points():
    cases = list(real_cases(REAL))
    figures = measure(cases, "points", seed=0)
    assert figures["objects"] == 2
    assert figures["gravity_error_degrees"] < 3.0
    assert figures["exact.gained"] == 1.0
    assert figures["exact.after"] > figures["exact.before"] + 0.15
