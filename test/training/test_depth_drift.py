"""The drift table: what damage is, what drift measures, and that the filter keeps boxes where they are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.depth_drift import HOLES, OUTLIERS, Damage, drifts, main, measure
from n3d_core.errors import ConfigError
from n3d_core.geometry import Box3D, Camera, Frame
from n3d_core.geometry.frame_folder import TrueObject, Truth

CAMERA = Camera.from_fov(60.0, 160, 120)
BOX = Box3D("red box", (0.1, 0.2, 1.2), (0.2, 0.1, 0.15))


def plane() -> Frame:
    depth = np.broadcast_to(np.linspace(2.0, 0.8, 120, dtype=np.float32)[:, None], (120, 160)).copy()
    return Frame(np.zeros((120, 160, 3), np.uint8), depth, CAMERA)


def test_damage_has_the_share_that_it_says_and_is_a_function_of_its_seed() -> None:
    depth = plane().depth
    damaged = Damage(0.3, 0.01).apply(depth, (1, 2))
    np.testing.assert_array_equal(damaged, Damage(0.3, 0.01).apply(depth, (1, 2)))
    assert 0.28 <= np.isnan(damaged).mean() <= 0.35
    wrong = np.isfinite(damaged) & (damaged != depth)
    assert wrong.sum() == 192
    assert damaged[wrong].max() <= 65.0
    holes = np.isnan(Damage(0.3, 0.0).apply(depth, (1, 2)))
    assert (np.isnan(damaged) <= holes).all()  # the same holes, but for the outliers that fell into them


def test_drift_is_nothing_for_the_same_depth_and_the_scale_for_a_scaled_one() -> None:
    frame = plane()
    assert drifts(frame, frame.depth, frame.depth, [BOX]) == [0.0]
    assert drifts(frame, frame.depth, frame.depth * 1.5, [BOX])[0] == pytest.approx(0.5, abs=1e-5)


def test_with_the_filter_outliers_move_no_box_by_a_percent() -> None:
    truth = Truth([TrueObject(BOX, "box", "red", 1.0)])
    rows = {(row.damage.holes, row.damage.outliers): row for row in measure([(plane(), truth)], seed=3)}
    assert len(rows) == len(HOLES) * len(OUTLIERS)
    for outliers in OUTLIERS[2:]:  # one pixel alone may lie where it harms nothing
        assert rows[0.0, outliers].cleaned.max() < 0.01
        assert rows[0.0, outliers].raw.max() > 0.1
    assert rows[0.0, 0.0].raw.max() == 0.0


def test_frames_without_truth_are_refused() -> None:
    with pytest.raises(ConfigError, match="no true box"):
        list(measure([(plane(), Truth([]))], seed=0))


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.depth_drift.HOLES", (0.0,))
    monkeypatch.setattr("bench.depth_drift.OUTLIERS", (0.0, 1e-4))
    assert main(["--json"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["frames"] >= 1
    assert [row["outliers"] for row in record["rows"]] == [0.0, 1e-4]
    assert record["rows"][1]["cleaned"]["max"] < 0.01 < record["rows"][1]["raw"]["max"]
    assert "cleaned median" in shown.err
