"""A box is compared with the depth measured in its picture."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.evidence import depth_agreement
from n3d_core.geometry import Box3D, Camera, Frame

CAMERA = Camera.from_fov(60.0, 160, 120)


def frame_with_block() -> Frame:
    """A wall at 3 m, and a block whose front is at 1.4 m in the middle."""
    depth = np.full((120, 160), 3.0, np.float32)
    depth[40:80, 60:100] = 1.4
    return Frame(np.zeros((120, 160, 3), np.uint8), depth, CAMERA)


def box(z: float, size: float = 0.2, x: float = 0.0) -> Box3D:
    return Box3D("block", (x, 0.0, z), (size, size, size))


def test_a_box_around_the_measured_surface_agrees() -> None:
    agreement = depth_agreement(frame_with_block(), box(1.5))
    assert agreement.agrees
    assert agreement.share == 1.0


def test_a_box_before_or_behind_the_surface_says_how_far() -> None:
    before = depth_agreement(frame_with_block(), box(1.0))
    assert before.share == 0.0
    assert before.offset == pytest.approx(1.4 - (1.0 + 0.1 + 0.02))
    behind = depth_agreement(frame_with_block(), box(2.0))
    assert behind.offset == pytest.approx(1.4 - (2.0 - 0.1 - 0.02))
    assert not before.agrees
    assert not behind.agrees


def test_a_box_partly_hidden_still_agrees() -> None:
    frame = frame_with_block()
    frame.depth[40:80, 60:90] = 0.7  # three quarters of it behind something
    agreement = depth_agreement(frame, box(1.5, size=0.32))
    assert agreement.agrees
    assert 0.1 < agreement.share < 0.5


@pytest.mark.parametrize("where", [box(1.5, x=9.0), box(-1.0)])
def test_a_box_outside_the_picture_or_behind_the_camera_is_unknown(where: Box3D) -> None:
    agreement = depth_agreement(frame_with_block(), where)
    assert np.isnan(agreement.offset)
    assert agreement.share == 0.0
    assert not agreement.agrees


def test_a_box_on_a_hole_is_unknown() -> None:
    frame = frame_with_block()
    frame.depth[40:80, 60:100] = np.nan
    assert np.isnan(depth_agreement(frame, box(1.5, size=0.1)).offset)
